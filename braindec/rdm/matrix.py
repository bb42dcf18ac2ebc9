"""The representational dissimilarity matrix: distances that never travel without the names of their conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import pairs

ROUNDING = (
    1e-2  # of the largest distance: what float32 leaves on a diagonal of distances, far below any likeness
)


@dataclass(frozen=True, eq=False)
class RDM:
    """Distances of all pairs of conditions, one set of them or many.

    Parameters
    ----------
    distances : Tensor (or array, which becomes one), shape (..., pair)
        Pairs (0, 1), (0, 2), ..., (1, 2), ... of `conditions`. Cross-validated distances may be negative.
    conditions : tuple of str
        Unique, in order.
    measure : str
        What the distances are, e.g. ``"crossnobis"``.
    axes : tuple of str
        Names of the leading axes, e.g. ``("subject", "time")``.
    coordinates : mapping of str to tuple
        Values along a leading axis, e.g. seconds along ``"time"``.
    """

    distances: Tensor
    conditions: tuple[str, ...]
    measure: str
    axes: tuple[str, ...] = ()
    coordinates: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in checks.unique("conditions", self.conditions))
        object.__setattr__(self, "conditions", names)
        object.__setattr__(self, "distances", as_tensor("distances", self.distances))
        checks.n_axes("distances", self.distances, (*self.axes, "pair"))
        checks.at_least("number of conditions", len(names), 2)
        if self.distances.shape[-1] != pairs.n_pairs(len(names)):
            raise ValueError(
                f"{len(names)} conditions have {pairs.n_pairs(len(names))} pairs, distances has "
                f"{self.distances.shape[-1]} along axis 'pair'; they must match."
            )
        if not bool(
            self.distances.sum().isfinite()
        ):  # one fast pass; which entry it is, is only asked of a bad one
            checks.finite("distances", self.distances, way_out="Leave out conditions without measurement.")
        for axis, values in self.coordinates.items():
            length = self.distances.shape[self.axes.index(checks.one_of("coordinate", axis, self.axes))]
            checks.same_length(axis, coordinates=values, distances=range(length))

    @property
    def n_conditions(self) -> int:
        """Number of conditions."""
        return len(self.conditions)

    def square(self) -> Tensor:
        """Symmetric matrices with zeros on the diagonal, shape (..., condition, condition)."""
        return pairs.square(self.distances)

    def subset(self, conditions: Sequence[str]) -> RDM:
        """The RDM of these conditions, in this order.

        Raises
        ------
        ValueError
            If one of them is not there, or named twice.
        """
        wanted = checks.unique("conditions", [str(c) for c in conditions])
        place = {name: i for i, name in enumerate(self.conditions)}
        missing = [name for name in wanted if name not in place]
        if missing:
            near = checks.suggest(missing[0], self.conditions)
            raise ValueError(f"{len(missing)} conditions are not in this RDM, first {missing[0]!r}.{near}")
        if tuple(wanted) == self.conditions:
            return self
        rows = torch.tensor([place[name] for name in wanted], device=self.distances.device)
        first, second = (rows[i.long()] for i in pairs.pair_indices(len(wanted), self.distances.device))
        low, high = torch.minimum(first, second), torch.maximum(first, second)
        # Position of pair (low, high) in the condensed order of all conditions.
        position = low * self.n_conditions - low * (low + 1) // 2 + high - low - 1
        return replace(self, distances=self.distances[..., position], conditions=tuple(wanted))

    def reorder(self, conditions: Sequence[str]) -> RDM:
        """The same distances with the conditions in another order; all of them must be named."""
        found = self.subset(conditions)
        if found.n_conditions != self.n_conditions:
            raise ValueError(
                f"reorder needs all {self.n_conditions} conditions, got {found.n_conditions}; "
                "to leave some out: subset."
            )
        return found

    def mean(self, axis: str) -> RDM:
        """Mean distances along a leading axis.

        Parameters
        ----------
        axis : str
            One of `axes`.
        """
        place = self.axes.index(checks.one_of("axis", axis, self.axes))
        kept = tuple(name for name in self.axes if name != axis)
        values = {name: value for name, value in self.coordinates.items() if name != axis}
        return replace(self, distances=self.distances.mean(place), axes=kept, coordinates=values)

    def to(self, *args: Any) -> RDM:
        """The RDM with its distances moved or cast as by `Tensor.to`."""
        return replace(self, distances=self.distances.to(*args))


def from_square(matrix: Array, conditions: Sequence[str], measure: str, *, axes: Sequence[str] = ()) -> RDM:
    """An RDM of symmetric matrices.

    Parameters
    ----------
    matrix : Tensor or array, shape (..., condition, condition)
        Distances, symmetric up to rounding, with zeros (or NaN) on the diagonal: 1 - r, not the correlations r.
    conditions : sequence of str
    measure : str
    axes : sequence of str
        Names of the leading axes.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, or its diagonal says that it holds no distances.
    """
    values = as_tensor("matrix", matrix)
    values = values.float() if values.dtype == torch.bool else values  # which labels differ
    above, below = pairs.condensed(values), pairs.condensed(values.mT)
    scale = float(above.abs().max()) if above.numel() else 0.0
    worst = float((above - below).abs().max())
    if not worst <= 1e-5 * scale:
        raise ValueError(
            f"matrix must be symmetric; entries differ from their mirror image by up to {worst:g}."
        )
    _refuse_likeness(values.diagonal(dim1=-2, dim2=-1), scale)
    return RDM((above + below) / 2, tuple(conditions), measure, tuple(axes))


def _refuse_likeness(own: Tensor, scale: float) -> None:
    """Nothing is apart from itself: a diagonal beyond rounding belongs to another kind of matrix."""
    off = own.isfinite() & (own.abs() > ROUNDING * max(scale, torch.finfo(torch.float32).tiny))
    if not bool(off.any()):
        return
    worst = float(own[off].abs().max())
    raise ValueError(
        f"matrix must hold distances, which are 0 on the diagonal; {int(off.sum())} of {own.numel()} entries there "
        f"are not, up to {worst:g} (largest beside it {scale:g}). Of correlations r, or other likenesses up to 1, give "
        "1 - r; where each condition was measured twice and the diagonal tells how well, set it to 0."
    )


def stack(rdms: Sequence[RDM], axis: str, coordinates: Sequence[Any] | None = None) -> RDM:
    """Several RDMs along a new first axis, their conditions brought into the order of the first.

    Parameters
    ----------
    rdms : sequence of RDM
        Of the same conditions (in any order), measure and axes.
    axis : str
        Name of the new axis, e.g. ``"subject"``.
    coordinates : sequence, optional
        Values along it.
    """
    checks.at_least("number of RDMs", len(rdms), 1)
    first = rdms[0]
    for other in rdms[1:]:
        if other.measure != first.measure or other.axes != first.axes:
            raise ValueError(
                f"RDMs to stack must agree; got {other.measure!r} {other.axes} beside {first.measure!r} {first.axes}."
            )
    values = torch.stack([other.reorder(first.conditions).distances for other in rdms])
    known = dict(first.coordinates) | ({} if coordinates is None else {axis: tuple(coordinates)})
    return RDM(values, first.conditions, first.measure, (axis, *first.axes), known)


def shared_conditions(*rdms: RDM) -> tuple[str, ...]:
    """Conditions that all RDMs have, in the order of the first.

    Raises
    ------
    ValueError
        If fewer than three are shared: two have one distance, which cannot be compared.
    """
    rest = [set(rdm.conditions) for rdm in rdms[1:]]
    shared = tuple(name for name in rdms[0].conditions if all(name in other for other in rest))
    checks.at_least("number of conditions that all RDMs share", len(shared), 3)
    return shared
