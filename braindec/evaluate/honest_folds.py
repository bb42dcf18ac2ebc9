"""Folds that divide no piece of evidence: neither repeats of a stimulus nor trials of one block lie on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from braindec.data import Split, splits
from braindec.data.simulated import twin as simulated
from braindec.evaluate.exam import Exam

MAX_FOLDS = 10


def honest_folds(exam: Exam, twins: Mapping[str, simulated.Twin]) -> tuple[Exam | None, str]:
    """The exam with folds that divide no cell, and what was done; None where no such folds exist."""
    if not any(_straddled(exam, key, twin).any() for key, twin in twins.items()):
        return exam, "the recipe's own"
    if exam.protocol.unit in ("stimulus", "concept"):
        folded = _without_doubles(exam, twins)
        said = "the recipe's, without training stimuli tested by another name"
    else:
        folded, said = _by_block(exam, twins), "whole blocks"
    return (
        folded,
        said if folded is not None else "none: nothing tells stimuli from what trials share besides them",
    )


def _straddled(exam: Exam, key: str, twin: simulated.Twin) -> np.ndarray:
    """Which trials share their cell with a trial on the other side of a fold, bool (n_trials,)."""
    out = np.zeros(len(twin.cell), dtype=bool)
    for split in exam.folds:
        unit = splits.unit_values(exam.dataset.trials[key], exam.dataset.stimuli, split.unit)
        sides = [np.isin(unit, split.values(part)) for part in ("train", "test")]
        both = np.intersect1d(twin.cell[sides[0]], twin.cell[sides[1]])
        out |= np.isin(twin.cell, both) & (sides[0] | sides[1])
    return out


def _without_doubles(exam: Exam, twins: Mapping[str, simulated.Twin]) -> Exam | None:
    folds = []
    for split in exam.folds:
        doubles: set[str] = set()
        for key, twin in twins.items():
            unit = splits.unit_values(exam.dataset.trials[key], exam.dataset.stimuli, split.unit)
            tested = np.isin(twin.cell, twin.cell[np.isin(unit, split.values("test"))])
            doubles |= set(unit[tested].tolist())
        kept = tuple(v for v in split.values("train") if v not in doubles)
        if len(kept) < 2:
            return None
        folds.append(Split(split.name, split.unit, {"train": kept, "test": split.values("test")}))
    return replace(exam, folds=folds)


def _by_block(exam: Exam, twins: Mapping[str, simulated.Twin]) -> Exam | None:
    """Folds over whole blocks, every class in each; they take the place of runs in the trial table."""
    trials = {}
    kinds = {
        key: np.unique(t.scores.round(9), axis=0, return_inverse=True)[1].reshape(-1)
        for key, t in twins.items()
    }
    firsts = {key: np.unique(t.cell, return_index=True)[1] for key, t in twins.items()}
    fewest = min(int(np.bincount(kinds[key][firsts[key]]).min()) for key in twins)
    if fewest < 3:  # two to train on, so that training can choose its penalty
        return None
    for key, twin in twins.items():
        kind = kinds[key][firsts[key]]
        fold = np.empty(len(kind), dtype=np.int64)
        for k in np.unique(kind):
            members = np.flatnonzero(kind == k)
            fold[members] = np.arange(len(members)) % min(MAX_FOLDS, fewest)
        t = exam.dataset.trials[key]
        names = np.array([f"blocks-{i}" for i in fold[twin.cell]])
        trials[key] = replace(t, table=t.table.replace(run=names, session=names))
    dataset = replace(exam.dataset, trials=trials)
    return replace(exam, dataset=dataset, folds=splits.leave_one_out(dataset, exam.protocol.unit))
