"""The check that every fit of every fold passes: two parts that share units or stimuli are refused at once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.dataset import NeuralDataset
from braindec.data.leakage.findings import Audit, Finding, Outcome, collect
from braindec.data.splits import unit_values

PIECE = 256  # images hashed at a time


def check(train: NeuralDataset, test: NeuralDataset, *, images: bool = False) -> dict[str, Any]:
    """Refuses training and test data that share trials, units of their split, or (where that counts) stimuli.

    Parameters
    ----------
    train, test : NeuralDataset
        Parts of one split.
    images : bool
        Also compare the pixels of all stimuli: equal pictures under different ids count as shared stimuli.

    Returns
    -------
    dict
        JSON verdict: unit, and how many trials, units, stimuli (of the test) and runs are shared.

    Raises
    ------
    LeakageError
        If a trial lies in both, a unit of the split lies in both, or, for the units stimulus and concept, a stimulus
        (by id, or by its pixels) lies in both.
    """
    split = test.split or train.split
    unit = split.unit if split is not None else None
    verdict: dict[str, Any] = {"unit": unit, "split": None if split is None else split.name}
    _refuse("trials", shared := _rows(train) & _rows(test), unit)
    verdict["shared_trials"] = len(shared)
    if unit is not None:
        both = set(train.unit_values(unit)) & set(test.unit_values(unit))
        _refuse(f"{unit}s", both, unit)
        verdict["shared_units"] = len(both)
    stimuli = set(train.stimulus_ids) & set(test.stimulus_ids)
    verdict["shared_stimuli"] = len(stimuli)
    if unit in ("stimulus", "concept"):
        _refuse("stimuli", stimuli, unit)
    if images:
        twins = _twins(train, test)
        verdict["equal_images"] = len(twins)
        if unit in ("stimulus", "concept"):
            _refuse("equal pictures", {f"{a} = {b}" for a, b in twins}, unit)
    verdict["shared_runs"] = len(_runs(train) & _runs(test))
    return verdict


def audit_part(part: NeuralDataset) -> Audit:
    """What can be said before a fit, of the training part alone: whether it keeps to its side of the split.

    Parameters
    ----------
    part : NeuralDataset
        What a decoder is about to be fitted on.
    """
    return collect([("shared_units", [_own_side(part)])])


def _own_side(part: NeuralDataset) -> Outcome:
    split, name = part.split, part.part_name
    if split is None or name is None:
        return "the trials are no part of a split"
    own = set(part.unit_values(split.unit))
    others = {v for other, values in split.parts.items() if other != name for v in values}
    where = f"split {split.name!r}"
    if both := own & others:
        said = f"{len(both)} {split.unit}s of other parts lie in the part {name!r}."
        evidence = {f"{split.unit}s": len(both), "examples": sorted(both)[:3]}
        return [Finding("shared_units", "leak", said, where, evidence, "Take it by dataset.part('train').")]
    if name == "test":
        said = "The decoder is fitted on the part 'test'."
        way_out = "Fit on dataset.part('train'), unless this exchange is meant."
        return [Finding("shared_units", "warning", said, where, {}, way_out)]
    return []


def _refuse(what: str, shared: set[Any], unit: str | None) -> None:
    if shared:
        some = ", ".join(map(str, sorted(shared, key=str)[:3]))
        raise checks.LeakageError(
            f"training and test data share {len(shared)} {what} (split by {unit}), e.g. {some}; "
            "take both from parts of one split."
        )


def _rows(dataset: NeuralDataset) -> set[tuple[Any, ...]]:
    columns = ("session", "run", "onset_s", "acquisition_order", "stimulus_id", "repeat")
    rows: set[tuple[Any, ...]] = set()
    for key, t in dataset.trials.items():
        rows |= {(key, *row) for row in zip(*(t.table[c].tolist() for c in columns), strict=True)}
    return rows


def _runs(dataset: NeuralDataset) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for key, t in dataset.trials.items():
        sessions, runs = (unit_values(t, dataset.stimuli, u).tolist() for u in ("session", "run"))
        found |= {(key, s, r) for s, r in zip(sessions, runs, strict=True)}
    return found


def _twins(train: NeuralDataset, test: NeuralDataset) -> set[tuple[str, str]]:
    """Pairs (training id, test id) of different ids with equal pixels."""
    known = {pixels: key for key, pixels in _pixels(train).items()}
    return {(known[p], key) for key, p in _pixels(test).items() if p in known and known[p] != key}


def _pixels(dataset: NeuralDataset) -> dict[str, bytes]:
    ids = dataset.stimulus_ids
    out: dict[str, bytes] = {}
    for start in range(0, len(ids), PIECE):
        part = ids[start : start + PIECE]
        for key, image in zip(part, dataset.stimuli.images(part), strict=True):
            out[key] = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    return out
