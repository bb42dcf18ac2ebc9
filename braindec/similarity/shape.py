"""Shape: how well one set of points falls on the other once it is rotated, scaled and perhaps whitened."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from braindec.maths.shape import nuclear_norm, partially_whitened
from braindec.similarity import ALWAYS, Measure, two_steps
from braindec.similarity._halves import unit_length

SOURCE = "Williams et al. 2021, arXiv:2110.14739"


def _prepare(x: Tensor, alpha: float) -> Tensor:
    # Principal axes of length one on average: what partial whitening does then depends on no unit.
    scaled = unit_length(x) * min(x.shape[1], len(x) - 1) ** 0.5
    return unit_length(partially_whitened(scaled, alpha))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return nuclear_norm(a, b).clamp(0.0, 1.0)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """1 where the shapes are equal, 0 at a right angle."""
    return 1 - _cosine(a, b).arccos() * 2 / math.pi


def _measure(
    name: str, compare: Callable[..., Tensor], source: str, alpha: float = 1.0, extra: tuple[str, ...] = ()
) -> Measure:
    function, under = two_steps(partial(_prepare, alpha=alpha), compare, lambda side, order: side[order])
    return Measure(
        name, function, True, "permuted_stimuli", source, range=(0.0, 1.0), unchanged_by=(*ALWAYS, *extra), under=under
    )  # fmt: skip


MEASURES = {
    m.name: m
    for m in (
        _measure("procrustes", _cosine, f"{SOURCE}: cosine at the best rotation; d^2 = 2 - 2 of it"),
        _measure("angular", _angle, f"{SOURCE}: 1 - 2/pi of the angle at the best rotation"),
        _measure("angular_half_whitened", _angle, f"{SOURCE}: the same after partial whitening, alpha 0.5", 0.5),
        _measure("angular_whitened", _angle, f"{SOURCE}: the same after whitening, alpha 0 (CCA)", 0.0,
                 ("linear", "unit_scale")),
    )
}  # fmt: skip
