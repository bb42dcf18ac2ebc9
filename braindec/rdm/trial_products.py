"""Crossnobis with shrunken noise from nothing but the products of trials with trials.

For more voxels than trials: the noise estimate, its inverse and all distances follow from one Gram matrix
(trial, trial) of the trials divided by each voxel's noise SD, so no voxel-by-voxel matrix and no
second pass over the data are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.rdm.left_out import everything, plan
from braindec.rdm.noise import product, schaefer_strimmer_share
from braindec.rdm.pairs import distances_of_products, n_pairs
from braindec.rdm.patterns import labelled

CHUNK = 2048  # voxels at a time: what is held beside the data


class Found(NamedTuple):
    """Distances (pair,), names of the conditions, and the shrinkage in [0, 1]."""

    distances: Tensor
    conditions: tuple[str, ...]
    shrinkage: float


def crossnobis_by_products(
    x: Tensor, condition: Any, run: Any, conditions: Sequence[str] | None = None
) -> Found:
    """`distances.crossnobis` under the Schaefer-Strimmer noise of the same trials, kept apart as `left_out` says.

    Parameters
    ----------
    x : Tensor, shape (trial, channel)
    condition, run : sequences, length n_trials
        Every run has every condition at least once.
    conditions : sequence of str, optional
        Their order.

    Returns
    -------
    Found
    """
    number, names = labelled(condition, conditions)
    of_run, runs = labelled(run)
    checks.same_length("trial", x=x, condition=number, run=of_run)
    checks.at_least("number of runs", len(runs), 2)
    bucket = torch.from_numpy(of_run * len(names) + number).to(x.device)
    buckets = _Groups(bucket, len(runs) * len(names))
    counts = torch.bincount(bucket, minlength=buckets.n)
    if bool((counts == 0).any()):
        raise ValueError("every run must have every condition; leave out what is missing.")
    within = bool((counts > 1).all())  # noise within runs knows nothing of what crossnobis multiplies
    groups = buckets if within else _Groups(torch.from_numpy(number).to(x.device), len(names))
    dof = int(checks.at_least("trials that repeat a condition", len(x) - groups.n, 1))
    gram, sums = _scan(x, groups, dof)
    across = groups.residual(gram)  # residuals times trials
    errors = groups.residual(across.T)
    lengths = errors.diagonal().square().sum()
    share = float(schaefer_strimmer_share(errors.square().sum(), *sums, lengths, len(x), dof))
    share = max(share, 64 * torch.finfo(x.dtype).eps)
    weight = (1 - share) / dof
    means, known = (
        buckets.means(buckets.means(gram).T),
        buckets.means(across.T),
    )  # of mean patterns; with residuals
    found = gram.new_empty(n_pairs(len(names)))
    parts = [everything(len(names), len(x), x.device)] if within else plan(groups.number, np.bincount(number))
    for members, rows, scale, kept, position in parts:
        inside = errors[rows][:, rows] * (weight * scale**2)
        inside.diagonal().add_(share)
        here = (torch.arange(len(runs), device=x.device)[:, None] * len(names) + members).flatten()
        part = known[here][:, rows]
        # (share I + weight E^T E)^-1 = (I - weight E^T (share I + weight E E^T)^-1 E) / share, between mean patterns
        solved = torch.cholesky_solve(part.T, torch.linalg.cholesky(inside))
        metric = means[here][:, here] - part @ solved * (weight * scale**2)
        found[position] = _across_runs(metric / share, len(members), len(runs))[kept]
    return Found((found / x.shape[1]).to(x.dtype), names, share)


class _Sums(NamedTuple):
    diagonal: Tensor
    fourth: Tensor


class _Groups(NamedTuple):
    """Which group each row belongs to, and the number of groups."""

    number: Tensor
    n: int

    def means(self, x: Tensor) -> Tensor:
        """Mean of each group's rows (row, column) -> (group, column)."""
        counts = torch.bincount(self.number, minlength=self.n).to(x.dtype)
        return x.new_zeros(self.n, x.shape[1]).index_add_(0, self.number, x) / counts[:, None]

    def residual(self, x: Tensor) -> Tensor:
        """Rows minus the mean of their group."""
        return x - self.means(x).index_select(0, self.number)


def _scan(x: Tensor, groups: _Groups, dof: int) -> tuple[Tensor, _Sums]:
    """Gram matrix of the scaled trials, float64 (trial, trial), and the sums over single voxels of the shrinkage."""
    gram = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    fourth = torch.zeros((), dtype=torch.float64, device=x.device)
    for part in x.split(CHUNK, dim=1):
        dead = bool((part.amin(0) == part.amax(0)).any())
        part = part - part.mean(0)
        squares = groups.residual(part).square_()
        variance = squares.sum(0) / dof
        if dead or not bool((variance > 0).all()):
            raise ValueError("some channels have no noise variance; leave out channels that never change.")
        scaled = part.mul_(variance.rsqrt())
        gram += product(scaled, scaled.T)
        fourth += (squares.square_().sum(0) / variance.square()).double().sum()
    # Standardised by their own variance, the squares of each voxel's residuals sum to dof.
    return gram, _Sums(
        torch.tensor(float(dof) ** 2 * x.shape[1], dtype=torch.float64, device=x.device), fourth
    )


def _across_runs(metric: Tensor, n: int, n_runs: int) -> Tensor:
    """Mean over pairs of different runs of the distances, from products (run x condition, run x condition)."""
    means = metric.reshape(n_runs, n, n_runs, n)
    own = torch.stack([means[run, :, run] for run in range(n_runs)]).sum(0)
    return distances_of_products(means.sum((0, 2)) - own, symmetric=False) / (n_runs * (n_runs - 1))
