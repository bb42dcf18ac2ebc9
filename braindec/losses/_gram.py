"""What losses that compare geometries share: how the trials of a batch lie to each other."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.losses._contrast import exactly, flat


def gram(embeddings: Tensor) -> Tensor:
    """Inner products of centred trials over their mean square: (n_trials, n_trials), float64, trace n_trials.

    Zero for trials that are all alike. Products are made in the precision of the embeddings, single at least.
    """
    values = flat(embeddings)
    values = values - values.mean(0)
    with exactly(values):
        products = (values @ values.T).double()
    return products / products.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
