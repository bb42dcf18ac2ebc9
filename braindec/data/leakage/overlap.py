"""Trials, responses, units, stimuli, repeats and categories that lie on both sides of a split."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from braindec.data.leakage.case import Case
from braindec.data.leakage.findings import Finding, Outcome
from braindec.data.rows import row_digests
from braindec.data.splits import unit_values
from braindec.types import UNKNOWN, Trials

ROWS_AT_ONCE = 4096
APART = "Take both parts from one split: dataset.part('train'), dataset.part('test')."
BY_STIMULUS = (
    "Split by stimulus (data.splits.k_fold(dataset, 'stimulus', ...)), or judge by a protocol of runs."
)


def shared_trials(case: Case) -> Outcome:
    """Trials of equal session, run, onset, order, stimulus and repeat on both sides."""
    found = []
    for key in case.keys:
        train, test = (row_digests(part.trials[key]) for part in (case.train, case.test))
        n = int(np.isin(test, train).sum())
        if n:
            said = f"{n} of {len(test)} test trials are training trials."
            found.append(Finding("shared_trials", "leak", said, case.where(key), {"trials": n}, APART))
    return found


def equal_responses(case: Case) -> Outcome:
    """Responses with the same values on both sides: trials that were doubled before the split."""
    sizes = [
        int(np.prod(part.trials[key].responses.shape))
        for key in case.keys
        for part in (case.train, case.test)
    ]
    if sum(sizes) > case.max_values:
        return (
            f"{sum(sizes)} values are more than the {case.max_values} that are read here; use braindec audit"
        )
    found = []
    for key in case.keys:
        known = set(_response_digests(case.train.trials[key])) - {b""}
        n = sum(digest in known for digest in _response_digests(case.test.trials[key]))
        if n:
            said = f"{n} of {case.test.trials[key].n_trials} test responses equal a training response value by value."
            way_out = "Remove the doubled trials, or keep a trial and its copies (augmentations) on one side."
            found.append(Finding("equal_responses", "leak", said, case.where(key), {"trials": n}, way_out))
    return found


def shared_units(case: Case) -> Outcome:
    """Values of the split's unit on both sides."""
    split = case.test.split or case.train.split
    if split is None:
        return "the parts come from no split"
    both = set(case.train.unit_values(split.unit)) & set(case.test.unit_values(split.unit))
    if not both:
        return []
    said = f"{len(both)} {split.unit}s lie in training and test."
    return [Finding("shared_units", "leak", said, case.split_name, _some(f"{split.unit}s", both), APART)]


def stimulus_overlap(case: Case) -> Outcome:
    """Ids of test stimuli that any subject's training data hold."""
    if case.claim is None:
        return "the parts come from no split"
    both = set(case.train.stimulus_ids) & set(case.test.stimulus_ids)
    if not both:
        return []
    n = len(case.test.stimulus_ids)
    if case.new_stimuli:
        said = f"{len(both)} of {n} test stimuli were shown in training."
        return [
            Finding("stimulus_overlap", "leak", said, case.split_name, _some("stimuli", both), BY_STIMULUS)
        ]
    said = (
        f"{len(both)} of {n} test stimuli were shown in training: the score is about new {case.claim}s only."
    )
    return [Finding("stimulus_overlap", "info", said, case.split_name, _some("stimuli", both), BY_STIMULUS)]


def repeats(case: Case) -> Outcome:
    """Test trials whose stimulus the same subject saw in training."""
    if case.claim is None:
        return "the parts come from no split"
    if not case.new_stimuli:
        return None  # the score is about new runs, sessions or subjects
    found = []
    for key in case.keys:
        shown = [part.trials[key].table["stimulus_id"].astype(str) for part in (case.train, case.test)]
        again = np.isin(shown[1], shown[0][shown[0] != UNKNOWN])
        if again.any():
            said = f"{again.sum()} of {len(again)} test trials repeat a stimulus of this subject's training trials."
            evidence = {"trials": int(again.sum()), "share": round(float(again.mean()), 4)}
            found.append(Finding("repeats", "leak", said, case.where(key), evidence, BY_STIMULUS))
    return found


def category_overlap(case: Case) -> Outcome:
    """Concepts (where a concept is claimed to be new) or classes on both sides."""
    if not case.new_stimuli:
        return None  # classes lie on both sides by design
    column = _category_column(case)
    if column is None:
        return "neither the trials nor the stimuli have a column of concepts or classes"
    sides = [_categories(case, part.trials, column) for part in (case.train, case.test)]
    both = sides[0] & sides[1]
    if not both:
        return []
    evidence = _some(f"values of {column}", both) | {"of": len(sides[1])}
    said = f"{len(both)} of {len(sides[1])} values of {column!r} in test also lie in training"
    if case.claim == "concept":
        way_out = f"Split by concept ({column!r}), or judge by a protocol of held-out stimuli."
        return [
            Finding(
                "category_overlap",
                "leak",
                f"{said}: this is no zero-shot score.",
                case.split_name,
                evidence,
                way_out,
            )
        ]
    way_out = "Say in the text that categories were trained on; for a zero-shot score hold out concepts."
    return [
        Finding("category_overlap", "info", f"{said}; pictures are new.", case.split_name, evidence, way_out)
    ]


def _category_column(case: Case) -> str | None:
    columns = set(case.test.stimuli.table or ()) | {c for t in case.test.trials.values() for c in t.table}
    wanted = ("concept", case.label_column) if case.claim == "concept" else (case.label_column, "concept")
    return next((c for c in wanted if c in columns), None)


def _categories(case: Case, trials: Any, column: str) -> set[str]:
    """Values of a column over trials, spelling aside: ``"Aircraft carrier"`` is ``"aircraft_carrier"``."""
    view = Case(case.train, case.test, label_column=column)
    found = [view.labels(t) for t in trials.values()]
    return {
        " ".join(str(v).casefold().replace("_", " ").split())
        for f in found
        if f is not None
        for v in set(f.tolist())
    }


def units_of(trials: Trials, case: Case, unit: str) -> np.ndarray:
    """Each trial's value of a unit, with its session where it is a run: runs are counted anew in each session."""
    values = unit_values(trials, case.test.stimuli, unit)
    if unit != "run":
        return values
    return np.char.add(np.char.add(trials.table["session"].astype(str), "/"), values)


def _response_digests(trials: Trials) -> list[bytes]:
    """A digest a row; empty for a row of one value only, which may be a trial that was blanked."""
    out: list[bytes] = []
    for start in range(0, trials.n_trials, ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, trials.n_trials))
        for row in np.ascontiguousarray(trials.responses[rows], dtype=np.float32):
            constant = row.size < 2 or bool((row == row.flat[0]).all())
            out.append(b"" if constant else hashlib.blake2b(row.tobytes(), digest_size=16).digest())
    return out


def _some(what: str, values: set[str]) -> dict[str, Any]:
    return {what: len(values), "examples": sorted(map(str, values))[:3]}
