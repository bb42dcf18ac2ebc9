"""Rotations that bring one set of points onto another, and several sets onto what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks


class Rotation(NamedTuple):
    """Matrix (p, q) with orthonormal columns (rows where p < q), and the scale, 1 where none was asked for."""

    matrix: Tensor
    scale: float


class Aligned(NamedTuple):
    """A rotation for each set, what they have in common (n, q), and the mean squared error after each round."""

    rotations: tuple[Rotation, ...]
    shared: Tensor
    errors: tuple[float, ...]


def polar(matrix: Tensor) -> Tensor:
    """The matrix with orthonormal columns (rows where there are fewer of these) that is closest to this one.

    Parameters
    ----------
    matrix : Tensor, shape (p, q)

    Returns
    -------
    Tensor, shape (p, q)
        U V^T of the singular value decomposition U S V^T.
    """
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u @ vh


def procrustes(x: Tensor, y: Tensor, *, scaling: bool = False) -> Rotation:
    """The rotation (or reflection) R, and the scale s, with the smallest ||s x R - y||.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Centred, rows in the order of y's.
    y : Tensor, shape (n, q)
        Centred; q <= p.
    scaling : bool
        False keeps s = 1.

    Returns
    -------
    Rotation
        Apply it as ``scale * x @ matrix``.

    Notes
    -----
    Schonemann 1966, doi:10.1007/BF02289451. For q < p the columns of R are orthonormal and x R is a projection, whose
    length s does not undo; R is then the best only for x R with uncorrelated columns of equal length.
    """
    checks.same_length("row", x=x, y=y)
    checks.in_range("columns of y", y.shape[1], 1, x.shape[1])
    matrix = polar(x.T @ y)
    moved = x @ matrix
    power = float(moved.square().sum())
    scale = float((moved * y).sum()) / power if scaling and power > 0 else 1.0
    return Rotation(matrix, scale)


def generalised_procrustes(sets: Sequence[Tensor], *, scaling: bool = False, n_rounds: int = 20) -> Aligned:
    """Rotations that bring several sets of points onto their common mean (hyperalignment of equally many features).

    Parameters
    ----------
    sets : sequence of Tensor, shape (n, p) each
        Centred, rows in one order; at least two sets.
    scaling : bool
        Also scale each set; the common mean keeps its size.
    n_rounds : int
        Of rotating every set onto the mean and taking the mean again, >= 1.

    Returns
    -------
    Aligned
        `shared` is the mean of the rotated sets.

    Notes
    -----
    Gower 1975, doi:10.1007/BF02291478; of responses of several brains Haxby et al. 2011,
    doi:10.1016/j.neuron.2011.08.026. The first mean is along the sets' joint principal axes, so that the order of the
    sets does not matter.
    """
    checks.at_least("number of sets", len(sets), 2)
    shape = tuple(sets[0].shape)
    for number, x in enumerate(sets):
        if tuple(x.shape) != shape:
            raise ValueError(
                f"set {number} has shape {tuple(x.shape)}, set 0 {shape}; they must have one shape."
            )
    checks.at_least("n_rounds", n_rounds, 1)
    size = float(sum(x.square().sum() for x in sets)) / len(sets)
    shared = _joint_axes(sets)
    errors = []
    for _ in range(n_rounds):
        rotations = tuple(procrustes(x, shared, scaling=scaling) for x in sets)
        moved = [r.scale * x @ r.matrix for x, r in zip(sets, rotations, strict=True)]
        shared = torch.stack(moved).mean(0)
        if scaling:  # or all sets would shrink to nothing, which is the smallest error
            shared = shared * (size / float(shared.square().sum())) ** 0.5
        errors.append(float(torch.stack([(m - shared).square().mean() for m in moved]).mean()))
    return Aligned(rotations, shared, tuple(errors))


def _joint_axes(sets: Sequence[Tensor]) -> Tensor:
    """Scores (n, p) on the first principal axes of all features together, as long as one set is on average."""
    stacked = torch.cat(list(sets), dim=1)
    u, s, _ = torch.linalg.svd(stacked, full_matrices=False)
    p = sets[0].shape[1]
    scores = torch.zeros_like(sets[0])
    kept = min(p, u.shape[1])
    scores[:, :kept] = u[:, :kept] * s[:kept] / len(sets) ** 0.5
    return scores
