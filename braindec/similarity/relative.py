"""Relative representations: stimuli described by their likeness to anchors, one language for both sides."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson, unit_rows
from braindec.maths.nearest import mid_ranks, truth_ranks
from braindec.maths.procrustes import polar
from braindec.similarity import ALWAYS, Measure
from braindec.similarity._halves import both_ways, unit_length

SOURCE = "Moschella et al. 2023, arXiv:2209.15430"
MAPPED = "Maiorana et al. 2023, arXiv:2311.00664"


def relative(x: Tensor, anchors: Tensor) -> Tensor:
    """Cosines of rows with anchors, both about the anchors' mean.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    anchors : Tensor, shape (m, p)

    Returns
    -------
    Tensor, shape (n, m)
        In [-1, 1]; unchanged by rotations, shifts and scaling of the space.
    """
    checks.same_length("dim", x=x.T, anchors=anchors.T)
    mean = anchors.mean(0)
    scaled = [unit_rows(z - mean) for z in (x, anchors)]
    return scaled[0] @ scaled[1].T


def stitch(x: Tensor, x_anchors: Tensor, y_anchors: Tensor) -> Tensor:
    """Rows of one space in another, by the rotation and scale that bring its anchors onto the other's.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Rows to be moved.
    x_anchors : Tensor, shape (m, p)
    y_anchors : Tensor, shape (m, q)
        The same stimuli in the other space.

    Returns
    -------
    Tensor, shape (n, q)
        Float of x: what a head that was trained on the other space can read.

    Notes
    -----
    Maiorana et al. 2023, arXiv:2311.00664 (orthogonal variant). Where q > p the rows fill p directions of the space.
    """
    checks.same_length("anchor", x_anchors=x_anchors, y_anchors=y_anchors)
    from_mean, to_mean = x_anchors.mean(0), y_anchors.mean(0)
    a, b = x_anchors - from_mean, y_anchors - to_mean
    rotation = polar(a.T @ b)
    moved = a @ rotation
    power = moved.square().sum()
    scale = (moved * b).sum() / power if bool(power > 0) else power
    return scale * ((x - from_mean) @ rotation) + to_mean


def identified(queries: Tensor, gallery: Tensor) -> Tensor:
    """Share of the other rows that each row's own partner beats by cosine, mean over rows; chance 0.5."""
    better, tied = truth_ranks(queries, gallery, torch.arange(len(queries), device=queries.device))
    return 1 - mid_ranks(better, tied).mean() / (len(queries) - 1)


def _agreement(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    return pearson(relative(xb, xa), relative(yb, ya)).mean()


def _zero_shot(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    first, second = relative(xb, xa), relative(yb, ya)
    return (identified(first, second) + identified(second, first)) / 2


def _stitched(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    centre = ya.mean(0)
    return identified(stitch(xb, xa, ya) - centre, yb - centre)


def _scaled(x: Tensor, y: Tensor) -> Tensor:
    return both_ways(_stitched)(unit_length(x), unit_length(y))


def _half(n: int) -> float:
    return 0.5


MEASURES = {
    "relative": Measure(
        "relative", both_ways(_agreement), True, "permuted_stimuli",
        f"{SOURCE}; every other stimulus an anchor, mean correlation of the others' relative representations",
        unchanged_by=ALWAYS, fewest=8,
    ),
    "relative_identified": Measure(
        "relative_identified", both_ways(_zero_shot), True, "permuted_stimuli",
        f"{SOURCE}; stimuli told apart by their relative representations, every other stimulus an anchor",
        range=(0.0, 1.0), unchanged_by=ALWAYS, fewest=8, chance=_half,
    ),
    "stitching": Measure(
        "stitching", _scaled, True, "permuted_stimuli",
        f"{MAPPED}; rotated by every other stimulus, the others told apart in the second space",
        range=(0.0, 1.0), symmetric=False, unchanged_by=ALWAYS, fewest=8, chance=_half,
    ),
}  # fmt: skip
