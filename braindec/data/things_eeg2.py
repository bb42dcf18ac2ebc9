"""THINGS-EEG2's pickled dictionaries, preprocessed and raw, to Trials and Recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import safe_npy
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import KEPT_KINDS, sensor_space
from braindec.data.tables import complete_table
from braindec.types import Recording, Table, Trials


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
        responses, complete_table(columns, "1"), space, "noise SD", subject, "eeg", sfreq, float(times[0])
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
