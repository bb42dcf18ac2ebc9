"""EEG and MEG files to Recording and Trials: FIF epochs, CSV, THINGS-EEG2 dictionaries, filters and epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import safe_npy, whole
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import positions_of, same_channels, sensor_space
from braindec.data.tables import complete_table
from braindec.data.things_eeg2 import read_things_eeg2
from braindec.data.things_eeg2_raw import read_things_eeg2_raw
from braindec.types import UNKNOWN, Recording, SensorSpace, Table, Trials
from braindec.types.table import as_text, refuse_missing

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

KINDS = {"eeg": {"eeg"}, "meg": {"mag", "grad"}}  # mne's types of the channels that are kept
OTHER_FORMATS = (
    "Save epochs with mne (epochs.save('sub-01-epo.fif')), give arrays to NeuralDataset.from_arrays, or let `braindec "
    "prepare bids` cut epochs from recordings in BIDS."
)
WITHOUT_NAME = "Name it, or leave such epochs out: epochs[epochs.metadata[{!r}].notna().to_numpy()]."
CUT = "Cut epochs first, mne.Epochs(raw, events, event_id).save('sub-01-epo.fif'), or use `braindec prepare bids`."
EPOCHS = 373  # kind of block, as are the keys below: mne.io.constants.FIFF.FIFFB_...
OTHER_BLOCKS = {
    102: ("holds a continuous recording, no epochs", CUT),
    112: ("holds a continuous recording, no epochs", CUT),
    119: ("holds a continuous recording, no epochs", CUT),
    104: (
        "holds averages over trials (evoked), no epochs",
        "Single trials are decoded: give the epochs that they were made of.",
    ),
}


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
        If the file is damaged, holds no epochs, or no channel of this modality.
    """
    import mne

    path = checks.existing_file(path, "Check the path.")
    checks.one_of("modality", modality, ("eeg", "meg"))
    if not path.name.endswith((".fif", ".fif.gz")):
        found = (
            f"is no FIF file of epochs ({''.join(path.suffixes[-2:]) or 'no ending'}; epochs end in -epo.fif)"
        )
        raise checks.DataFileError(path, found, OTHER_FORMATS)
    _holds_epochs(path, whole.fif(path))
    with reading(path, Exception):  # mne raises bare Exceptions on unknown tags
        epochs = mne.read_epochs(path, proj=False, preload=True, verbose="error")
        kinds = sorted(set(epochs.get_channel_types()))
        if not set(kinds) & KINDS[modality]:
            found = f"holds no {modality} channels, but {', '.join(kinds)}"
            raise checks.DataFileError(path, found, _other_modality(kinds))
        picked = epochs.pick(modality, exclude="bads", verbose="error")
        data = picked.get_data(copy=False).astype(np.float32)
        names, kept = tuple(picked.ch_names), tuple(picked.get_channel_types())
        positions = positions_of(picked.info)
        columns = _metadata(epochs)
        codes = {code: name for name, code in epochs.event_id.items()}
        columns.setdefault("stimulus_id", np.array([codes[c] for c in epochs.events[:, 2].tolist()]))
        columns.setdefault("onset_s", epochs.events[:, 0] / epochs.info["sfreq"])
        sfreq, tmin = float(epochs.info["sfreq"]), float(epochs.tmin)
    finite(path, data)
    space = SensorSpace(names, positions, kept)
    units = "V" if modality == "eeg" else "T"
    return Trials(data, complete_table(columns, session), space, units, subject, modality, sfreq, tmin)


def _holds_epochs(path: Path, blocks: set[int]) -> None:
    """Refuses a FIF file with blocks of something else, and none of epochs."""
    for kind, (found, way_out) in OTHER_BLOCKS.items():
        if kind in blocks and EPOCHS not in blocks:
            raise checks.DataFileError(path, found, way_out)


def _other_modality(kinds: Sequence[str]) -> str:
    fitting = [m for m, known in KINDS.items() if known & set(kinds)]
    if fitting:
        return f"Say modality={fitting[0]!r}."
    return "Name the channels' types first (epochs.set_channel_types), or give arrays: NeuralDataset.from_arrays."


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
        With the columns that the events of all runs have; `run_position` is the event's index in its run,
        `since_previous_s` and `to_next_s` the time to its neighbours (0 where there is none). Without a column
        stimulus_id the stimulus is ``unknown``.

    Raises
    ------
    ValueError
        If runs have other channels or rates, one has no events, or a window reaches beyond its recording.
    """
    first = recordings[0]
    start, stop = round(tmin * first.sfreq), round(tmax * first.sfreq) + 1
    responses, rows = [], []
    for recording in recordings:
        if recording.sfreq != first.sfreq or not same_channels(recording.space, first.space):
            raise ValueError(
                f"run {recording.run!r} has other channels or another sfreq than run {first.run!r}."
            )
        onsets = recording.events["onset_s"]
        if not len(onsets):
            raise ValueError(f"run {recording.run!r} has no events.")
        samples = np.round(onsets * recording.sfreq).astype(int)
        outside = (samples + start < 0) | (samples + stop > recording.signal.shape[1])
        if outside.any():
            at = onsets[outside][0]
            raise ValueError(f"the window of the event at {at:.3f} s reaches beyond run {recording.run!r}.")
        responses.append(np.stack([recording.signal[:, s + start : s + stop] for s in samples]))
        rows.append(_event_columns(recording))
    shared = [name for name in rows[0] if all(name in r for r in rows)]
    columns = {name: np.concatenate([r[name] for r in rows]) for name in shared}
    table = complete_table(columns, first.session)
    data = np.concatenate(responses).astype(np.float32)
    return Trials(
        data, table, first.space, first.units, first.subject, first.modality, first.sfreq, start / first.sfreq
    )


def _metadata(epochs: Any) -> dict[str, np.ndarray]:
    """Columns of an epochs' metadata: numbers and bool as they are, anything else as text.

    One that names trials may not lack a value; elsewhere what is missing is ``"nan"``.
    """
    if epochs.metadata is None:
        return {}
    found = {}
    for name, column in epochs.metadata.items():
        if name in ("stimulus_id", "run", "session"):
            refuse_missing(f"column {name!r} of the metadata", column, WITHOUT_NAME.format(name))
        plain = column.dtype.kind in "biuf"
        found[str(name)] = (
            column.to_numpy() if plain else np.array([as_text(v) for v in column.tolist()], str)
        )
    return found


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
