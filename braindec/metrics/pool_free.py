"""Retrieval scores that do not depend on how many entries the gallery has: bits per trial, predicted K-way accuracy."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from braindec.metrics import Metric
from braindec.stats import pool_free
from braindec.stats.intervals import Interval
from braindec.stats.pool_free_intervals import pool_free as with_intervals

WAYS = 10_000  # of the predicted accuracy: twice the field's largest galleries, and still within what 200 items tell


def bits_per_trial(similarity: Tensor, truth: Tensor) -> Tensor:
    """What each trial tells of which stimulus was shown, in bits, in a gallery without end.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
        Rows are brain responses, columns gallery images; any unit, larger is more similar.
    truth : integer Tensor, shape (n_queries,)
        Column of the image that was presented.

    Returns
    -------
    Tensor of float64, shape (n_queries,)
        Their mean is 0 for predictions that know nothing, never clipped (`stats.pool_free.information`).
    """
    found = pool_free.surprisal(similarity.detach().cpu(), truth.detach().cpu())
    return torch.from_numpy(pool_free.information(found))


def predicted_top1(similarity: Tensor, truth: Tensor, *, ways: int = WAYS) -> Tensor:
    """Chance that each brain response has its own image as the nearest of `ways` like those of the gallery.

    Parameters
    ----------
    similarity, truth
        See `bits_per_trial`.
    ways : int
        >= 1.

    Returns
    -------
    Tensor of float64, shape (n_queries,)
        In [0, 1] (`stats.pool_free.predicted_top1`).
    """
    found = pool_free.surprisal(similarity.detach().cpu(), truth.detach().cpu())
    return torch.from_numpy(pool_free.predicted_top1(found, ways))


def bits_interval(similarity: Tensor, truth: Tensor, *, generator: np.random.Generator) -> Interval:
    """Interval of the mean of `bits_per_trial`, for other stimuli in another gallery."""
    return with_intervals(similarity.detach().cpu(), truth.detach().cpu(), generator, ways=WAYS).bits_interval


def top1_interval(similarity: Tensor, truth: Tensor, *, generator: np.random.Generator) -> Interval:
    """Interval of the mean of `predicted_top1`, for other stimuli in another gallery."""
    return with_intervals(similarity.detach().cpu(), truth.detach().cpu(), generator, ways=WAYS).top1_interval


_SOURCE = "Pooled tails of standardised distractors, benchmarks/pool_free.py"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "bits_per_trial", "similarity", 0.0, "higher",
            f"D(true || distractor) of surprisals, in a gallery without end. {_SOURCE}", bits_per_trial, best=math.inf,
            interval=bits_interval,
        ),
        Metric(
            "top1_of_10000_predicted", "similarity", 1 / WAYS, "higher",
            f"Mean chance that no one of 9,999 distractors beats the truth. {_SOURCE}", predicted_top1,
            interval=top1_interval,
        ),
    )
}  # fmt: skip
