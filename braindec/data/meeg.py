"""EEG and MEG files to Recording and Trials: FIF epochs, CSV, THINGS-EEG2 dictionaries, filters and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import safe_npy
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.tables import repeats
from braindec.types import UNKNOWN, Recording, SensorSpace, Table, Trials

__all__ = [
    "cut_epochs",
    "filtered",
    "read_csv",
    "read_epochs_fif",
    "read_things_eeg2",
    "read_things_eeg2_raw",
    "safe_npy",
    "sensor_space",
]

RENAMED = {"standard_1005": "colin27_1005", "standard_1020": "colin27_1020"}  # new names since mne 1.13
KEPT_KINDS = ("eeg", "mag", "grad", "seeg", "ecog")


def sensor_space(
    names: Sequence[str], kinds: Sequence[str] | str = "eeg", montage: str | None = None
) -> SensorSpace:
    """Sensors by name, at the positions of a standard montage.

    Parameters
    ----------
    names : sequence of str
        Channel names.
    kinds : sequence of str, or one str for all
    montage : str, optional
        Name of an mne montage (e.g. ``"standard_1005"``); channels that it lacks, or all without one, get NaN.
    """
    positions = np.full((len(names), 3), np.nan)
    if montage is not None:
        import mne

        there = mne.channels.get_builtin_montages()
        renamed = RENAMED.get(montage, montage)
        info = mne.create_info(list(names), 1.0, "eeg")
        info.set_montage(renamed if renamed in there else montage, match_case=False, on_missing="ignore")
        positions = _positions(info)
    all_kinds = (kinds,) * len(names) if isinstance(kinds, str) else tuple(kinds)
    return SensorSpace(tuple(names), positions, all_kinds)


def read_epochs_fif(path: str | Path, *, subject: int, modality: str = "eeg", session: str = "1") -> Trials:
    """Epochs saved by mne, with their metadata as the trial table.

    Parameters
    ----------
    path : path
        ``*-epo.fif`` or ``*_epo.fif`` (``.gz`` allowed).
    subject : int
    modality : str
        ``"eeg"`` or ``"meg"``: which channels are kept (bad ones are dropped).
    session : str
        Used where the metadata have no column `session`.

    Returns
    -------
    Trials
        Responses float32 in V (EEG) or T (MEG), as saved. Columns of the metadata are kept; `stimulus_id` is the
        metadata's, or else the event's name; missing columns are filled: run ``"1"``, onset from the event's
        sample, one exchangeability block a run.

    Raises
    ------
    DataFileError
        If the file is damaged, or holds no channel of this modality.
    """
    import mne

    path = checks.existing_file(path, "Check the path.")
    checks.one_of("modality", modality, ("eeg", "meg"))
    with reading(path, Exception):  # mne raises bare Exceptions on unknown tags
        epochs = mne.read_epochs(path, proj=False, preload=True, verbose="error")
        picked = epochs.pick(modality, exclude="bads", verbose="error")
        data = picked.get_data(copy=False).astype(np.float32)
        names, kinds = tuple(picked.ch_names), tuple(picked.get_channel_types())
        positions = _positions(picked.info)
        columns = _metadata(epochs)
        codes = {code: name for name, code in epochs.event_id.items()}
        columns.setdefault("stimulus_id", np.array([codes[c] for c in epochs.events[:, 2].tolist()]))
        columns.setdefault("onset_s", epochs.events[:, 0] / epochs.info["sfreq"])
        sfreq, tmin = float(epochs.info["sfreq"]), float(epochs.tmin)
    finite(path, data)
    space = SensorSpace(names, positions, kinds)
    units = "V" if modality == "eeg" else "T"
    return Trials(data, _complete(columns, session), space, units, subject, modality, sfreq, tmin)


def read_csv(
    path: str | Path,
    *,
    channels: Sequence[str],
    marker: str,
    codes: Mapping[int, str],
    sfreq: float,
    subject: int,
    run: str,
    session: str = "1",
    scale: float = 1e-6,
    montage: str | None = "standard_1005",
) -> Recording:
    """An EEG recording as a CSV with a column a channel and a marker column.

    Parameters
    ----------
    path : path
    channels : sequence of str
        Columns that are channels.
    marker : str
        Column that is 0 but at the sample of an event.
    codes : mapping of int to str
        The event type of each marker; other markers are refused.
    sfreq : float
        Nominal Hz.
    subject : int
    run, session : str
    scale : float
        Volts a unit of the file.
    montage : str, optional
        As in `sensor_space`.

    Returns
    -------
    Recording
        signal float32 (n_channels, n_times) in V; events with onset_s, duration_s (0) and trial_type.

    Raises
    ------
    DataFileError
        If a column is missing, a value is no number, or an unknown marker occurs.
    """
    import pandas as pd

    path = checks.existing_file(path, "Check the path.")
    with reading(path):
        frame = pd.read_csv(path)
        signal = frame[list(channels)].to_numpy(dtype=np.float64).T * scale
        markers = frame[marker].to_numpy(dtype=np.float64)
        complete = path.read_bytes()[-1:] == b"\n"
    if not complete or not np.isfinite(signal).all() or not np.isfinite(markers).all():
        raise checks.DataFileError(path, "ends within a line or holds a value that is no number", COPY_AGAIN)
    at = np.flatnonzero(markers)
    unknown = sorted(set(markers[at].tolist()) - set(map(float, codes)))
    if unknown:
        raise checks.DataFileError(
            path, f"holds markers {unknown}, known are {sorted(codes)}", "Give all codes."
        )
    events = Table(
        {
            "onset_s": at / sfreq,
            "duration_s": np.zeros(len(at)),
            "trial_type": np.array([codes[int(m)] for m in markers[at]], dtype=str),
        }
    )
    space = sensor_space(channels, "eeg", montage)
    return Recording(signal.astype(np.float32), sfreq, "V", events, space, subject, session, run, "eeg")


def filtered(recording: Recording, l_freq: float | None, h_freq: float | None) -> Recording:
    """The recording band-passed by mne's zero-phase FIR (firwin, Hamming); it looks about 1.65 / l_freq s both ways.

    Parameters
    ----------
    recording : Recording
    l_freq, h_freq : float or None
        Pass-band edges, Hz.
    """
    import mne

    signal = mne.filter.filter_data(
        np.asarray(recording.signal, dtype=np.float64), recording.sfreq, l_freq, h_freq, phase="zero",
        fir_design="firwin", fir_window="hamming", verbose="error",
    )  # fmt: skip
    return Recording(
        signal.astype(np.float32), recording.sfreq, recording.units, recording.events, recording.space,
        recording.subject, recording.session, recording.run, recording.modality, recording.confounds,
    )  # fmt: skip


def cut_epochs(recordings: Sequence[Recording], tmin: float, tmax: float) -> Trials:
    """Windows around every event of every run; no trial is dropped and no baseline is subtracted.

    Parameters
    ----------
    recordings : sequence of Recording
        Runs of one subject with equal channels and sfreq, in the order of acquisition.
    tmin, tmax : float
        Seconds from the event; samples from round(tmin * sfreq) to round(tmax * sfreq), both included.

    Returns
    -------
    Trials
        With the events' columns; `run_position` is the event's index in its run, `since_previous_s` and `to_next_s` the
        time to its neighbours (0 where there is none). Without a column stimulus_id the stimulus is ``unknown``.

    Raises
    ------
    ValueError
        If a window reaches beyond its recording.
    """
    first = recordings[0]
    start, stop = round(tmin * first.sfreq), round(tmax * first.sfreq) + 1
    responses, rows = [], []
    for recording in recordings:
        if recording.sfreq != first.sfreq or recording.space.n_features != first.space.n_features:
            raise ValueError(
                f"run {recording.run!r} has other channels or another sfreq than run {first.run!r}."
            )
        onsets = recording.events["onset_s"]
        samples = np.round(onsets * recording.sfreq).astype(int)
        outside = (samples + start < 0) | (samples + stop > recording.signal.shape[1])
        if outside.any():
            at = onsets[outside][0]
            raise ValueError(f"the window of the event at {at:.3f} s reaches beyond run {recording.run!r}.")
        responses.append(np.stack([recording.signal[:, s + start : s + stop] for s in samples]))
        rows.append(_event_columns(recording))
    columns = {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}
    table = _complete(columns, first.session)
    data = np.concatenate(responses).astype(np.float32)
    return Trials(
        data, table, first.space, first.units, first.subject, first.modality, first.sfreq, start / first.sfreq
    )


def read_things_eeg2(
    path: str | Path,
    conditions: Sequence[str],
    *,
    subject: int,
    montage: str | None = "standard_1005",
    extra: Mapping[str, Sequence[Any]] | None = None,
) -> Trials:
    """THINGS-EEG2's preprocessed dictionary (either pickled flavour) as trials, condition by condition.

    Parameters
    ----------
    path : path
        ``preprocessed_eeg_{training,test}.npy``: keys preprocessed_eeg_data (n_conditions, n_repeats,
        n_channels, n_times), ch_names, times.
    conditions : sequence of str
        Stimulus id of each condition, in the file's order (image_metadata.npy).
    subject : int
    montage : str, optional
        As in `sensor_space`.
    extra : mapping of str to sequence, optional
        Further columns, a value a condition (e.g. concept).

    Returns
    -------
    Trials
        float32; the order of acquisition is not in the file: `acquisition_order` is -1 and
        `onset_s` 0. All trials form one session, run and exchangeability block.

    Raises
    ------
    DataFileError
        If the file is damaged, is not such a dictionary, or would run code when opened.

    Notes
    -----
    Where `times` has more entries than the data have samples, the first ones were dropped by the authors: the data
    end with the last time (the 250 Hz files keep 250 of 300 samples).
    """
    held = _dictionary(path, ("preprocessed_eeg_data", "ch_names", "times"))
    with reading(path):
        data = np.asarray(held["preprocessed_eeg_data"])
        times = np.asarray(held["times"], dtype=np.float64).ravel()
        names = [str(n) for n in held["ch_names"]]
        n_conditions, n_repeats, n_channels, n_times = data.shape
        times = times[len(times) - n_times :]
        step = float(np.diff(times).mean())
    if len(names) != n_channels or len(times) != n_times or not step > 0 or data.dtype.kind != "f":
        found = f"has data {data.dtype} {data.shape} for {len(names)} channels and {len(times)} times"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    checks.same_length("condition", conditions=conditions, preprocessed_eeg_data=data)
    ids = np.repeat(np.array(conditions, dtype=str), n_repeats)
    columns = {
        "stimulus_id": ids,
        "repeat": np.tile(np.arange(n_repeats), n_conditions),
        "onset_s": np.zeros(len(ids)),
        "acquisition_order": np.full(len(ids), -1),
    }
    columns |= {name: np.repeat(np.array(values), n_repeats) for name, values in (extra or {}).items()}
    responses = data.reshape(-1, n_channels, n_times).astype(np.float32)
    finite(path, responses)
    space = sensor_space(names, "eeg", montage)
    sfreq = round(1.0 / step, 3)
    return Trials(
        responses, _complete(columns, "1"), space, "noise SD", subject, "eeg", sfreq, float(times[0])
    )


def read_things_eeg2_raw(
    path: str | Path,
    *,
    subject: int,
    session: str,
    conditions: Sequence[str],
    montage: str | None = "standard_1005",
) -> Recording:
    """THINGS-EEG2's raw dictionary of one session and part as a recording with its events.

    Parameters
    ----------
    path : path
        ``raw_eeg_{training,test}.npy``: keys raw_eeg_data (n_channels, n_times), ch_names, ch_types, sfreq.
    subject : int
    session : str
    conditions : sequence of str
        Stimulus id of each 1-based condition code of the channel ``stim``; 99999 marks a target, which is skipped.
    montage : str, optional
    """
    held = _dictionary(path, ("raw_eeg_data", "ch_names", "ch_types", "sfreq"))
    with reading(path):
        data = np.asarray(held["raw_eeg_data"], dtype=np.float64)
        kinds = [str(k) for k in held["ch_types"]]
        sfreq = float(held["sfreq"])
        stim = data[kinds.index("stim")]
        rising = np.flatnonzero((stim[1:] != stim[:-1]) & (stim[1:] > 0)) + 1
        codes = stim[rising].astype(np.int64)
        kept = codes != 99_999  # a target image, asked about, without a condition
        rows = [i for i, kind in enumerate(kinds) if kind in KEPT_KINDS]
        names = [str(held["ch_names"][i]) for i in rows]
        stimuli = np.array([conditions[c - 1] for c in codes[kept].tolist()], dtype=str)
    onsets = rising[kept] / sfreq
    events = Table({"onset_s": onsets, "duration_s": np.zeros(len(onsets)), "stimulus_id": stimuli})
    space = sensor_space(names, [kinds[i] for i in rows], montage)
    signal = finite(path, data[rows].astype(np.float32))
    return Recording(signal, sfreq, "V", events, space, subject, session, "1", "eeg")


def _dictionary(path: str | Path, keys: Sequence[str]) -> dict[str, Any]:
    held = safe_npy.load(path)
    missing = [k for k in keys if not isinstance(held, dict) or k not in held]
    if missing:
        raise checks.DataFileError(
            path, f"is not the dictionary expected: {missing} missing", "Choose another file."
        )
    return held


def _positions(info: Any) -> np.ndarray:
    """Metres in the head frame, (n_channels, 3); NaN where mne knows none (it writes zeros or NaN)."""
    positions = np.array([channel["loc"][:3] for channel in info["chs"]], dtype=np.float64)
    return np.where((positions == 0).all(1, keepdims=True), np.nan, positions)


def _metadata(epochs: Any) -> dict[str, np.ndarray]:
    """Columns of an epochs' metadata: numbers and bool as they are, anything else as text."""
    if epochs.metadata is None:
        return {}
    return {
        str(n): column.to_numpy()
        if column.dtype.kind in "biuf"
        else column.astype(str).to_numpy().astype(str)
        for n, column in epochs.metadata.items()
    }


def _event_columns(recording: Recording) -> dict[str, np.ndarray]:
    events = recording.events
    n = events.n_rows
    gaps = np.diff(events["onset_s"])
    columns: dict[str, np.ndarray] = dict(events.items())
    columns.setdefault("stimulus_id", np.full(n, UNKNOWN))
    columns |= {
        "session": np.full(n, recording.session),
        "run": np.full(n, recording.run),
        "run_position": np.arange(n),
        "since_previous_s": np.concatenate([[0.0], gaps]),
        "to_next_s": np.concatenate([gaps, [0.0]]),
    }
    return columns


def _complete(columns: dict[str, np.ndarray], session: str) -> Table:
    """The table with every required column, filled where the source says nothing."""
    n = len(columns["stimulus_id"])
    columns = dict(columns)
    columns.setdefault("session", np.full(n, session))
    columns.setdefault("run", np.full(n, "1"))
    columns = {k: v.astype(str) if k in ("stimulus_id", "session", "run") else v for k, v in columns.items()}
    columns.setdefault("acquisition_order", np.arange(n))
    columns.setdefault("repeat", repeats(columns["stimulus_id"].tolist()))
    block = np.char.add(np.char.add(columns["session"], "/"), columns["run"])
    columns.setdefault("exchangeability_block", block)
    return Table(columns)
