"""What time tells: classes shown in blocks, and responses that overlap across the boundary of training and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data.leakage.case import Case
from braindec.data.leakage.findings import Finding, Outcome
from braindec.data.leakage.overlap import units_of
from braindec.types import Table, Trials

HRF_S = 16.0  # a haemodynamic response is back near its baseline 12 to 20 s after the event
N_PERMUTATIONS = 999
MIN_TRIALS = 8
ALPHA = 0.01  # of a finding that is only told; a louder one lies above all permutations
# Share of the way from chance to certainty. Half of it is a design, not a coincidence: 40 classes in blocks reach 1. A
# quarter asks for a look. Positions that chance made uneven stay below: in Haxby's data the block's place reaches 0.17.
MUCH, SOME = 0.5, 0.25

BY_RUN = (
    "Classes and time cannot be told apart here. Split by run or session where every run shows every class in a new "
    "order; if classes were shown in blocks, no split of these trials helps (Li et al. 2021, "
    "doi:10.1109/TPAMI.2020.2973153)."
)
BLOCK = (
    "Block design: class = block in time. Every run shows one class alone, and the class of the training trials in "
    "its run"
)
NEIGHBOUR = "The class of the training trial next to it in its run"
TIME = "The usual class at its time in other runs"


@dataclass(frozen=True)
class Told:
    """How well predicted classes agree with the truth: mean recall, its mean under permuted labels, p, and the excess.

    `excess` is the share of the way from the permutations' mean to 1.
    """

    value: float
    null: float
    p: float
    n: int

    @property
    def excess(self) -> float:
        """0 at chance, 1 at certainty."""
        return (self.value - self.null) / max(1 - self.null, 1e-12)

    @property
    def severity(self) -> str | None:
        """As a class told by time: None where it may be chance."""
        if self.p > ALPHA:
            return None
        if self.p > 1.5 / (N_PERMUTATIONS + 1) or self.excess < SOME:
            return "info"
        return "leak" if self.excess >= MUCH else "warning"

    def evidence(self) -> dict[str, Any]:
        """The numbers, as JSON."""
        return {
            "mean_recall": round(self.value, 4), "under_permuted_labels": round(self.null, 4), "p": round(self.p, 4),
            "excess": round(self.excess, 4), "trials": self.n,
        }  # fmt: skip


def told(predicted: np.ndarray, truth: np.ndarray, *purpose: object) -> Told | None:
    """Mean recall against that of permuted labels; None with fewer than 8 trials or two classes.

    Parameters
    ----------
    predicted, truth : text arrays, shape (n_trials,)
    *purpose
        Names the generator of the permutations.
    """
    classes, number, counts = np.unique(truth, return_inverse=True, return_counts=True)
    if len(truth) < MIN_TRIALS or len(classes) < 2:
        return None
    hits = predicted[:, None] == classes[None]  # (trial, class)
    weight = 1 / (counts * len(classes))
    generator = seeding.numpy_generator(0, "audit", *purpose)
    rows = np.arange(len(truth))

    def recall(labels: np.ndarray) -> float:
        return float((hits[rows, labels] * weight[labels]).sum())

    value = recall(number)
    null = np.array([recall(generator.permutation(number)) for _ in range(N_PERMUTATIONS)])
    p = (1 + int((null >= value - 1e-12).sum())) / (1 + len(null))
    return Told(value, float(null.mean()), p, len(truth))


def block_design(cases: Sequence[Case]) -> Outcome:
    """Whether a trial's class is that of the training trials next to it in time, or told by its time in a run.

    Neighbours share slow signals, so a class that they tell is a leak; where every run shows one class alone, all of a
    run's training trials tell it, and no times are needed. An order that every run repeats is a confound: it leaks
    only as far as the response knows its own place in the run, and is a warning at most.
    """
    found: list[Finding] = []
    tested = False
    for key in dict.fromkeys(key for case in cases for key in case.keys):
        mine = [case for case in cases if key in case.keys]
        blocks = all(_by_block(case, key) is not None for case in mine)
        for name, way in (
            (BLOCK, _by_block) if blocks else (NEIGHBOUR, _by_neighbour),
            (TIME, _by_time_in_run),
        ):
            parts = [made for case in mine if (made := way(case, key)) is not None]
            if not parts:
                continue
            predicted, truth = (np.concatenate(side) for side in zip(*parts, strict=True))
            result = told(predicted, truth, "block design", key, name)
            tested = tested or result is not None
            if result is not None and (severity := result.severity) is not None:
                severity = "warning" if severity == "leak" and way is _by_time_in_run else severity
                reached = f"a mean recall of {result.value:.2f} ({result.null:.2f} by chance)"
                said = f"{name} tells a test trial's class with {reached}."
                where = cases[0].where(key) + (f" and {len(cases) - 1} more folds" if len(cases) > 1 else "")
                found.append(Finding("block_design", severity, said, where, result.evidence(), BY_RUN))
    if not tested:
        return "no classes, no times, or fewer than 8 test trials"
    return found


def response_windows(case: Case) -> Outcome:
    """Test responses whose window holds part of a training trial's response, in one run."""
    found: list[Finding] = []
    reasons: list[str] = []
    for key in case.keys:
        outcome = _windows(case, key)
        if isinstance(outcome, str):
            reasons.append(f"{key}: {outcome}")
        found += outcome if isinstance(outcome, list) else []
    return "; ".join(reasons) if reasons and not found else found


def place_in_run(table: Table, runs: np.ndarray) -> np.ndarray | None:
    """What orders the trials of a run: seconds, or else the order of acquisition, or None where neither is known."""
    for column in ("onset_s", "acquisition_order", "run_position"):
        if column not in table:
            continue
        values = table[column].astype(np.float64)
        first = np.unique(runs, return_index=True)[1]
        known = column != "acquisition_order" or bool((values >= 0).all())
        if (
            known
            and len(first) < len(runs)
            and all(np.ptp(values[runs == runs[i]]) > 0 or (runs == runs[i]).sum() == 1 for i in first)
        ):
            return values
    return None


def _sides(case: Case, key: str) -> tuple[Any, ...] | None:
    """(runs, places, labels) of training and test trials; None where times or classes are not known."""
    sides = [part.trials[key] for part in (case.train, case.test)]
    runs = [units_of(t, case, "run") for t in sides]
    both = _joined_place(sides, runs)
    labels = [case.labels(t) for t in sides]
    if both is None or labels[0] is None or labels[1] is None:
        return None
    n = len(runs[0])
    return (runs[0], both[:n], labels[0]), (runs[1], both[n:], labels[1])


def _joined_place(sides: Sequence[Trials], runs: Sequence[np.ndarray]) -> np.ndarray | None:
    names = [c for c in ("onset_s", "acquisition_order", "run_position") if c in sides[0].table]
    joined = Table({c: np.concatenate([t.table[c] for t in sides]) for c in names})
    return place_in_run(joined, np.concatenate(runs))


def _by_neighbour(case: Case, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(predicted, true) classes of the test trials with a training trial in their run."""
    if (sides := _sides(case, key)) is None:
        return None
    (runs, places, labels), (test_runs, test_places, truth) = sides
    rows, nearest = [], []
    for run in np.intersect1d(runs, test_runs):
        inside, tested = np.flatnonzero(runs == run), np.flatnonzero(test_runs == run)
        rows.append(tested)
        nearest.append(inside[np.abs(test_places[tested, None] - places[None, inside]).argmin(1)])
    if not rows:
        return None
    return labels[np.concatenate(nearest)], truth[np.concatenate(rows)]


def _by_block(case: Case, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(predicted, true) classes of the test trials with a training trial in their run, if every run shows one class."""
    sides = [part.trials[key] for part in (case.train, case.test)]
    runs = [units_of(t, case, "run") for t in sides]
    labels = [case.labels(t) for t in sides]
    if labels[0] is None or labels[1] is None:
        return None
    shown = {(run, label) for r, c in zip(runs, (labels[0], labels[1]), strict=True)
             for run, label in zip(r.tolist(), c.tolist(), strict=True)}  # fmt: skip
    of = dict(shown)
    if len(shown) != len(of):
        return None
    rows = np.flatnonzero(np.isin(runs[1], runs[0]))
    return (np.array([of[run] for run in runs[1][rows].tolist()]), labels[1][rows]) if len(rows) else None


def _by_time_in_run(case: Case, key: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(predicted, true) classes: the most frequent among each other run's training trial nearest in time."""
    if (sides := _sides(case, key)) is None:
        return None
    (runs, places, labels), (test_runs, test_places, truth) = sides
    classes, number = np.unique(labels, return_inverse=True)
    votes = np.zeros((len(truth), len(classes)), dtype=np.int32)
    for run in np.unique(runs):
        inside = np.flatnonzero(runs == run)
        inside = inside[np.argsort(places[inside], kind="stable")]
        rows = np.flatnonzero(test_runs != run)
        votes[rows, number[inside[_nearest(places[inside], test_places[rows])]]] += 1
    voted = votes.any(1)
    return (classes[votes.argmax(1)][voted], truth[voted]) if voted.any() else None


def _nearest(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Position of the nearest of sorted places."""
    right = np.searchsorted(places, wanted).clip(0, len(places) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(places[left] - wanted) <= np.abs(places[right] - wanted), left, right)


def _windows(case: Case, key: str) -> Outcome:
    train, test = (part.trials[key] for part in (case.train, case.test))
    seconds = _window_s(case, test)
    if isinstance(seconds, str):
        return seconds
    runs, test_runs = (units_of(t, case, "run") for t in (train, test))
    shared = np.intersect1d(runs, test_runs)
    if seconds <= 0 or not len(shared):
        return []
    joined = Table({"onset_s": np.concatenate([t.table["onset_s"] for t in (train, test)])})
    if place_in_run(joined, np.concatenate([runs, test_runs])) is None:
        return "the onsets are not known"
    pairs = _overlapping(train, test, runs, test_runs, seconds)
    if not len(pairs):
        return []
    return [_overlap_finding(case, key, pairs, seconds)]


def _window_s(case: Case, trials: Trials) -> float | str:
    """Seconds that a response takes after (and before) its event; 0 where overlap was taken out."""
    if trials.sfreq is not None:
        return float(trials.responses.shape[-1] / trials.sfreq)
    if trials.modality != "fmri":
        return f"how long a response of modality {trials.modality!r} lasts is not known"
    if case.about.get("betas", {}).get("overlap") in ("modelled", "none"):
        return 0.0
    shown = trials.table["duration_s"] if "duration_s" in trials.table else np.zeros(1)
    return HRF_S + float(shown.max())


def _overlapping(
    train: Trials, test: Trials, runs: np.ndarray, test_runs: np.ndarray, seconds: float
) -> np.ndarray:
    """(test row, nearest training row) of every test trial with a training onset less than `seconds` away."""
    onsets, wanted = (t.table["onset_s"].astype(np.float64) for t in (train, test))
    pairs = []
    for run in np.intersect1d(runs, test_runs):
        inside, rows = np.flatnonzero(runs == run), np.flatnonzero(test_runs == run)
        inside = inside[np.argsort(onsets[inside], kind="stable")]
        nearest = inside[_nearest(onsets[inside], wanted[rows])]
        close = np.abs(onsets[nearest] - wanted[rows]) < seconds - 1e-9
        pairs.append(np.stack([rows[close], nearest[close]], axis=1))
    return np.concatenate(pairs)


def _overlap_finding(case: Case, key: str, pairs: np.ndarray, seconds: float) -> Finding:
    train, test = (part.trials[key] for part in (case.train, case.test))
    evidence: dict[str, Any] = {"trials": len(pairs), "of": test.n_trials, "window_s": round(seconds, 3)}
    said = f"{len(pairs)} of {test.n_trials} test responses overlap a training response (windows of {seconds:.3g} s)"
    labels = [case.labels(t) for t in (train, test)]
    severity = "warning"
    if labels[0] is not None and labels[1] is not None:
        result = told(labels[0][pairs[:, 1]], labels[1][pairs[:, 0]], "windows", key)
        if result is not None:
            evidence |= result.evidence()
            severity = "leak" if result.severity in ("leak", "warning") else "warning"
            said += ", and overlapping trials are of one class" if severity == "leak" else ""
    way_out = "Split by run, or leave a gap of this length between training and test."
    if test.sfreq is None:
        way_out += ' If the betas come of a model of all events, write betas={"overlap": "modelled"} into dataset.json '
        way_out += "(of arrays: about=...)."
    return Finding("response_windows", severity, f"{said}.", case.where(key), evidence, way_out)
