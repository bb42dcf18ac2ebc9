"""Losses with the faults of the code that published numbers come from, for comparison; nothing trains on them."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.losses import Mix


def mixco_nce_as_published_by_mindeye(
    predicted: Tensor, true: Tensor, mix: Mix, temperature: float
) -> Tensor:
    """Mixed InfoNCE in which a row that drew itself as partner keeps only 1 - weight of its label.

    Parameters
    ----------
    predicted, true : Tensor, shape (n_trials, n_values)
        Unit vectors.
    mix : Mix
        The permutation as drawn, also where a row is not mixed, and weights that are 1 there.
    temperature : float
        Divides cosine similarities, > 0.

    Notes
    -----
    MindEye and MindEye2, `mixco_nce`: labels are written as weight on the diagonal, then as 1 - weight over the
    partner's place, which overwrites the diagonal where both fall together: an unmixed row that drew itself has no
    label at all. `losses.soft_clip.mixco_nce` adds both.
    """
    labels = torch.diag(mix.weight.to(predicted))
    labels[torch.arange(len(labels)), mix.partner] = 1 - mix.weight.to(predicted)
    logits = predicted @ true.T / temperature
    forth = -(labels * logits.log_softmax(1)).sum(1).mean()
    back = -(labels.T * logits.T.log_softmax(1)).sum(1).mean()
    return (forth + back) / 2
