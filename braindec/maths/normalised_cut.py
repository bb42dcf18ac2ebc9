"""Points in groups by the normalised cut of their likeness, and the groups of points that were not there."""

from __future__ import annotations

from typing import NamedTuple

import scipy.linalg
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import unit_rows


class Cut(NamedTuple):
    """Groups of fitted points, and what gives any other point one.

    points (n, p) of length 1; degrees (n,) summed likeness; vectors (n, k) and values (k,) of the normalised likeness;
    turn (k, k) orthogonal, after which each axis is a group; scale of the likeness.
    """

    points: Tensor
    degrees: Tensor
    vectors: Tensor
    values: Tensor
    turn: Tensor
    scale: float


def normalised_cut(points: Tensor, n_groups: int, *, scale: float = 0.5) -> Cut:
    """The normalised cut of points into groups.

    Parameters
    ----------
    points : Tensor, shape (n, p)
        Any unit: their directions are compared. Time grows with n cubed; further points are for `labels`.
    n_groups : int
        In [2, n]; a group may end up empty.
    scale : float
        Likeness is exp((cosine - 1) / scale), in (0, 1].

    Notes
    -----
    Shi and Malik 2000, doi:10.1109/34.868688. Eigenvectors become groups by the pivoted QR factorisation of Damle et
    al. 2019, doi:10.1093/imaiai/iay008: k points far apart are the axes, so nothing is drawn at random.
    """
    checks.n_axes("points", points, ("point", "dimension"))
    checks.in_range("n_groups", n_groups, 2, len(points))
    checks.in_range("scale", scale, 1e-3, 1e3)
    unit = _unit(checks.finite("points", points))
    likeness = _likeness(unit, unit, scale)
    degrees = likeness.sum(1)
    values, vectors = torch.linalg.eigh(likeness * degrees.rsqrt()[:, None] * degrees.rsqrt())
    values, vectors = values[-n_groups:], vectors[:, -n_groups:]
    order = scipy.linalg.qr(vectors.T.cpu().numpy(), mode="r", pivoting=True)[1][:n_groups]
    left, _, right = torch.linalg.svd(vectors[torch.from_numpy(order.astype("int64"))].T)
    return Cut(unit, degrees, vectors, values, left @ right, scale)


def labels(cut: Cut, points: Tensor) -> Tensor:
    """The group of each point, int64 (m,), in [0, k).

    Points (m, p) that were fitted get their own group, others that of Nystroem's extension of the eigenvectors.
    """
    likeness = _likeness(_unit(points), cut.points, cut.scale)
    reached = likeness * cut.degrees.rsqrt() @ cut.vectors / cut.values
    return (reached / likeness.sum(1, keepdim=True).sqrt() @ cut.turn).argmax(1)


def _unit(points: Tensor) -> Tensor:
    return unit_rows(points.double())


def _likeness(x: Tensor, y: Tensor, scale: float) -> Tensor:
    return torch.exp((x @ y.T - 1) / scale)
