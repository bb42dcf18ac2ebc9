"""CTF MEG recordings (.ds), or such saved as FIF, read some channels at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import whole
from braindec.data.damage import reading
from braindec.data.sensors import positions_of
from braindec.types import SensorSpace


@dataclass(frozen=True, eq=False)
class CtfFile:
    """What the header of a recording says.

    Parameters
    ----------
    path : Path
    sfreq : float
        Hz.
    n_times : int
    space : SensorSpace
        MEG sensors without the reference ones; names without the number of the system (``MLC11``).
    picks : int array, shape (n_channels,)
        Where the sensors are among all channels.
    compensation : int
        Order of the synthetic gradiometers that the samples are stored in, 0..3.
    """

    path: Path
    sfreq: float
    n_times: int
    space: SensorSpace
    picks: np.ndarray
    compensation: int

    def load(self, positions: np.ndarray) -> np.ndarray:
        """Tesla, float64 (n, n_times), of the sensors at these positions of `space`, in the stored compensation."""
        with reading(self.path, Exception):  # mne raises bare Exceptions
            return np.asarray(_raw(self.path).get_data(picks=self.picks[positions].tolist(), verbose="error"))


def open_ctf(path: str | Path) -> CtfFile:
    """The header of a recording: a folder ``.ds``, or a file ``.fif``.

    Raises
    ------
    DataFileError
        If it cannot be read, or has no MEG sensor.
    """
    import mne

    path = Path(path)
    with reading(path, Exception):  # mne raises bare Exceptions
        raw = _raw(path)
        picks = mne.pick_types(raw.info, meg=True, ref_meg=False, exclude=[])
        names = [raw.ch_names[i].split("-")[0] for i in picks]
        kinds = np.array(raw.get_channel_types())[picks].tolist()
        at = positions_of(raw.info)[picks]
        compensation = int(raw.compensation_grade or 0)
    if not len(picks):
        raise checks.DataFileError(path, "has no MEG sensor", "Choose a recording of MEG.")
    space = SensorSpace(tuple(names), at, tuple(kinds))
    return CtfFile(path, float(raw.info["sfreq"]), int(raw.n_times), space, np.asarray(picks), compensation)


def channel(path: str | Path, name: str) -> np.ndarray:
    """The samples of one channel by its whole name, such as a trigger's; float64 (n_times,).

    Raises
    ------
    DataFileError
        If it cannot be read, or has no such channel.
    """
    path = Path(path)
    with reading(path, Exception):  # mne raises bare Exceptions
        raw = _raw(path)
        found = np.asarray(raw.get_data(picks=[name])[0]) if name in raw.ch_names else None
    if found is None:
        raise checks.DataFileError(path, f"has no channel {name}", "Choose the recording that has it.")
    return found


def _raw(path: Path) -> Any:
    import mne

    if path.suffix == ".ds":
        return mne.io.read_raw_ctf(path, verbose="error")
    whole.fif(path)
    return mne.io.read_raw_fif(path, verbose="error")
