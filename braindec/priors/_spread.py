"""Spread against error: how far a prior's samples lie apart, and how far they should."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

N_SAMPLES = 8
MOST_ROWS = 128  # of a few tens of free values each: enough for a few per cent, at seconds of sampling
LOWEST, HIGHEST = 0.1, 10.0  # a prior that is further off is no matter of spread


def spread_ratio(samples: Tensor, truth: Tensor) -> Tensor:
    """Error that samples should have shown over the error that they show, as SDs, for each trial's own.

    Parameters
    ----------
    samples : Tensor, shape (n_samples, n_trials, ...)
    truth : Tensor, shape (n_trials, ...)

    Returns
    -------
    Tensor, shape (2, n_trials), float64
        Squared distance of the truth from the mean of an endless number of samples, and variance of the samples, both
        summed over values. Their totals are equal where spread matches error.

    Notes
    -----
    The mean of n samples is off by a n-th of their variance, which is taken away (Fortin et al. 2014,
    doi:10.1175/JHM-D-14-0008.1).
    """
    drawn, true = samples.double().flatten(2), truth.double().flatten(1)
    variance = drawn.var(0).sum(1)
    error = (true - drawn.mean(0)).square().sum(1) - variance / len(drawn)
    return torch.stack([error, variance])


def matched_spread(
    draw: Callable[[Tensor, float], Tensor], truth: Tensor, start: float, n_rounds: int = 1
) -> float:
    """The factor at which ``draw(rows, factor)`` spreads as far as it errs.

    Parameters
    ----------
    draw : callable
        Samples (n_samples, n_rows, ...) of some rows, their starting noise multiplied.
    truth : Tensor, shape (n_trials, ...)
        In coordinates where values count alike.
    start : float
        Factor to begin with.
    n_rounds : int
        One is enough where samples are linear in their noise.
    """
    rows = torch.arange(len(truth))[:: max(1, -(-len(truth) // MOST_ROWS))]
    factor = start
    for _ in range(n_rounds):
        error, variance = spread_ratio(draw(rows, factor), truth[rows]).sum(1).tolist()
        ratio = (max(error, 0.0) / max(variance, 1e-30)) ** 0.5
        factor = min(max(factor * ratio, LOWEST), HIGHEST)
    return factor
