"""Metrics: how well decoded stimuli match the ones presented, one value a sample.

A member `braindec/metrics/<name>.py` defines a table `METRICS: dict[str, Metric]`. A metric computes values of
samples from tensors that are already there: `needs` says which, and `evaluate` makes them (features through targets).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks

DIRECTIONS = ("higher", "lower")

# What `compute` is called with, by the first word of `needs`.
INPUTS = {
    "similarity": "similarity (query, gallery), truth (query,): the gallery column of each query",
    "images": "presented and decoded, float (item, channel, height, width) in [0, 1]",
    "features": "presented and decoded, (item, feature): '<target member>.<node>' of both pictures",
    "vectors": "presented and decoded, (item, dim): the true and the decoded vector in the target's own space",
    "labels": "scores (trial, class) or (trial,), labels (trial,)",
}


@dataclass(frozen=True)
class Metric:
    """One published way to judge a decoder.

    Parameters
    ----------
    name : str
        As it stands in report.json.
    needs : str
        ``"similarity"``, ``"images"``, ``"features:<target member>.<node>"``, ``"vectors"`` or ``"labels"``;
        see `INPUTS`.
    chance : callable, float or None
        Expected value of a decoder that knows nothing: a constant, or a function of the number of alternatives (gallery
        entries, classes). None where it depends on the stimuli: use the mean over mismatched pairs (`mismatched`).
    direction : str
        ``"higher"`` or ``"lower"`` is better.
    source : str
        Where the definition comes from, constants included.
    compute : callable
        The inputs of `needs` -> float64 Tensor, shape (n_samples,); of a pairwise metric (n_items, n_items).
    pairwise : bool
        Whether `compute` returns wins of item i (row) over distractor j (column): 1, 0, 0.5 for a tie, NaN where the
        two are not compared. Such a metric is resampled by items with weights w_i w_j, never by pairs.
    """

    name: str
    needs: str
    chance: Callable[[int], float] | float | None
    direction: str
    source: str
    compute: Callable[..., Tensor]
    pairwise: bool = False

    def __post_init__(self) -> None:
        checks.one_of("needs", self.needs.partition(":")[0], tuple(INPUTS))
        checks.one_of("direction", self.direction, DIRECTIONS)

    def chance_of(self, n_alternatives: int) -> float | None:
        """Theoretical chance among this many alternatives; None where there is no theory (see `mismatched`)."""
        return self.chance(n_alternatives) if callable(self.chance) else self.chance

    def per_sample(self, *inputs: Tensor, **options: Tensor) -> Tensor:
        """One float64 value a sample, shape (n_samples,); their mean is the score."""
        values = self.compute(*inputs, **options)
        return item_means(values) if self.pairwise else values

    def value(self, *inputs: Tensor, **options: Tensor) -> float:
        """The score: the mean over samples."""
        return float(self.per_sample(*inputs, **options).mean())


def item_means(wins: Tensor) -> Tensor:
    """Mean of each row of a win matrix over the pairs that were compared.

    Parameters
    ----------
    wins : Tensor, shape (n_items, n_items)
        In [0, 1]; NaN where a pair is not compared.

    Returns
    -------
    Tensor, shape (n_items,)

    Raises
    ------
    ValueError
        If an item has no distractor.
    """
    alone = torch.nonzero(wins.isnan().all(1)).flatten()
    if len(alone):
        raise ValueError(
            f"{len(alone)} of {len(wins)} items have no distractor to be told apart from, first item {int(alone[0])}; "
            "each fold (and class, where compared within class) needs at least two items."
        )
    return wins.nanmean(1)


def mismatched(metric: Metric, presented: Tensor, decoded: Tensor, *, n_shifts: int = 10) -> float:
    """Score of the same decoded items when each is held against another presented item.

    Parameters
    ----------
    metric : Metric
        Of paired samples, not pairwise.
    presented, decoded : Tensor, shape (n_items, ...)
    n_shifts : int
        Cyclic shifts of the pairing to average over; all of them when there are no more.

    Returns
    -------
    float
        Chance for metrics without a theory: what a decoder gets that knows the kind of picture but not which one.
    """
    n = checks.same_length("item", presented=presented, decoded=decoded)
    checks.at_least("items to mismatch", n, 2)
    # Shifts spread evenly over 1..n-1, so no item is ever compared with itself.
    shifts = torch.linspace(1, n - 1, min(n_shifts, n - 1)).round().long().unique()
    return float(
        torch.stack([metric.per_sample(presented, decoded.roll(int(s), 0)).mean() for s in shifts]).mean()
    )
