"""Whole runs of EEG or MEG as trials that follow each other without a gap, and runs again: what windows slide over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braindec import checks
from braindec.data.sensors import same_channels
from braindec.data.tables import complete_table
from braindec.types import UNKNOWN, Recording, SensorSpace, Table, Trials

TILE_S = 1.0
NOTHING = "none"  # begins in this stretch
EVENT = ("event_onset_s", "event_duration_s", "event")


def tiled(recordings: Sequence[Recording], seconds: float = TILE_S) -> Trials:
    """Whole runs cut into stretches of equal length, a trial each, which `runs` puts together again.

    Parameters
    ----------
    recordings : sequence of Recording
        Runs of one subject with equal channels and sfreq, in the order of acquisition; events carry onset_s, duration_s
        and trial_type or stimulus_id.
    seconds : float
        Of a stretch; what is left at the end of a run is dropped.

    Returns
    -------
    Trials
        `stimulus_id` and the columns `EVENT` are of the event that begins in a stretch, ``unknown`` and ``none`` where
        none does.

    Raises
    ------
    ValueError
        If two events begin in one stretch, or one beyond the last: their times would be lost.
    """
    first = recordings[0]
    n_times = round(seconds * first.sfreq)
    checks.at_least("samples of a stretch", n_times, 1)
    parts, tables = [], []
    for recording in recordings:
        if recording.sfreq != first.sfreq or not same_channels(recording.space, first.space):
            raise ValueError(
                f"run {recording.run!r} has other channels or another sfreq than run {first.run!r}."
            )
        n = recording.signal.shape[1] // n_times
        checks.at_least(f"stretches of {seconds:g} s in run {recording.run!r}", n, 1)
        x = np.asarray(recording.signal[:, : n * n_times], dtype=np.float32)
        parts.append(x.reshape(len(x), n, n_times).swapaxes(0, 1))
        tables.append(_columns(recording, n, n_times))
    columns = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    table = complete_table(columns, first.session)
    return Trials(
        np.concatenate(parts),
        table,
        first.space,
        first.units,
        first.subject,
        first.modality,
        first.sfreq,
        0.0,
    )


def _columns(recording: Recording, n: int, n_times: int) -> dict[str, np.ndarray]:
    events = recording.events
    onset = np.asarray(events["onset_s"], dtype=float)
    named = events["trial_type" if "trial_type" in events else "stimulus_id"].astype(str)
    at = np.floor(onset * recording.sfreq / n_times + 1e-9).astype(int)
    if len(np.unique(at)) != len(at) or (len(at) and not (at.min() >= 0 and at.max() < n)):
        raise ValueError(
            f"events of run {recording.run!r} begin closer than {n_times / recording.sfreq:g} s to each other, or "
            "outside of its whole stretches; cut shorter stretches, or leave events out (bids: keep)."
        )
    columns = {
        "stimulus_id": np.full(n, UNKNOWN, dtype=object), "event_onset_s": np.zeros(n),
        "event_duration_s": np.zeros(n), "event": np.full(n, NOTHING, dtype=object),
        "onset_s": np.arange(n) * n_times / recording.sfreq, "run_position": np.arange(n),
        "session": np.full(n, recording.session), "run": np.full(n, recording.run),
    }  # fmt: skip
    shown = events["stimulus_id"].astype(str) if "stimulus_id" in events else named
    columns["stimulus_id"][at], columns["event"][at] = shown, named
    columns["event_onset_s"][at] = onset
    columns["event_duration_s"][at] = np.asarray(events["duration_s"], dtype=float)
    return {
        name: values.astype(str) if values.dtype == object else values for name, values in columns.items()
    }


def runs(trials: Trials, *, duration_s: float | None = None) -> list[Recording]:
    """The runs that `tiled` cut into stretches, as they were but for what was left at their end.

    Parameters
    ----------
    trials : Trials
        All stretches of each run that they are of.
    duration_s : float, optional
        Of every event; None: as recorded.

    Raises
    ------
    ConfigError
        If trials are no such stretches: windows around events leave out what lies between.
    ValueError
        If a stretch of a run is missing.
    """
    missing = [name for name in EVENT if name not in trials.table]
    if missing:
        raise checks.ConfigError(
            f"{trials.key} holds windows around events, not whole runs (no {missing}); prepare the dataset with "
            "whole_runs=true (bids: meeg.whole_runs=true)."
        )
    named = list(zip(trials.table["session"].tolist(), trials.table["run"].tolist(), strict=True))
    place = {name: [i for i, n in enumerate(named) if n == name] for name in dict.fromkeys(named)}
    return [_joined(trials, np.array(rows), duration_s) for rows in place.values()]


def _joined(trials: Trials, rows: np.ndarray, duration_s: float | None) -> Recording:
    table = trials.table.take(rows)
    n_channels, n_times = trials.responses.shape[1:]
    sfreq = float(trials.sfreq or 0.0)
    if not np.array_equal(table["run_position"], np.arange(len(rows))):
        raise ValueError(
            f"run {table['run'][0]!r} of {trials.key} lacks stretches; give all trials of a run."
        )
    x = np.asarray(trials.responses[rows]).swapaxes(0, 1).reshape(n_channels, len(rows) * n_times)
    began = table["event"] != NOTHING
    durations = table["event_duration_s"][began]
    events = Table(
        {
            "onset_s": table["event_onset_s"][began],
            "duration_s": durations if duration_s is None else np.full(int(began.sum()), duration_s),
            "trial_type": table["event"][began],
        }
    )
    space = checks.of_type(f"space of {trials.key}", trials.space, SensorSpace)
    session, run = str(table["session"][0]), str(table["run"][0])
    return Recording(x, sfreq, trials.units, events, space, trials.subject, session, run, trials.modality)
