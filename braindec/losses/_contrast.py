"""What contrastive losses share: unit vectors, who matches whom, and the symmetric cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.losses import Mix


def unit(embeddings: Tensor) -> Tensor:
    """Each trial's tokens as one vector of length 1: (n_trials, n_tokens, n_dims) to (n_trials, n_tokens * n_dims)."""
    return functional.normalize(embeddings.flatten(1), dim=1)


def check_batch(prediction: Tensor, target: Tensor, ids: Tensor) -> None:
    """Refuses a batch whose predictions, targets and ids do not belong together."""
    checks.n_axes("prediction", prediction, ("trial", "token", "dim"))
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)} but target {tuple(target.shape)}; they must match."
        )
    checks.same_length("trial", prediction=prediction, ids=ids)


def positives(ids: Tensor, dtype: torch.dtype) -> Tensor:
    """Labels (n_trials, n_trials), rows summing to 1: equal weight on every row that shows the same stimulus.

    Where repeats have equal targets this is plain InfoNCE (equal columns cannot push each other away); it matters where
    the targets of one stimulus differ, e.g. in their augmentation.
    """
    same = (ids[:, None] == ids[None, :]).to(dtype)
    return same / same.sum(1, keepdim=True)


def symmetric_cross_entropy(logits: Tensor, labels: Tensor, mix: Mix | None) -> Tensor:
    """Mean of both directions' cross-entropy.

    Parameters
    ----------
    logits : Tensor, shape (n_trials, n_trials)
        Similarity of prediction (row) and target (column), over the temperature.
    labels : Tensor, shape (n_trials, n_trials)
        How much the stimulus of a row's trial is that of a column's trial, before mixing; rows sum to 1.
    mix : Mix or None
        How the signals behind the predictions were mixed: a mixed prediction belongs to its own stimulus and to its
        partner's, by their weights. A row that drew itself as partner keeps its whole label (writing 1 - weight over
        the diagonal would lose it).
    """
    to_target = labels if mix is None else mix.apply(labels)  # (prediction, target)
    to_prediction = labels if mix is None else mix.apply(labels.T).T  # (target, prediction)
    forth = -(to_target * logits.log_softmax(1)).sum(1).mean()
    back = -(to_prediction * logits.T.log_softmax(1)).sum(1).mean()
    return (forth + back) / 2
