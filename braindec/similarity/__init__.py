"""Similarity of representations: one number for two sets of features of the same stimuli.

A member `braindec/similarity/<name>.py` defines a table ``MEASURES: dict[str, Measure]``; `braindec compare --measure`
finds every entry by its name. A value alone says little: several measures are far above zero for unrelated features.
`Measure.nulls` is what they are without the pairing of stimuli, and `calibrated` what is left above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.stats.permutation import p_value

__all__ = ["INVARIANCES", "NULLS", "Compared", "Measure", "calibrated", "two_steps"]

NULLS = ("permuted_stimuli", "random_rotation")
INVARIANCES = {
    "rotation": "orthogonal transforms of either side's features, the order of features among them",
    "scale": "multiplication of a side by one positive number",
    "shift": "addition of one row to all rows of a side",
    "linear": "any invertible linear map of either side's features",
    "unit_scale": "multiplication of each feature by a positive number of its own",
}
ALWAYS = ("rotation", "scale", "shift")

Function = Callable[[Tensor, Tensor], Tensor]
Under = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Measure:
    """One published way to compare two representations.

    Parameters
    ----------
    name : str
        As it stands in tables; unique among all members.
    function : callable
        ``function(x, y)`` with x (stimulus, dim) and y (stimulus, other dim), floating, rows in one order; gives one
        number (a float64 tensor without axes).
    higher : bool
        Whether higher is more alike.
    null : str
        What makes its null: ``"permuted_stimuli"`` (the rows of y are exchanged) or ``"random_rotation"`` (y's features
        are rotated at random, which keeps its geometry and forgets its units).
    source : str
        Where the definition comes from, constants included.
    range : (float, float)
        Smallest and largest value there can be.
    symmetric : bool
        Whether function(x, y) equals function(y, x).
    unchanged_by : tuple of str
        Keys of `INVARIANCES`.
    of_itself : float
        Value for two equal sides of more stimuli than features; measures on held-out stimuli come close to it.
    fewest : int
        Stimuli that it needs.
    chance : callable or None
        Expected value for unrelated sides as a function of the number of stimuli, where there is a theory.
    under : callable or None
        ``under(x, y, orders)`` with orders (n_orders, stimulus): ``function(x, y[order])`` for each, sharing work.
    """

    name: str
    function: Function
    higher: bool
    null: str
    source: str
    range: tuple[float, float] = (-1.0, 1.0)
    symmetric: bool = True
    unchanged_by: tuple[str, ...] = ALWAYS
    of_itself: float = 1.0
    fewest: int = 4
    chance: Callable[[int], float] | None = None
    under: Under | None = None

    def __post_init__(self) -> None:
        checks.one_of("null", self.null, NULLS)
        for what in self.unchanged_by:
            checks.known_key("invariance", what, INVARIANCES)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The value, a float64 tensor without axes, after both sides are checked."""
        n = checks.same_length("stimulus", x=x, y=y)
        checks.at_least(f"stimuli for {self.name}", n, self.fewest)
        for name, side in (("x", x), ("y", y)):
            checks.finite(name, checks.n_axes(name, side, ("stimulus", "dim")))
        return self.function(x, y).double()

    def nulls(self, x: Tensor, y: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Values without what is tested, float64 (n,): stimuli of y exchanged, or its features rotated at random.

        Parameters
        ----------
        x, y : Tensor, shapes (stimulus, dim) and (stimulus, other dim)
        n : int
            >= 1.
        generator : torch.Generator
            On the CPU.
        """
        checks.at_least("number of null values", n, 1)
        if self.null == "random_rotation":
            return torch.stack([self(x, y @ _rotation(y, generator)) for _ in range(n)])
        orders = torch.stack([torch.randperm(len(y), generator=generator) for _ in range(n)]).to(y.device)
        if self.under is not None:
            return self.under(x, y, orders).double()
        return torch.stack([self.function(x, y[order]) for order in orders]).double()

    def compare(self, x: Tensor, y: Tensor, n_nulls: int, generator: torch.Generator) -> Compared:
        """The value beside its null: raw, calibrated, and the chance of such a value without a relation."""
        value, nulls = self(x, y), self.nulls(x, y, n_nulls, generator)
        alternative = "greater" if self.higher else "less"
        best = self.range[1] if self.higher else self.range[0]
        p = p_value(float(value), nulls.cpu().numpy(), alternative)
        return Compared(float(value), float(calibrated(value, nulls, best)), nulls, p, len(x))


class Compared(NamedTuple):
    """A value, its calibrated form, values under the null (n_nulls,), (c + 1) / (N + 1), and the number of stimuli."""

    value: float
    calibrated: float
    nulls: Tensor
    p: float
    n: int


def calibrated(value: Tensor, nulls: Tensor, best: float = 1.0) -> Tensor:
    """Share of the way from the null's mean to the best value: 0 for unrelated sides whatever their size, 1 at best.

    Parameters
    ----------
    value : Tensor, shape (...)
    nulls : Tensor, shape (n_nulls, ...)
    best : float
        Of the measure.

    Returns
    -------
    Tensor, shape (...)
        May be negative; 0 where the null is at the best value already (nothing can be told).
    """
    level = nulls.mean(0)
    room = best - level
    possible = room.abs() > 1e-9
    return torch.where(possible, (value - level) / torch.where(possible, room, 1.0), 0.0)


def two_steps(
    prepare: Callable[[Tensor], object],
    compare: Callable[..., Tensor],
    take: Callable[..., object],
) -> tuple[Function, Under]:
    """(function, under) of a measure whose work on each side alone is done once for all permutations.

    Parameters
    ----------
    prepare : callable
        Features (stimulus, dim) -> anything.
    compare : callable
        Two such -> a tensor without axes.
    take : callable
        (what `prepare` made, order) -> what it would make of the rows in that order.
    """

    def function(x: Tensor, y: Tensor) -> Tensor:
        first = prepare(x)
        return compare(first, first if y is x else prepare(y))

    def under(x: Tensor, y: Tensor, orders: Tensor) -> Tensor:
        first, second = prepare(x), prepare(y)
        return torch.stack([compare(first, take(second, order)) for order in orders])

    return function, under


def _rotation(y: Tensor, generator: torch.Generator) -> Tensor:
    """A random orthogonal matrix (dim, dim), uniform."""
    q, r = torch.linalg.qr(torch.randn(y.shape[1], y.shape[1], generator=generator, dtype=torch.float64))
    return (q * r.diagonal().sign()).to(y)
