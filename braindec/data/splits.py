"""Splits of a dataset into parts that share no stimulus, concept, run, session or subject, whichever they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks, store
from braindec.types import UNKNOWN, StimulusSet, Trials

if TYPE_CHECKING:
    from braindec.data.dataset import NeuralDataset

UNITS = ("stimulus", "concept", "run", "session", "subject")
_COLUMN = {"stimulus": "stimulus_id", "concept": "concept", "run": "run", "session": "session"}


@dataclass(frozen=True)
class Split:
    """Named parts of a dataset, each a set of values of one unit.

    Parameters
    ----------
    name : str
    unit : str
        ``"stimulus"``, ``"concept"``, ``"run"``, ``"session"`` or ``"subject"``.
    parts : mapping of str to tuple of str
        E.g. ``{"train": (...), "test": (...)}``: values of the unit as text; no value lies in two parts.
    only : mapping of str to mapping of str to tuple of str
        For some parts, columns of the trial table with the values (as text) that the part keeps: a test part by concept
        that holds the trials of the test images alone is ``{"test": {"trial_type": ("test",)}}``.

    Raises
    ------
    ValueError
        If two parts share a value, or a part is empty; if `only` names a part that there is not.
    """

    name: str
    unit: str
    parts: Mapping[str, tuple[str, ...]]
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.one_of("unit", self.unit, UNITS)
        owner: dict[str, str] = {}
        for part, values in self.parts.items():
            if not values:
                raise ValueError(f"part {part!r} of split {self.name!r} is empty.")
            for value in checks.unique(f"{self.unit} values of part {part!r}", values):
                if value in owner:
                    raise checks.LeakageError(
                        f"split {self.name!r}: {self.unit} {value!r} lies in {owner[value]!r} and in {part!r}; "
                        "parts must not share a unit."
                    )
                owner[value] = part
        for part in self.only:
            checks.known_key("part of `only`", part, self.parts)

    def values(self, part: str) -> tuple[str, ...]:
        """The unit's values in a part; an unknown part is refused with the parts there are."""
        return checks.known_key("part", part, self.parts)

    @property
    def hash(self) -> str:
        """sha256 over unit and parts (not the name)."""
        kept = {"only": _sorted(self.only)} if self.only else {}
        return store.content_hash(
            unit=self.unit, parts={name: sorted(v) for name, v in self.parts.items()}, **kept
        )

    def members(self, trials: Trials, stimuli: StimulusSet | None, part: str) -> np.ndarray:
        """Which trials lie in a part, bool (n_trials,)."""
        found: np.ndarray = np.isin(unit_values(trials, stimuli, self.unit), self.values(part))
        for column, values in self.only.get(part, {}).items():
            found &= np.isin(stimulus_column(trials, stimuli, column).astype(str), values)
        return found

    def to_json(self) -> dict[str, Any]:
        """The form in dataset.json."""
        kept = {"only": _sorted(self.only)} if self.only else {}
        return {
            "unit": self.unit,
            "parts": {name: list(values) for name, values in self.parts.items()},
        } | kept

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Any]) -> Split:
        """The split written by `to_json`."""
        parts = {part: tuple(map(str, values)) for part, values in data["parts"].items()}
        only = {
            p: {c: tuple(map(str, v)) for c, v in kept.items()} for p, kept in data.get("only", {}).items()
        }
        return cls(name, data["unit"], parts, only)


def unit_values(trials: Trials, stimuli: StimulusSet | None, unit: str) -> np.ndarray:
    """Text, shape (n_trials,): each trial's stimulus, concept, run, session or subject.

    A concept is looked up in the trial table first, then in the stimuli's table.

    Raises
    ------
    ValueError
        If a trial's stimulus is unknown but the unit is stimulus or concept.
    """
    checks.one_of("unit", unit, UNITS)
    if unit == "subject":
        return np.full(trials.n_trials, str(trials.subject))
    if unit == "concept" and "concept" not in trials.table:
        return stimulus_column(trials, stimuli, "concept").astype(str)
    values = trials.table[_COLUMN[unit]].astype(str)
    if unit in ("stimulus", "concept") and (values == UNKNOWN).any():
        raise ValueError(
            f"{int((values == UNKNOWN).sum())} trials have an unknown {unit}; split by run or session instead."
        )
    return values


def stimulus_column(trials: Trials, stimuli: StimulusSet | None, column: str) -> np.ndarray:
    """A column of the trial table, or of the stimuli's table looked up by stimulus_id, shape (n_trials,)."""
    if column in trials.table:
        return trials.table[column]
    if stimuli is None or stimuli.table is None or column not in stimuli.table:
        have = sorted({*trials.table, *(stimuli.table or {} if stimuli is not None else {})})
        raise checks.ConfigError(
            f"column must be one of {have}, got {column!r}.{checks.suggest(column, have)}"
        )
    row = {key: i for i, key in enumerate(stimuli.ids)}
    missing = [i for i in trials.table["stimulus_id"].tolist() if i not in row]
    if missing:
        raise ValueError(
            f"{len(missing)} trials show stimuli that are not in the stimulus set, first {missing[0]!r}."
        )
    return stimuli.table[column][[row[i] for i in trials.table["stimulus_id"].tolist()]]


def _sorted(only: Mapping[str, Mapping[str, tuple[str, ...]]]) -> dict[str, dict[str, list[str]]]:
    return {part: {column: sorted(values) for column, values in kept.items()} for part, kept in only.items()}


def named(dataset: NeuralDataset, prefix: str) -> list[Split]:
    """The dataset's own splits whose names begin so (``"10_fold/"``), sorted; where there is none, says which are."""
    found = [split for name, split in sorted(dataset.splits.items()) if name.startswith(prefix)]
    if not found:
        checks.known_key("split", prefix, dataset.splits)
    return found


def leave_one_out(dataset: NeuralDataset, unit: str) -> list[Split]:
    """One split for each value of the unit: that value is ``test``, all others are ``train``."""
    values = dataset.unit_values(unit)
    if len(values) < 2:
        raise checks.ConfigError(
            f"leaving one {unit} out needs at least two, and all trials have {unit} {values[0]!r}."
            + (f" Tell each trial's: from_arrays(..., {unit}=[...])." if unit in ("run", "session") else "")
        )
    parts = [{"train": tuple(v for v in values if v != out), "test": (out,)} for out in values]
    return [Split(f"leave_one_{unit}_out/{v}", unit, p) for v, p in zip(values, parts, strict=True)]


def k_fold(
    dataset: NeuralDataset,
    unit: str,
    n_folds: int,
    generator: np.random.Generator,
    stratify: str | None = None,
) -> list[Split]:
    """Splits in which every value of the unit is ``test`` exactly once.

    Parameters
    ----------
    dataset : NeuralDataset
    unit : str
    n_folds : int
        2 .. number of values.
    generator : numpy Generator
        Deals the values into folds.
    stratify : str, optional
        A column (of trials or stimuli) whose values every fold holds in about equal shares.
    """
    values = dataset.unit_values(unit)
    checks.in_range("n_folds", n_folds, 2, len(values))
    strata = dataset.unit_labels(unit, stratify) if stratify else dict.fromkeys(values, "")
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(strata[value], []).append(value)
    dealt = [v for stratum in sorted(groups) for v in generator.permutation(groups[stratum]).tolist()]
    folds = [frozenset(dealt[i::n_folds]) for i in range(n_folds)]
    return [
        Split(
            f"{n_folds}_fold/{i}",
            unit,
            {"train": tuple(v for v in values if v not in fold), "test": tuple(sorted(fold))},
        )
        for i, fold in enumerate(folds)
    ]


def hold_out(dataset: NeuralDataset, unit: str, fraction: float, generator: np.random.Generator) -> Split:
    """A random share of the unit's values as ``test`` (at least one), the rest as ``train``.

    Parameters
    ----------
    dataset : NeuralDataset
    unit : str
    fraction : float
        Share held out, in (0, 1).
    generator : numpy Generator
    """
    values = dataset.unit_values(unit)
    checks.in_range("fraction", fraction, 0.0, 1.0)
    checks.at_least(f"number of {unit}s", len(values), 2)
    n_test = min(max(1, round(fraction * len(values))), len(values) - 1)
    test = set(generator.permutation(values)[:n_test].tolist())
    parts = {
        "train": tuple(v for v in values if v not in test),
        "test": tuple(v for v in values if v in test),
    }
    return Split(f"hold_out_{fraction:g}", unit, parts)
