"""Metrics: how well decoded stimuli match the ones presented, one value a sample.

A member `braindec/metrics/<name>.py` defines a table `METRICS: dict[str, Metric]`. A metric computes values of
samples from tensors that are already there: `needs` says which, and `evaluate` makes them (features through targets).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec.metrics._circularity import circular
from braindec.stats.intervals import Interval

__all__ = ["DIRECTIONS", "INPUTS", "Metric", "circular", "item_means", "mismatched"]

DIRECTIONS = ("higher", "lower")

# What `compute` is called with, by the first word of `needs`.
INPUTS = {
    "similarity": "similarity (query, gallery), truth (query,): the gallery column of each query",
    "images": "presented and decoded, float (item, channel, height, width) in [0, 1]",
    "features": "presented and decoded, (item, feature): '<target member>.<node>' of both pictures",
    "vectors": "presented and decoded, (item, dim): the true and the decoded vector in the target's own space",
    "labels": "scores (trial, class) or (trial,), labels (trial,)",
    "responses": "measured and predicted, (item, voxel): the second an encoding model's from decoded pictures",
    "captions": "references (item: one or several texts) and decoded captions (item: one text)",
    "texts": "presented and decoded, (item, dim): '<target member>.<node>' of both captions",
    "image_text": "presented picture and decoded caption, (item, dim), in the one space of '<target member>.<node>'",
    "videos": "presented and decoded, float (item, frame, channel, height, width) in [0, 1]",
    "frames": "presented and decoded, (item, frame, feature): '<target member>.<node>' of every frame",
    "clips": "presented and decoded, (item, feature): '<target member>.<node>' of whole clips",
    "points": "presented and decoded, (item, point, 3): of the surfaces of objects in a unit cube",
    "occupancy": "presented and decoded, (item, x, y, z): above 0.5 inside an object",
}


@dataclass(frozen=True)
class Metric:
    """One published way to judge a decoder.

    Parameters
    ----------
    name : str
        As it stands in report.json.
    needs : str
        A key of `INPUTS`, of a network's view with the network: ``"features:<target member>.<node>"``.
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
    best : float or None
        Value of perfect predictions; None: 1 where higher is better, 0 where lower is.
    paired : bool
        False where the metric compares the set of decoded items with the set of presented ones: whoever shuffles the
        decoded items scores about the same, so it says nothing of decoding by itself.
    whole_test_set : bool
        True where a prediction's value depends on the other predictions of the test set by more than competing with
        them: a decoder that meets one trial at a time cannot have it.
    interval : callable or None
        The inputs of `needs` and ``generator=`` -> Interval of the mean, where the spread of values over samples
        does not tell its error. None: it does.
    missing : callable
        What this machine lacks to compute it, in words, or an empty text.
    """

    name: str
    needs: str
    chance: Callable[[int], float] | float | None
    direction: str
    source: str
    compute: Callable[..., Tensor]
    pairwise: bool = False
    best: float | None = None
    paired: bool = True
    whole_test_set: bool = False
    interval: Callable[..., Interval] | None = None
    missing: Callable[[], str] = str

    def __post_init__(self) -> None:
        checks.one_of("needs", self.needs.partition(":")[0], tuple(INPUTS))
        checks.one_of("direction", self.direction, DIRECTIONS)

    @property
    def network(self) -> str | None:
        """The target member in whose eyes the metric looks; None where it needs none."""
        return self.needs.partition(":")[2].partition(".")[0] or None

    @property
    def node(self) -> str | None:
        """The layer of `network`, e.g. ``"features.4"``."""
        return self.needs.partition(":")[2].partition(".")[2] or None

    @property
    def best_value(self) -> float:
        """Value of perfect predictions."""
        return self.best if self.best is not None else float(self.direction == "higher")

    @property
    def status(self) -> str:
        """``"computed"``, or ``"not computed: needs ..."`` where something is missing on this machine."""
        lacking = self.missing()
        return f"not computed: needs {lacking}" if lacking else "computed"

    def chance_of(self, n_alternatives: int) -> float | None:
        """Theoretical chance among this many alternatives; None where there is no theory (see `mismatched`)."""
        return self.chance(n_alternatives) if callable(self.chance) else self.chance

    def per_sample(self, *inputs: Any, **options: Tensor) -> Tensor:
        """One float64 value a sample, shape (n_samples,); their mean is the score.

        Raises
        ------
        ValueError
            If `compute` returns something else.
        """
        values = self.compute(*inputs, **options)
        if self.pairwise:
            return item_means(values)
        n = len(inputs[1 if self.needs in ("similarity", "labels") else 0])
        if tuple(values.shape) != (n,):
            raise ValueError(
                f"metric {self.name!r} gave values of shape {tuple(values.shape)}, expected one a sample, ({n},): "
                f"correct {self._function}."
            )
        return values

    def sound(self, values: Tensor, *, share: bool) -> Tensor:
        """The values when they are finite, and of a share in [0, 1] too; the message names the metric."""
        said, way_out = f"values of metric {self.name!r}", f"Correct {self._function}."
        checks.finite(said, values, way_out=way_out)
        low, high = float(values.min()), float(values.max())
        if share and not (low >= 0 and high <= 1):
            raise ValueError(
                f"{said} must lie in [0, 1], got {low:g} to {high:g}. {way_out} Whose values are no shares says so: "
                "Metric(..., best=math.inf), or -math.inf where lower is better."
            )
        return values

    @property
    def _function(self) -> str:
        """Where `compute` stands."""
        module, name = (getattr(self.compute, a, "") for a in ("__module__", "__name__"))
        return f"{name} of {module}" if module and name else "its compute"

    def value(self, *inputs: Any, **options: Tensor) -> float:
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


def mismatched(metric: Metric, presented: Any, decoded: Any, *, n_shifts: int = 10) -> float:
    """Score of the same decoded items when each is held against another presented item.

    Parameters
    ----------
    metric : Metric
        Of paired samples, not pairwise. One that is not `paired` gives about its own value.
    presented, decoded : Tensor, shape (n_items, ...), or sequence of n_items texts
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
        torch.stack([metric.per_sample(presented, _shifted(decoded, int(s))).mean() for s in shifts]).mean()
    )


def _shifted(items: Any, by: int) -> Any:
    """Items with the last `by` of them put first."""
    if isinstance(items, Tensor):
        return items.roll(by, 0)
    return [*items[-by:], *items[:-by]]
