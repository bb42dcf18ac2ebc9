"""Splits of a dataset into parts that share no stimulus, concept, run, session or subject, whichever they name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks, store
from braindec.types import UNKNOWN, StimulusSet, Trials

if TYPE_CHECKING:
    from braindec.data.dataset import NeuralDataset

UNITS = ("stimulus", "concept", "run", "session", "subject")
TOLD = " Tell each trial's: from_arrays(..., {unit}=[...]); or each file's: from_fif(..., {unit}s=[...])."
SHOWN = 8  # of many values
MISSING = ("nan", "NaN", "")  # labels that nobody told, as text
DRAWS = 100  # tried until every signal has a part of its own on either side
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

    @property
    def identity(self) -> dict[str, str]:
        """Name, unit and hash: JSON values that pin the split down."""
        return {"name": self.name, "unit": self.unit, "hash": self.hash}

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


def unit_labels(dataset: NeuralDataset, unit: str, column: str) -> dict[str, str]:
    """The one label of a column that each value of a unit has; a value with two labels is refused."""
    found: dict[str, str] = {}
    for trials in dataset.trials.values():
        values = unit_values(trials, dataset.stimuli, unit).tolist()
        labels = stimulus_column(trials, dataset.stimuli, column).astype(str).tolist()
        for value, label in zip(values, labels, strict=True):
            if found.setdefault(value, label) == label:
                continue
            pair = sorted((found[value], label), key=lambda text: text in MISSING)
            if pair[1] in MISSING:
                raise ValueError(
                    f"{column} of {unit} {value!r} is {pair[0]!r} in some trials and missing ({pair[1]!r}) in others. "
                    f"Tell it in every trial, or leave these out: {without(trials, column, MISSING)}."
                )
            raise ValueError(f"{unit} {value!r} has more than one {column}: {found[value]!r} and {label!r}.")
    return found


def without(trials: Trials, column: str, labels: Sequence[str]) -> str:
    """How trials with one of these labels are left out, for a message."""
    rows = f"lambda trials: ~np.isin(trials.table[{column!r}].astype(str), {list(labels)})"
    return f"dataset.select(rows={rows if column in trials.table else '...'})"


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
            + (TOLD.format(unit=unit) if unit in ("run", "session") else "")
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

    Where the draw leaves a signal (a subject's modality) nothing to train on or nothing to test, it is drawn again.

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
    own = {} if unit == "subject" else own_values(dataset, unit)
    draws = [set(generator.permutation(values)[:n_test].tolist())]
    while len(draws) < DRAWS and one_sided(own, draws[-1]):
        draws.append(set(generator.permutation(values)[:n_test].tolist()))
    test = draws[0] if one_sided(own, draws[-1]) else draws[-1]
    parts = {
        "train": tuple(v for v in values if v not in test),
        "test": tuple(v for v in values if v in test),
    }
    return Split(f"hold_out_{fraction:g}", unit, parts)


def chosen(dataset: NeuralDataset, unit: str, test: Sequence[Any]) -> Split:
    """These values of the unit as ``test``, all others as ``train``; one that there is not is refused."""
    known = dataset.unit_values(unit)
    held = tuple(checks.one_of(unit, str(value), known) for value in test)
    return Split("held out", unit, {"train": tuple(v for v in known if v not in set(held)), "test": held})


def own_values(dataset: NeuralDataset, unit: str) -> dict[str, tuple[str, ...]]:
    """The values of a unit that each signal has, by its key."""
    return {
        key: tuple(np.unique(unit_values(t, dataset.stimuli, unit)).tolist())
        for key, t in dataset.trials.items()
    }


def one_sided(own: Mapping[str, Collection[str]], test: Collection[str]) -> dict[str, str]:
    """Signals that have several values and all of them on one side: ``"test"`` or ``"train"``, by their keys."""
    sides = {key: {v in test for v in values} for key, values in own.items() if len(values) > 1}
    return {key: "test" if True in side else "train" for key, side in sides.items() if len(side) == 1}


def warn_of_one_sided(dataset: NeuralDataset, split: Split) -> None:
    """Warns, at the line that held something out, of signals that lie on one side of it; subjects are meant to."""
    if split.unit == "subject":
        return
    own, test = own_values(dataset, split.unit), split.values("test")
    for key, side in one_sided(own, test).items():
        lost = "tested" if side == "train" else "left to train on"
        warnings.warn(
            f"{split.unit} {few(test)} is held out, and {key} has {split.unit} {few(own[key])}: nothing of it is "
            f"{lost}. Hold out a {split.unit} that every signal has, or several.",
            stacklevel=3,
        )


def few(values: Sequence[str]) -> str:
    """The first of many values, as a list."""
    return f"{str(list(values[:SHOWN]))[:-1]}{', ...' if len(values) > SHOWN else ''}]"


def last_of_each(own: Mapping[str, Sequence[str]], order: Callable[[str], Any]) -> tuple[str, ...]:
    """The fewest values, of these the last ones, that test every signal with several and leave each some to train on.

    The last run where all signals have the same; the last that all have where some have more; of signals that share
    none, the last of each. The last of all where that cannot be; none where no signal has several.

    Parameters
    ----------
    own : mapping of str to sequence of str
        By signal key, its values.
    order : callable
        Sorts values.
    """
    values = {key: set(found) for key, found in own.items()}
    open_ = {key: found for key, found in values.items() if len(found) > 1}
    test: set[str] = set()
    while open_:
        offered = {v for found in open_.values() for v in found}
        fit = [v for v in offered if all(found - test - {v} for found in values.values())]
        if not fit:
            return tuple(sorted(set().union(*values.values()), key=order)[-1:])
        best = max(fit, key=lambda v: (sum(v in found for found in open_.values()), order(v)))
        test.add(best)
        open_ = {key: found for key, found in open_.items() if best not in found}
    return tuple(sorted(test, key=order))
