"""How near a decoded object is to the presented one: points of their surfaces, the room they take, and their views.

Objects lie in a unit cube: distances are in its edges.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric
from braindec.metrics.identification import correlations, two_way
from braindec.metrics.n_way import n_way

THRESHOLD = (
    0.05  # edges of the cube; about the distance of 400 points on the surface of a middle-sized object
)
JUDGE = "tiny_openclip"  # sees the views


def chamfer_distance(presented: Tensor, decoded: Tensor) -> Tensor:
    """Mean distance from a point of either surface to the nearest one of the other.

    Parameters
    ----------
    presented : Tensor, shape (n_items, n_points, 3)
    decoded : Tensor, shape (n_items, n_other_points, 3)

    Returns
    -------
    Tensor of float64, shape (n_items,)
        Half the sum of both directions' means, >= 0, in the points' unit. Distances are not squared.

    Notes
    -----
    Fan et al. 2017, doi:10.1109/CVPR.2017.264, who square distances. Two draws of points from one surface are not at 0.
    """
    there, back = _nearest(presented, decoded)
    return (there.mean(1) + back.mean(1)) / 2


def f_score(presented: Tensor, decoded: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Harmonic mean of the shares of either surface's points that lie near the other surface.

    Parameters
    ----------
    presented : Tensor, shape (n_items, n_points, 3)
    decoded : Tensor, shape (n_items, n_other_points, 3)
    threshold : float
        What counts as near, > 0, in the points' unit.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1]; 0 where nothing is near.

    Notes
    -----
    Tatarchenko et al. 2019, doi:10.1109/CVPR.2019.00352: precision of the decoded, recall of the presented points.
    """
    checks.at_least("threshold", threshold, 1e-12)
    there, back = _nearest(presented, decoded)
    recall, precision = ((d <= threshold).double().mean(1) for d in (there, back))
    return 2 * precision * recall / (precision + recall).clamp_min(1e-12)


def earth_movers_distance(presented: Tensor, decoded: Tensor) -> Tensor:
    """Mean distance that points have to go when every decoded one is moved onto a presented one of its own.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_points, 3)
        As many of both.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        >= 0, in the points' unit; of the best assignment of all, found exactly.

    Raises
    ------
    ValueError
        If there are more points of one than of the other.

    Notes
    -----
    Rubner et al. 2000, doi:10.1023/A:1026543900054, of equal weights. Time grows with the cube of n_points.
    """
    _check(presented, decoded)
    checks.same_length("point", presented=presented[0], decoded=decoded[0])
    found = []
    for true, made in zip(presented.double(), decoded.double(), strict=True):
        cost = torch.cdist(true, made, compute_mode="donot_use_mm_for_euclid_dist")
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        found.append(cost[rows, columns].mean())
    return torch.stack(found)


def volume_iou(presented: Tensor, decoded: Tensor) -> Tensor:
    """Share of the room that either object takes which both take.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Occupancy, the same voxels of both: inside where above 0.5.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1]; 1 where both are empty.
    """
    checks.same_length("item", presented=presented, decoded=decoded)
    if presented.shape != decoded.shape:
        raise ValueError(f"presented has the shape {tuple(presented.shape)}, decoded {tuple(decoded.shape)}.")
    true, made = (v.flatten(1) > 0.5 for v in (presented, decoded))
    either = (true | made).sum(1).double()
    return torch.where(either > 0, (true & made).sum(1) / either.clamp_min(1), 1.0)


def ten_way(presented: Tensor, decoded: Tensor) -> Tensor:
    """Chance that a decoded item's features correlate more with the presented item's than with those of nine others.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_features)

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1], exact over all draws of the nine; of fewer than ten items, all others are taken.
    """
    alike = correlations(presented, decoded).T  # (decoded, presented)
    return n_way(torch.eye(len(alike), dtype=alike.dtype, device=alike.device), alike, n=min(10, len(alike)))


def _chance(n: int) -> float:
    return 1 / min(10, n)


def _nearest(presented: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each point to the nearest of the other object: (n_items, n_points), (n_items, n_other_points)."""
    _check(presented, decoded)
    there, back = [], []  # one table of distances at a time
    for true, made in zip(presented.double(), decoded.double(), strict=True):
        distance = torch.cdist(true, made, compute_mode="donot_use_mm_for_euclid_dist")
        there.append(distance.amin(1))
        back.append(distance.amin(0))
    return torch.stack(there), torch.stack(back)


def _check(presented: Tensor, decoded: Tensor) -> None:
    for name, points in (("presented", presented), ("decoded", decoded)):
        checks.n_axes(name, points, ("item", "point", "coordinate"))
        checks.finite(name, points)
    checks.same_length("item", presented=presented, decoded=decoded)


_TEN = "Gao et al. 2024 (MinD-3D), arXiv:2312.07485, ten-way top 1; theirs by a classifier's classes, here by item"
METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "chamfer_distance", "points", None, "lower", "Fan et al. 2017, doi:10.1109/CVPR.2017.264; not squared",
            chamfer_distance,
        ),
        Metric(
            "earth_movers_distance", "points", None, "lower", "Rubner et al. 2000, doi:10.1023/A:1026543900054",
            earth_movers_distance,
        ),
        Metric(
            "f_score", "points", None, "higher",
            f"Tatarchenko et al. 2019, doi:10.1109/CVPR.2019.00352, within {THRESHOLD} of the cube's edge", f_score,
        ),
        Metric("volume_iou", "occupancy", None, "higher", "Jaccard index of the voxels inside", volume_iou),
        two_way(JUDGE, "view_two_way"),
        Metric("view_ten_way", f"features:{JUDGE}", _chance, "higher", _TEN, ten_way),
    )
}  # fmt: skip
