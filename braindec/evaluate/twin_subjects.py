"""How many subjects a group result needs: from the spread of the subjects at hand, and with more trials of each.

A group's interval is a t interval over subjects, each of whom counts once. What it takes is told by how subjects'
scores spread, which one subject cannot tell: of one, the numbers are said for spreads that have to be assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec.evaluate.measures import metric_table
from braindec.evaluate.twin_result import Expectation, TwinResult
from braindec.stats import sample_size
from braindec.stats.mixed import subjects_by_seeds

ASSUMED = (0.1, 0.25, 0.5)  # SD between subjects, over the one subject's distance from chance


@dataclass(frozen=True)
class Goal:
    """What a group result shall reach.

    Parameters
    ----------
    within : float or None
        Half-width of the group's interval, in the unit of the score; None: only that it excludes chance.
    power : float
        Chance that a study of the size said reaches it, in [0.5, 0.99].
    level : float
        Of the group's interval, in (0, 1).
    """

    within: float | None = None
    power: float = 0.8
    level: float = 0.95


@dataclass(frozen=True)
class NeededSubjects:
    """Subjects that a goal needs, of one metric and modality.

    Parameters
    ----------
    metric, modality : str
    values : mapping of int to float
        Score of each subject at hand.
    chance : float or None
    goal : Goal
    above : mapping of float to int or None
        By training trials of a subject over those there are (1: as they are): subjects for an interval above chance;
        None where the subjects at hand do not say with the chance wanted that their mean lies above.
    within : mapping of float to int or None
        Subjects for an interval of +- `goal.within`.
    sure : float or None
        Chance that the mean of all subjects lies above chance, as far as those at hand tell.
    between, single : float or None
        SD between subjects' expected scores and of one recording about its subject's, from the copies (mixed model).
    assumed : mapping of float to (int or None, int or None)
        Of one subject: by an assumed SD between subjects, subjects above chance and within.
    """

    metric: str
    modality: str
    values: Mapping[int, float]
    chance: float | None
    goal: Goal
    above: Mapping[float, int | None] = field(default_factory=dict)
    within: Mapping[float, int | None] = field(default_factory=dict)
    sure: float | None = None
    between: float | None = None
    single: float | None = None
    assumed: Mapping[float, tuple[int | None, int | None]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry in the record."""
        return {
            "metric": self.metric, "modality": self.modality, "power": self.goal.power, "level": self.goal.level,
            "half_width": self.goal.within, "chance": self.chance,
            "values": {str(k): v for k, v in self.values.items()},
            "above_chance": {f"{k:g}": v for k, v in self.above.items()},
            "within": {f"{k:g}": v for k, v in self.within.items()}, "mean_above_chance": self.sure,
            "sd_between": self.between, "sd_of_one_recording": self.single,
            "assumed_sd": {f"{k:.3g}": list(v) for k, v in self.assumed.items()},
        }  # fmt: skip


def needed_subjects(found: TwinResult, metric: str, goal: Goal | None = None) -> list[NeededSubjects]:
    """What a goal needs, one entry for each modality that has the metric.

    Parameters
    ----------
    found : TwinResult
    metric : str
        One that its expectations have.
    goal : Goal, optional
    """
    goal = goal or Goal()
    of = [e for e in found.expectations if e.metric == metric]
    modalities = dict.fromkeys(e.modality for e in of)
    groups = [[e for e in of if e.modality == modality] for modality in modalities]
    return [(_of_one(group[0], goal) if len(group) == 1 else _of_several(group, goal)) for group in groups]


def _of_one(e: Expectation, goal: Goal) -> NeededSubjects:
    effect = 0.0 if e.chance is None else _sign(e) * (e.value - e.chance)
    # Where the subject is no better than chance there is no distance to assume a spread by: a tenth of a unit.
    spreads = [share * (effect if effect > 0 else 0.2) for share in ASSUMED]
    assumed = {
        sd: (
            sample_size.assumed_above(effect, sd, goal.power, goal.level),
            None
            if goal.within is None
            else sample_size.assumed_within(sd, goal.within, goal.power, goal.level),
        )
        for sd in spreads
    }
    return NeededSubjects(e.metric, e.modality, {e.subject: e.value}, e.chance, goal, assumed=assumed)


def _of_several(group: Sequence[Expectation], goal: Goal) -> NeededSubjects:
    first = group[0]
    sign, chance = _sign(first), first.chance
    sizes = sorted(set.intersection(*(set(e.growth) for e in group)) | {1.0})
    above: dict[float, int | None] = {}
    within: dict[float, int | None] = {}
    for size in sizes:
        values = at_size(group, size)
        if chance is not None:
            above[size] = sample_size.subjects_above(sign * values, sign * chance, goal.power, goal.level)
        if goal.within is not None:
            within[size] = sample_size.subjects_within(values, goal.within, goal.power, goal.level)
    parts = subjects_by_seeds(np.array([e.copies for e in group])).variance
    own = sign * at_size(group, 1.0)
    sure = None if chance is None else sample_size.mean_above(own, sign * chance)
    single = float(np.sqrt(parts["seed"] + parts["residual"]))
    return NeededSubjects(first.metric, first.modality, {e.subject: e.value for e in group}, chance, goal, above,
                          within, sure, float(np.sqrt(parts["subject"])), single)  # fmt: skip


def at_size(group: Sequence[Expectation], size: float) -> np.ndarray:
    """Score of each subject with a training set of another size: moved as its copies moved, (n_subjects,)."""
    moved = [
        0.0 if size == 1.0 else float((e.growth[size] - e.growth[1.0][: len(e.growth[size])]).mean())
        for e in group
    ]
    return np.array([e.value for e in group]) + np.array(moved)


def powers(needed: NeededSubjects, numbers: Sequence[int]) -> dict[str, np.ndarray]:
    """Chance that studies of these numbers of subjects reach the goal, by what is to be reached."""
    values = np.array(list(needed.values.values()))
    sign = 1.0 if metric_table()[needed.metric].direction == "higher" else -1.0
    level, out = needed.goal.level, {}
    if needed.chance is not None:
        chance = sign * needed.chance
        out["interval excludes chance"] = np.array(
            [sample_size.power_above(sign * values, chance, n, level) for n in numbers]
        )
    width = needed.goal.within
    if width is not None:
        reached = [sample_size.power_within(values, width, n, level) for n in numbers]
        out[f"interval within +-{width:g}"] = np.array(reached)
    return out


def _sign(e: Expectation) -> float:
    return 1.0 if metric_table()[e.metric].direction == "higher" else -1.0
