"""Values, clocks and scales that no recording has: warned of where one's own data come in, for they may be meant."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from braindec.data.unit_steps import blocks
from braindec.types import Trials

SENSORS = ("eeg", "meg", "ieeg", "ecog")
SWAPPED = 4  # so many times more channels than samples are taken for samples
SLOWEST_HZ = 1.0  # of epochs; a rate below it is in kHz
FARTHEST_S = 60.0  # from the event to the first sample; more is in ms
LONGEST_WAIT_S = (
    1.0  # from the last sample to the event; what prepares an act or precedes a picture is closer
)
LONGEST_GAP_S = 1000.0  # between the trials of a run; more is in ms
FAR = 1000.0  # times its run's median: no trial is so large, though artefacts are 100 times as large as responses
APART = 30.0  # times: runs whose trials differ so much are in other units
MIN_TRIALS, MIN_VALUES = (
    3,
    8,
)  # of a run for a median; of a trial, so that no chance makes them equal or small
SHOWN = 5


def warn(trials: Trials, *further: str | None) -> Trials:
    """The trials; what looks wrong with them, and what was found before, is warned of at the line that gave them."""
    for said in (*filter(None, further), *remarks(trials)):
        warnings.warn(said, stacklevel=3)
    return trials


def remarks(trials: Trials) -> list[str]:
    """What looks wrong, a sentence each with the way out; empty where nothing does.

    Looked at are the axes and clock of epochs, gaps between onsets, trials without a signal, trials far larger than the
    others of their run, and runs of other scales.
    """
    return [*_of_axes(trials), *of_values(trials)]


def of_values(trials: Trials) -> list[str]:
    """As `remarks`, of recordings whose files say which axis is which."""
    return [*_of_times(trials), *_of_sizes(trials)]


def _of_axes(trials: Trials) -> Iterator[str]:
    shape = trials.responses.shape
    if trials.modality in ("eeg", "meg") and len(shape) == 3 and shape[1] >= SWAPPED * shape[2]:
        yield (
            f"responses have {shape[1]} channels and {shape[2]} samples: expected are (trial, channel, time), and "
            "these look like (trial, time, channel); if so, give responses.transpose(0, 2, 1)."
        )


def _of_times(trials: Trials) -> Iterator[str]:
    sfreq, tmin, times = trials.sfreq, trials.tmin, trials.times
    if trials.modality in SENSORS and sfreq is not None and tmin is not None and times is not None:
        if sfreq < SLOWEST_HZ:
            yield f"sfreq is {sfreq:g} Hz, less than any epochs have; if these are kHz, give sfreq={sfreq * 1e3:g}."
        if abs(tmin) > FARTHEST_S:
            yield (
                f"tmin is {tmin:g} s, a minute or more from the event; if these are milliseconds, give "
                f"tmin={tmin / 1e3:g}."
            )
        elif times[-1] < -LONGEST_WAIT_S:
            yield (
                f"epochs end {-times[-1]:g} s before their event ({tmin:g} to {times[-1]:g} s), so that they hold no "
                "response to it; check tmin (s) and sfreq (Hz)."
            )
    onsets, runs = trials.table["onset_s"], _runs(trials)
    gaps = {
        name: float(np.median(np.diff(np.sort(onsets[runs == name]))))
        for name in np.unique(runs).tolist()
        if (runs == name).sum() >= MIN_TRIALS
    }
    name = max(gaps, key=lambda n: gaps[n], default="")
    if name and gaps[name] > LONGEST_GAP_S:
        yield (
            f"onset_s of {_said(name)} are {gaps[name]:g} s apart (median); if these are milliseconds, divide them "
            "by 1000."
        )


def _of_sizes(trials: Trials) -> Iterator[str]:
    size, dead = _sizes(trials)
    if dead.any():
        yield (
            f"{int(dead.sum())} of {len(dead)} trials hold one value alone (no signal): {_rows(dead)}. Leave them out "
            f"where nothing was recorded: dataset.select(rows={{{trials.key!r}: kept}})."
        )
    alive = ~dead & (size > 0)
    if not alive.any() or int(np.prod(trials.responses.shape[1:])) < MIN_VALUES:
        return
    runs = _runs(trials)
    medians = {
        name: float(np.median(size[alive & (runs == name)]))
        for name in np.unique(runs).tolist()
        if (alive & (runs == name)).sum() >= MIN_TRIALS
    }
    overall = float(np.median(size[alive]))
    usual = np.array([medians.get(name, overall) for name in runs.tolist()])
    far = alive & (size > FAR * usual)
    if far.any():
        first = int(np.flatnonzero(far)[0])
        yield (
            f"{int(far.sum())} of {len(far)} trials are more than {FAR:g} times as large as the median of their run: "
            f"{_rows(far)}; the first {size[first] / usual[first]:.3g} times. Leave out artefacts, "
            f"dataset.select(rows={{{trials.key!r}: kept}}), or clip them: preprocessing=(ClipMad(5), Standardise())."
        )
    yield from _of_scales(medians)


def _of_scales(medians: dict[str, float]) -> Iterator[str]:
    """Runs whose trials' median size is far from others'."""
    names = sorted(medians, key=lambda n: medians[n])
    if not names or medians[names[-1]] <= APART * medians[names[0]]:
        return
    small, large = names[0], names[-1]
    above = [n for n in medians if medians[n] > APART * medians[small]]
    below = [n for n in medians if medians[n] * APART < medians[large]]
    odd, word = (above, "larger") if len(above) <= len(below) else (below, "smaller")
    few = ", ".join(_said(n) for n in odd[:SHOWN]) + (", ..." if len(odd) > SHOWN else "")
    yield (
        f"trials of {_said(large)} are {medians[large] / medians[small]:.3g} times as large as those of "
        f"{_said(small)} (root mean square, median), as if in other units; {len(odd)} of {len(medians)} runs are "
        f"{word}: {few}. Bring all to the same units, or give each run its own scale: "
        'Standardise(unit="run", scope="unit_unlabelled").'
    )


def _sizes(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square (n_trials,), and whether a trial holds one value alone: in epochs, each of its channels."""
    shape = trials.responses.shape
    size, dead = np.empty(shape[0]), np.zeros(shape[0], dtype=bool)
    over_time = len(shape) == 3 and shape[2] > 1
    for rows in blocks(trials.responses):
        x = np.asarray(trials.responses[rows], dtype=np.float64).reshape(-1, *shape[1:])
        size[rows] = np.sqrt(np.mean(x.reshape(len(x), -1) ** 2, axis=1))
        if int(np.prod(shape[1:])) >= MIN_VALUES:
            flat = x if over_time else x.reshape(len(x), 1, -1)
            dead[rows] = (flat == flat[:, :, :1]).all((1, 2))
    return size, dead


def _runs(trials: Trials) -> np.ndarray:
    """``session/run`` of each trial."""
    table = trials.table
    return np.char.add(np.char.add(table["session"].astype(str), "/"), table["run"].astype(str))


def _said(name: str) -> str:
    session, _, run = name.partition("/")
    return f"run {run!r} of session {session!r}"


def _rows(which: np.ndarray) -> str:
    """Positions in words: the first of them, counted from 0."""
    found = np.flatnonzero(which)
    return f"{found[:SHOWN].tolist()}{', ...' if len(found) > SHOWN else ''} (counted from 0)"
