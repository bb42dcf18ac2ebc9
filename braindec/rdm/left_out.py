"""Noise from other conditions than the two compared, without which cross-run distances are not zero in the mean.

Residuals of single trials of a condition are what its runs differ by. A covariance that was fitted to them makes those
differences look small and the mean they surround look large: crossnobis of pure noise then comes out positive, by a
share of the noise of about channels over degrees of freedom. Noise from within runs does not know the runs' means, and
noise of other conditions knows nothing of these two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.rdm.noise import Noise
from braindec.rdm.pairs import n_pairs, pair_indices

N_GROUPS = 4  # of conditions: a pair leaves out one or two, so that half of the residuals are always there
Distances = Callable[[Tensor, Noise], Tensor]


def left_out_distances(
    distances: Distances, noise: Noise, row_condition: Tensor, counts: np.ndarray, like: Tensor
) -> Tensor:
    """Distances of every pair under the noise of conditions in other groups than theirs.

    Parameters
    ----------
    distances : callable
        ``distances(members, noise)``: (..., pair) of the conditions at these positions, int64 (m,), in this order.
    noise : Noise
        Of all residuals; its diagonal and shrinkage are kept.
    row_condition : int64 Tensor, shape (row,)
        Condition of each of the noise's rows.
    counts : int array, shape (condition,)
        Trials of each condition.
    like : Tensor
        Of the dtype and device wanted.

    Returns
    -------
    Tensor, shape (..., pair)
    """
    if noise.rows.shape[-2] == 0:  # variances alone hardly know single residuals
        return distances(torch.arange(len(counts), device=like.device), noise)
    out = None
    for members, rows, scale, kept, position in plan(row_condition, counts):
        part = Noise(noise.diagonal, noise.rows.index_select(-2, rows) * scale, noise.shrinkage)
        found = distances(members, part).index_select(-1, kept)
        if out is None:
            out = found.new_empty(*found.shape[:-1], n_pairs(len(counts)))
        out[..., position] = found
    if out is None:
        raise ValueError("no pair of conditions.")
    return out


Part = tuple[Tensor, Tensor, float, Tensor, Tensor]


def everything(n: int, n_rows: int, device: torch.device) -> Part:
    """The part of a plan that leaves nothing out."""
    pairs = torch.arange(n_pairs(n), device=device)
    return torch.arange(n, device=device), torch.arange(n_rows, device=device), 1.0, pairs, pairs


def plan(row_condition: Tensor, counts: np.ndarray) -> list[Part]:
    """For each two groups: their conditions, the rows of others, the factor that makes up for rows left out, which of
    the conditions' pairs join the groups, and where these pairs stand among all.
    """
    n, device = len(counts), row_condition.device
    if n < 3:
        raise checks.ConfigError(
            "two conditions leave no other to estimate the noise from; give a Noise of other data, or noise=None."
        )
    n_groups = min(N_GROUPS, n)
    group = torch.arange(n, device=device) % n_groups
    free = torch.from_numpy(np.asarray(counts) - 1).to(
        device
    )  # degrees of freedom of each condition's residuals
    found = []
    for g in range(n_groups):
        for h in range(g, n_groups):
            inside = (group == g) | (group == h)
            members = inside.nonzero()[:, 0]
            if len(members) < 2:
                continue
            dof = int(free[~inside].sum())
            checks.at_least("trials that repeat other conditions than the two compared", dof, 1)
            first, second = (members[i.long()] for i in pair_indices(len(members), device))
            kept = ((group[first] == g) & (group[second] == h)) | ((group[first] == h) & (group[second] == g))
            first, second = first[kept], second[kept]
            position = first * n - first * (first + 1) // 2 + second - first - 1
            rows = (~inside)[row_condition].nonzero()[:, 0]
            found.append((members, rows, (int(free.sum()) / dof) ** 0.5, kept.nonzero()[:, 0], position))
    return found
