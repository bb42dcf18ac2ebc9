"""KIT/Ricoh MEG recordings (.con, .sqd), checked for their length and read some channels at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.sensors import positions_of
from braindec.types import SensorSpace

RAW_DATA = 9  # entry of the directory at the head of the file


@dataclass(frozen=True, eq=False)
class KitFile:
    """What the header of a recording says.

    Parameters
    ----------
    path : Path
    sfreq : float
        Hz.
    n_times : int
    space : SensorSpace
        MEG sensors without the reference ones, positions in the frame of the helmet unless the head's place is known.
    picks : int array, shape (n_channels,)
        Where the sensors are among all channels.
    """

    path: Path
    sfreq: float
    n_times: int
    space: SensorSpace
    picks: np.ndarray

    def load(self, positions: np.ndarray) -> np.ndarray:
        """Tesla, float64 (n, n_times), of the sensors at these positions of `space`."""
        import mne

        with reading(self.path, Exception):  # mne raises bare Exceptions
            raw = mne.io.read_raw_kit(self.path, stim=None, verbose="error")
            return np.asarray(raw.get_data(picks=self.picks[positions].tolist(), verbose="error"))


def open_kit(path: str | Path) -> KitFile:
    """The header of a continuous KIT recording.

    Raises
    ------
    DataFileError
        If it cannot be read, has no MEG sensor, or is shorter than its header says.
    """
    import mne

    path = checks.existing_file(path, "Check the path.")
    with reading(path, Exception):  # mne raises bare Exceptions
        raw = mne.io.read_raw_kit(path, stim=None, verbose="error")
        about = raw._raw_extras[0]
        expected = int(about["dirs"][RAW_DATA]["offset"])
        expected += int(about["nchan"]) * int(raw.n_times) * int(about["dtype"].itemsize)
        picks = mne.pick_types(raw.info, meg=True, ref_meg=False, exclude=[])
        names, kinds = (
            np.array(raw.ch_names)[picks].tolist(),
            np.array(raw.get_channel_types())[picks].tolist(),
        )
        at = positions_of(raw.info)[picks]
    if path.stat().st_size < expected:
        found = f"holds {path.stat().st_size} bytes but its header asks for {expected}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    if not len(picks):
        raise checks.DataFileError(path, "has no MEG sensor", "Choose a recording of MEG.")
    space = SensorSpace(tuple(names), at, tuple(kinds))
    return KitFile(path, float(raw.info["sfreq"]), int(raw.n_times), space, np.asarray(picks))
