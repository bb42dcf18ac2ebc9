"""Groups of rows and columns of a table that belong together, by its spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks

N_ROUNDS = 50


def spectral_labels(table: Tensor, n_groups: int) -> tuple[Tensor, Tensor]:
    """A label for each row (n,) and column (m,), int64: rows and columns of one label go together.

    Parameters
    ----------
    table : Tensor, shape (n, m)
        Weights >= 0 between rows and columns.
    n_groups : int
        In [2, min(n, m)]; a group may end up without rows or without columns.

    Notes
    -----
    Dhillon 2001, doi:10.1145/502512.502550: k-means of the singular vectors of the table divided by the roots of its
    row and column sums. Centres start from rows far apart instead of at random, so that a table has one answer.
    """
    checks.in_range("n_groups", n_groups, 2, min(table.shape))
    values = table.double()
    by_row, by_column = (values.sum(d).clamp_min(1e-12).rsqrt() for d in (1, 0))
    u, _, vh = torch.linalg.svd(by_row[:, None] * values * by_column, full_matrices=False)
    depth = min(u.shape[1], max(2, 1 + (n_groups - 1).bit_length()))
    # The first pair of vectors is the same for all rows and columns and tells nothing apart.
    points = torch.cat([by_row[:, None] * u[:, 1:depth], by_column[:, None] * vh[1:depth].T])
    points = torch.nn.functional.normalize(points, dim=1)
    labels = _k_means(points, n_groups)
    return labels[: len(table)], labels[len(table) :]


def _k_means(points: Tensor, k: int) -> Tensor:
    centres = points[_far_apart(points, k)]
    labels = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for _ in range(N_ROUNDS):
        fresh = torch.cdist(points, centres).argmin(1)
        if bool((fresh == labels).all()):
            break
        labels = fresh
        sums = torch.zeros_like(centres).index_add(0, labels, points)
        counts = torch.bincount(labels, minlength=k)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return labels


def _far_apart(points: Tensor, k: int) -> list[int]:
    """The point farthest from the mean, then again and again the one farthest from those that were taken."""
    distance = (points - points.mean(0)).norm(dim=1)
    taken = [int(distance.argmax())]
    distance = (points - points[taken[0]]).norm(dim=1)
    for _ in range(k - 1):
        taken.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[taken[-1]]).norm(dim=1))
    return taken
