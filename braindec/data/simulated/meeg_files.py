"""Simulated EEG and MEG written as epochs in FIF (mne), and EEG as the pickled dictionaries of THINGS-EEG2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec.data.simulated.design import Schedule
from braindec.data.simulated.sensors import PLACES_DEG, Sensors

# Where the helmet's origin lies in head coordinates, metres: the head never sits in its middle.
HELMET_ORIGIN_M = np.array([0.002, -0.004, 0.006])


def write_epochs(
    folder: Path,
    subject: int,
    epochs: np.ndarray,
    schedule: Schedule,
    ids: list[str],
    *,
    sensors: Sensors,
    sfreq: float,
    tmin: float,
) -> list[Path]:
    """One FIF file a session, with the trial table as metadata.

    Parameters
    ----------
    folder : Path
    subject : int
    epochs : ndarray of float32, shape (n_trials, n_sensors, n_times)
        Volts, or tesla.
    schedule : Schedule
    ids : list of str
        Stimulus id of each picture.
    sensors : Sensors
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
    info = info_of(sensors, sfreq)
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


def info_of(sensors: Sensors, sfreq: float) -> Any:
    """What mne needs to know of the sensors (an ``mne.Info``): electrodes, or point magnetometers in a helmet."""
    import mne

    space = sensors.space
    info = mne.create_info(list(space.names), sfreq, list(space.kinds))
    if sensors.normals is None:
        where = dict(zip(space.names, space.positions, strict=True))
        info.set_montage(mne.channels.make_dig_montage(where, coord_frame="head"))
        return info
    to_head = np.eye(4)
    to_head[:3, 3] = HELMET_ORIGIN_M
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", to_head)
    for channel, place, normal in zip(info["chs"], space.positions, sensors.normals, strict=True):
        across = np.linalg.svd(normal[None])[2][1:]  # two directions at right angles to the normal
        channel["loc"] = np.concatenate([place - HELMET_ORIGIN_M, *across, normal])
        channel["coil_type"] = mne.io.constants.FIFF.FIFFV_COIL_POINT_MAGNETOMETER
    return info


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
    content = {"preprocessed_eeg_data": data, "ch_names": list(PLACES_DEG), "times": times}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(content, dtype=object))
