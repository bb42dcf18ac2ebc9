"""A decoder that answers while the recording runs: sliding windows over held-out runs, idle most of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats

from braindec import checks, seeding
from braindec.evaluate.measures import protocol_named
from braindec.metrics.online import SECONDS_A_MINUTE, information_transfer_rate, mean_recall, normalised_mcc
from braindec.protocols import Windows
from braindec.stats.intervals import log_odds_interval, t_interval
from braindec.stats.permutation import p_value
from braindec.types import Recording, Score, Table

Answer = Callable[[np.ndarray], np.ndarray]
"""Windows (n, n_channels, n_samples) to scores (n, n_classes), the largest is the answer."""
WindowFitter = Callable[[np.ndarray, np.ndarray], Answer]
"""Training windows and their class numbers (n,) to an `Answer`; everything that is fitted is fitted in here."""
MIN_REFITS = 19  # fewer cannot give a p of 0.05


@dataclass(frozen=True, eq=False)
class Online:
    """What came of it.

    Parameters
    ----------
    scores : tuple of Score
    classes : tuple of str
        Idle first.
    answers : Table
        A row an answer: run, end_s (of its window), true, answered (class names), block.
    latency_s : float array, shape (n_events,)
        Seconds from each held-out event's onset to its first right answer; NaN where there was none.
    answer : callable
        What was fitted.
    """

    scores: tuple[Score, ...]
    classes: tuple[str, ...]
    answers: Table
    latency_s: np.ndarray
    answer: Answer


@dataclass(frozen=True, eq=False)
class Cut:
    """Windows of one run: signal (n, n_channels, n_samples), class (n,), end in s (n,), event-and-idle block (n,)."""

    signal: np.ndarray
    label: np.ndarray
    end_s: np.ndarray
    block: np.ndarray


def pseudo_online(
    fit: WindowFitter,
    train: Sequence[Recording],
    test: Sequence[Recording],
    *,
    protocol: str = "pseudo_online",
    system: str = "braindec",
    n_null: int = 0,
    shuffle: bool = False,
    seed: int = 0,
) -> Online:
    """Fits on the windows of some runs and answers through others as if they were happening.

    Parameters
    ----------
    fit : callable
        See `WindowFitter`. An answer is given from its own window alone: held-out windows come one by one.
    train, test : sequence of Recording
        Of one subject; events carry onset_s, duration_s and trial_type. No run may be in both.
    n_null : int
        Refits in which the classes of the training runs are shifted in time and dealt anew to events.
    shuffle : bool
        Fits to such classes in the first place: a control to be shown.

    Raises
    ------
    LeakageError
        If a run is in both.
    ValueError
        If a held-out class never occurs in training, or a run is shorter than a window.

    Notes
    -----
    Intervals come from a jackknife over blocks (an event and the idle time before it), on log-odds: windows overlap and
    are no samples of their own. information_transfer_rate takes one decision a window length, and its limits are those
    of the mean recall, as bits. detection_latency_s is a median over detected events; `details` says how many were not,
    and how long an answer takes to compute.
    """
    rules = protocol_named(protocol)
    if rules.windows is None:
        raise checks.ConfigError(f"protocol {protocol!r} has no windows; use 'pseudo_online'.")
    _check_runs(train, test)
    classes = (rules.windows.idle, *_classes(train))
    shown, held_out = ([cut(r, rules.windows, classes) for r in runs] for runs in (train, test))
    answer = (
        _refit(fit, shown, seeding.numpy_generator(seed, "online shuffled"))
        if shuffle
        else fit(_all(shown, "signal"), _all(shown, "label"))
    )
    scores, spent = _one_by_one(answer, held_out)
    null = [
        _value(_refit(fit, shown, seeding.numpy_generator(seed, "online null", i)), held_out)
        for i in range(n_null)
    ]
    answered = [s.argmax(1) for s in scores]
    latency = np.concatenate(
        [_latency(r, c, a, classes) for r, c, a in zip(test, held_out, answered, strict=True)]
    )
    table = _table(test, held_out, answered, classes)
    made = _scores(
        scores, held_out, latency, np.array(null), spent, rules.windows, (system, protocol, test[0])
    )
    return Online(made, classes, table, latency, answer)


def compared(a: Online, b: Online) -> dict[str, Any]:
    """How much better one decoder answers than another through the same runs.

    Returns
    -------
    dict
        ``metric`` (normalised_mcc), ``difference`` a - b, ``interval`` (95 %) and ``p`` (two-sided, t) by a jackknife
        over blocks, and ``n`` of these.

    Raises
    ------
    ValueError
        If they did not answer through the same windows.
    """
    if any(not np.array_equal(a.answers[name], b.answers[name]) for name in ("run", "end_s", "true")):
        raise ValueError("two decoders are compared on the same windows of the same runs.")
    number = {name: i for i, name in enumerate(a.classes)}
    truth, first, second = (
        np.array([number[name] for name in column.tolist()])
        for column in (a.answers["true"], a.answers["answered"], b.answers["answered"])
    )
    rows = np.eye(len(number))

    def difference(keep: np.ndarray) -> float:
        return _mcc(rows[first[keep]], truth[keep]) - _mcc(rows[second[keep]], truth[keep])

    value, error, n = _jackknife_error(difference, a.answers["block"])
    found = t_interval(value, error, n)
    p = float(2 * stats.t.sf(abs(value) / error, n - 1)) if error > 0 else float(value == 0)
    return {"metric": "normalised_mcc", "difference": value, "interval": [float(found.low), float(found.high)],
            "p": p, "n": n}  # fmt: skip


def _one_by_one(answer: Answer, held_out: Sequence[Cut]) -> tuple[list[np.ndarray], np.ndarray]:
    """Scores of every window, answered alone as `stream.Live` answers, and the milliseconds each took."""
    scores, spent = [], []
    for c in held_out:
        rows = []
        for window in c.signal:
            alone = np.ascontiguousarray(window)[None]
            began = time.perf_counter()
            rows.append(np.asarray(answer(alone)))
            spent.append(1e3 * (time.perf_counter() - began))
        scores.append(np.concatenate(rows))
    return scores, np.array(spent)


def cut(recording: Recording, windows: Windows, classes: Sequence[str]) -> Cut:
    """Every window of a run, each ending where an answer is given.

    Parameters
    ----------
    recording : Recording
    windows : Windows
    classes : sequence of str
        Idle first; an event of another class is refused.
    """
    length, step = (max(1, round(s * recording.sfreq)) for s in (windows.length_s, windows.step_s))
    signal = np.asarray(recording.signal, dtype=np.float32)
    checks.at_least(f"samples of run {recording.run!r}", signal.shape[1], length)
    starts = np.arange(0, signal.shape[1] - length + 1, step)
    label, block = np.zeros(len(starts), dtype=int), np.zeros(len(starts), dtype=int)
    number = {name: i for i, name in enumerate(classes)}
    for onset, end, kind in _events(recording):
        begin, stop = starts / recording.sfreq, (starts + length) / recording.sfreq
        shared = np.minimum(stop, end) - np.maximum(begin, onset)
        label[shared >= windows.share * windows.length_s] = checks.known_key("class", kind, number)
        block[stop > end] += 1  # what follows an event belongs to the next one
    pieces = np.lib.stride_tricks.sliding_window_view(signal, length, axis=1)[:, ::step]  # a view, no copy
    return Cut(pieces.transpose(1, 0, 2), label, (starts + length) / recording.sfreq, block)


def _events(recording: Recording) -> list[tuple[float, float, str]]:
    """(onset, end, class) of every event, in time."""
    table = recording.events
    onsets, durations = table["onset_s"].astype(float), table["duration_s"].astype(float)
    found = zip(
        onsets.tolist(), (onsets + durations).tolist(), table["trial_type"].astype(str).tolist(), strict=True
    )
    return sorted(found)


def _classes(train: Sequence[Recording]) -> list[str]:
    return sorted({kind for recording in train for _, _, kind in _events(recording)})


def _check_runs(train: Sequence[Recording], test: Sequence[Recording]) -> None:
    checks.at_least("training runs", len(train), 1)
    checks.at_least("test runs", len(test), 1)
    seen, asked = ({(r.subject, str(r.session), str(r.run)) for r in runs} for runs in (train, test))
    if both := sorted(seen & asked):
        raise checks.LeakageError(
            f"{len(both)} runs are in training and in test, first (subject, session, run) {both[0]}; "
            "hold out whole runs."
        )


def _all(cuts: Sequence[Cut], name: str) -> np.ndarray:
    return np.concatenate([getattr(c, name) for c in cuts])


def _value(answer: Answer, held_out: Sequence[Cut]) -> float:
    return float(_parts([answer(c.signal) for c in held_out], held_out).mean())


def _parts(scores: Sequence[np.ndarray], held_out: Sequence[Cut]) -> np.ndarray:
    found = normalised_mcc(
        torch.from_numpy(np.concatenate(scores)), torch.from_numpy(_all(held_out, "label"))
    )
    return found.numpy()


def _refit(fit: WindowFitter, shown: Sequence[Cut], generator: np.random.Generator) -> Answer:
    """A fit to classes that keep their order in time up to a shift, and then change names."""
    labels = []
    for c in shown:
        moved = np.roll(c.label, int(generator.integers(len(c.label))))
        starts = np.flatnonzero(np.diff(moved, prepend=-1))
        kinds = moved[starts]
        kinds[kinds > 0] = generator.permutation(kinds[kinds > 0])
        labels.append(np.repeat(kinds, np.diff(np.append(starts, len(moved)))))
    return fit(_all(shown, "signal"), np.concatenate(labels))


def _latency(recording: Recording, c: Cut, answered: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Seconds from each event's onset to the end of the first window in it that was answered right; NaN for none."""
    out = []
    for onset, end, kind in _events(recording):
        right = (
            (c.label == classes.index(kind)) & (answered == c.label) & (c.end_s > onset) & (c.end_s <= end)
        )
        out.append(c.end_s[right][0] - onset if right.any() else np.nan)
    return np.array(out)


def _table(
    test: Sequence[Recording], held_out: Sequence[Cut], answered: Sequence[np.ndarray], classes: Sequence[str]
) -> Table:
    names = np.array(classes)
    return Table({
        "run": np.repeat([str(r.run) for r in test], [len(c.label) for c in held_out]),
        "end_s": _all(held_out, "end_s"), "true": names[_all(held_out, "label")],
        "answered": names[np.concatenate(answered)], "block": _blocks(held_out),
    })  # fmt: skip


def _blocks(held_out: Sequence[Cut]) -> np.ndarray:
    """Block numbers that do not recur over runs."""
    before = np.cumsum([0, *(c.block.max() + 1 for c in held_out)])
    return np.concatenate([c.block + n for c, n in zip(held_out, before[:-1], strict=True)])


def _scores(
    scores: Sequence[np.ndarray], held_out: Sequence[Cut], latency: np.ndarray, null: np.ndarray, spent_ms: np.ndarray,
    windows: Windows, of: tuple[str, str, Recording],
) -> tuple[Score, ...]:  # fmt: skip
    system, protocol, recording = of
    truth, block, made = _all(held_out, "label"), _blocks(held_out), np.concatenate(scores)
    parts = _parts(scores, held_out)
    mcc = _jackknifed(lambda keep: _mcc(made[keep], truth[keep]), block)
    decisions = SECONDS_A_MINUTE / windows.length_s

    def recall(keep: np.ndarray) -> float:
        return mean_recall(made[keep].argmax(1), truth[keep], made.shape[1])

    # The rate never falls as the recall rises: its limits are those of the recall.
    rate, low, high = (
        information_transfer_rate(share, made.shape[1], decisions)
        for share in (recall(np.ones(len(truth), bool)), *_jackknifed(recall, block))
    )
    n = len(np.unique(block))
    drawn = float(null.mean()) if len(null) else 0.5
    p = p_value(float(parts.mean()), null, "greater") if len(null) >= MIN_REFITS else None
    detected = latency[~np.isnan(latency)]
    about = {
        "events detected": f"{len(detected)} of {len(latency)}", "ms to compute an answer": float(np.median(spent_ms)),
        "ms to compute an answer, 99 %": float(np.quantile(spent_ms, 0.99, method="higher")),
        "detection_latency_s": float(np.median(detected)) if len(detected) else None,
        "idle windows": float((truth == 0).mean()),
    }  # fmt: skip
    told = (system, protocol, recording.subject, recording.modality)
    wolpaw = "overestimates what gets through: equal priors, even errors and independent answers are assumed"
    return (
        Score("normalised_mcc", *told, float(parts.mean()), mcc, 0.5, drawn, n, p=p, null_n=len(null),
              per_sample=parts, details=about),
        Score("information_transfer_rate", *told, rate, (low, high), 0.0, 0.0, n,
              details={"unit": "bits/min", "mind": wolpaw}),
    )  # fmt: skip


def _mcc(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(normalised_mcc(torch.from_numpy(scores), torch.from_numpy(labels)).mean())


def _jackknifed(statistic: Callable[[np.ndarray], float], block: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share of some rows (bool array), inside [0, 1]; whole blocks are left out one at a time."""
    found = log_odds_interval(*_jackknife_error(statistic, block))
    return float(found.low), float(found.high)


def _jackknife_error(statistic: Callable[[np.ndarray], float], block: np.ndarray) -> tuple[float, float, int]:
    """The statistic of all rows, its standard error when whole blocks are left out one at a time, and their number."""
    names = np.unique(block)
    value = statistic(np.ones(len(block), bool))
    if len(names) < 3:
        raise ValueError(
            f"an interval over events needs at least 3 of them held out, got {len(names)} blocks."
        )
    without = np.array([statistic(block != name) for name in names])
    error = float(np.sqrt((len(names) - 1) / len(names) * ((without - without.mean()) ** 2).sum()))
    return value, error, len(names)
