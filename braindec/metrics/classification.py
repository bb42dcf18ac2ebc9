"""Classification: is the category decoded right?"""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.nearest import hits_at, ranks_in
from braindec.metrics import Metric


def category_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Whether the true category has the highest score.

    Parameters
    ----------
    scores : Tensor, shape (n_trials, n_classes)
        Any unit, larger is more likely.
    labels : integer Tensor, shape (n_trials,)
        In 0..n_classes - 1.

    Returns
    -------
    Tensor of float64, shape (n_trials,)
        0 or 1; with ties the chance of guessing right among them.
    """
    checks.n_axes("scores", scores, ("trial", "class"))
    checks.same_length("trial", scores=scores, labels=labels)
    checks.finite("scores", scores)
    checks.in_range("labels", int(labels.max()), 0, scores.shape[1] - 1)
    return hits_at(1, *ranks_in(scores, labels.long()))


def roc_auc(scores: Tensor, labels: Tensor, groups: Tensor | None = None) -> Tensor:
    """Share of trials of the other class that each trial is ranked right against; their mean is the area under the ROC.

    Parameters
    ----------
    scores : Tensor, shape (n_trials,)
        Larger means class 1.
    labels : bool or integer Tensor, shape (n_trials,)
        0 or 1.
    groups : integer Tensor, shape (n_trials,), optional
        Only trials of one group (e.g. the held-out run) are compared: scores of different fits share no scale.

    Returns
    -------
    Tensor of float64, shape (n_trials,)
        Placement values in [0, 1], ties half. Within a group the mean over its trials
        equals the mean over either class.

    Raises
    ------
    ValueError
        If a group holds one class only.

    Notes
    -----
    DeLong et al. 1988, doi:10.2307/2531595.
    """
    checks.same_length("trial", scores=scores, labels=labels)
    checks.finite("scores", scores)
    positive = labels.bool()
    groups = torch.zeros_like(positive, dtype=torch.long) if groups is None else groups
    placements = torch.empty_like(positive, dtype=torch.float64)
    for group in groups.unique():
        rows = groups == group
        high, low = scores[rows & positive].double(), scores[rows & ~positive].double()
        if not len(high) or not len(low):
            raise ValueError(f"group {int(group)} holds trials of one class only; ROC AUC compares two.")
        wins = (high[:, None] > low).double() + 0.5 * (high[:, None] == low).double()  # (positive, negative)
        placements[rows & positive] = wins.mean(1)
        placements[rows & ~positive] = wins.mean(0)
    return placements


def class_chance(n_classes: int) -> float:
    """1 / n_classes, for balanced classes."""
    return 1.0 / n_classes


_ACCURACY = "share of trials whose true category has the highest score; ties as a guess among them"
_AUC = "DeLong et al. 1988, doi:10.2307/2531595"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("category_accuracy", "labels", class_chance, "higher", _ACCURACY, category_accuracy),
        Metric("roc_auc", "labels", 0.5, "higher", _AUC, roc_auc),
    )
}
