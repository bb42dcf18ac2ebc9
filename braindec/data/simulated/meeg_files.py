"""Simulated EEG written as epochs in FIF (mne) and as the pickled dictionaries of THINGS-EEG2."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindec.data.simulated.design import Schedule
from braindec.data.simulated.meeg import SENSORS, sensor_space


def write_epochs(
    folder: Path,
    subject: int,
    epochs: np.ndarray,
    schedule: Schedule,
    ids: list[str],
    *,
    sfreq: float,
    tmin: float,
) -> list[Path]:
    """One FIF file a session, with the trial table as metadata.

    Parameters
    ----------
    folder : Path
    subject : int
    epochs : ndarray of float32, shape (n_trials, n_sensors, n_times)
        Volts.
    schedule : Schedule
    ids : list of str
        Stimulus id of each picture.
    sfreq, tmin : float
        Hz; seconds from the picture to the first sample.

    Returns
    -------
    list of Path
        In the order of sessions.
    """
    import mne
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    info = mne.create_info(list(SENSORS), sfreq, "eeg")
    where = dict(zip(SENSORS, sensor_space().positions, strict=True))
    info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"))
    paths = []
    for s in np.unique(schedule.session):
        rows = np.flatnonzero(schedule.session == s)
        metadata = pd.DataFrame(
            {
                "stimulus_id": [ids[i] for i in schedule.stimulus[rows]],
                "session": [str(s + 1)] * len(rows),
                "run": [f"{s + 1}-{r + 1}" for r in schedule.run[rows]],
                "repeat": schedule.repeat[rows],
                "onset_s": schedule.onset_s[rows],
                "acquisition_order": rows,
                "exchangeability_block": [str(s + 1)] * len(rows),
                "position": schedule.trial[rows],
            }
        )
        run_s = float(schedule.onset_s.max()) + 2.0
        samples = np.rint((schedule.run[rows] * run_s + schedule.onset_s[rows]) * sfreq).astype(int)
        events = np.stack([samples, np.zeros_like(samples), schedule.stimulus[rows] + 1], 1)
        array = mne.EpochsArray(
            epochs[rows].astype(np.float64), info, events, tmin, metadata=metadata, verbose="error"
        )
        path = folder / f"sub-{subject:02d}_ses-{s + 1:02d}_task-scenes_epo.fif"
        array.save(path, fmt="single", overwrite=True, verbose="error")
        paths.append(path)
    return paths


def write_things_eeg2(
    path: Path, epochs: np.ndarray, schedule: Schedule, stimuli: list[int], times: np.ndarray
) -> None:
    """The preprocessed dictionary of one part, as `np.save` pickles it.

    Parameters
    ----------
    path : Path
        ``preprocessed_eeg_training.npy`` or ``preprocessed_eeg_test.npy``.
    epochs : ndarray, shape (n_trials, n_sensors, n_times)
    schedule : Schedule
    stimuli : list of int
        Pictures of this part; all were shown equally often.
    times : ndarray, shape (n_times,)
        Seconds.
    """
    rows = [np.flatnonzero(schedule.stimulus == i) for i in stimuli]
    n_repeats = min(map(len, rows))
    data = np.stack([epochs[r[:n_repeats]] for r in rows]).astype(np.float64)
    content = {"preprocessed_eeg_data": data, "ch_names": list(SENSORS), "times": times}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(content, dtype=object))
