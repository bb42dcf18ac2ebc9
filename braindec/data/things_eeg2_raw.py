"""THINGS-EEG2's raw dictionaries to a Recording, or to epochs that are filtered and resampled as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import safe_npy
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import KEPT_KINDS, sensor_space
from braindec.types import Recording, Table

TARGET = 99_999  # code of a target image, asked about, without a condition
SPAN_S = 120.0  # seconds of signal in memory together
PASS = 0.4  # edge of the low-pass before resampling, of the new sfreq
TAPS = 33  # length of that filter, in samples of the new sfreq


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

    Returns
    -------
    Recording
        Volts, float32; the whole signal in memory (about 1 GB for a session's training part: see `RawEpochs`).
    """
    raw = Raw(path)
    onsets, codes = raw.events(len(conditions))
    stimuli = np.array([conditions[c - 1] for c in codes.tolist()], dtype=str)
    events = Table(
        {"onset_s": onsets / raw.sfreq, "duration_s": np.zeros(len(onsets)), "stimulus_id": stimuli}
    )
    space = sensor_space(raw.names, raw.kinds, montage)
    signal = raw.signal(0, raw.n_samples)
    return Recording(signal, raw.sfreq, "V", events, space, subject, session, "1", "eeg")


class Raw:
    """A raw dictionary whose signal stays in the file.

    Parameters
    ----------
    path : path
        As in `read_things_eeg2_raw`.

    Raises
    ------
    DataFileError
        If it is not such a dictionary.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        keys = ("raw_eeg_data", "ch_names", "ch_types", "sfreq")
        held = safe_npy.dictionary(self.path, keys, safe_npy.load(self.path))
        with reading(path):
            self._data: np.ndarray | None = np.asanyarray(held["raw_eeg_data"])
            kinds = [str(k) for k in held["ch_types"]]
            self.sfreq = float(held["sfreq"])
            self._rows = [i for i, kind in enumerate(kinds) if kind in KEPT_KINDS]
            self._stim = kinds.index("stim")
            self.names = [str(held["ch_names"][i]) for i in self._rows]
            self.kinds = [kinds[i] for i in self._rows]
            n_channels, self.n_samples = self._data.shape
        if n_channels != len(kinds) or self._data.dtype.kind != "f" or not self.sfreq > 0:
            found = (
                f"has data {self._data.dtype} {self._data.shape} for {len(kinds)} channels at {self.sfreq} Hz"
            )
            raise checks.DataFileError(path, found, COPY_AGAIN)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_data": None}  # a map would be pickled as what it maps

    def _signal(self) -> np.ndarray:
        if self._data is None:
            self._data = np.asanyarray(safe_npy.load(self.path)["raw_eeg_data"])
        return self._data

    def signal(self, start: int, stop: int) -> np.ndarray:
        """Samples of all EEG channels, V, float32 (n_channels, stop - start); NaN and infinities are refused."""
        with reading(self.path):
            found = np.stack([self._signal()[row, start:stop] for row in self._rows]).astype(np.float32)
        return finite(self.path, found)

    def events(self, n_conditions: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample and 1-based condition of every picture, targets left out.

        Raises
        ------
        DataFileError
            If a code names no condition.
        """
        with reading(self.path):
            stim = np.asarray(self._signal()[self._stim])
            rising = np.flatnonzero((stim[1:] != stim[:-1]) & (stim[1:] > 0)) + 1
            codes = stim[rising].astype(np.int64)
        kept = codes != TARGET
        unknown = sorted(set(codes[kept].tolist()) - set(range(1, n_conditions + 1)))
        if unknown:
            found = f"holds the codes {unknown[:5]}, conditions are 1 to {n_conditions}"
            raise checks.DataFileError(
                self.path, found, "Check that image_metadata.npy and part belong together."
            )
        return rising[kept], codes[kept]


@dataclass(frozen=True)
class Clock:
    """Time samples of the epochs: from `first` on, in samples of `sfreq` Hz from the picture."""

    sfreq: float
    first: int
    n_times: int

    @property
    def tmin(self) -> float:
        """Seconds from the picture to the first sample."""
        return self.first / self.sfreq


class RawEpochs:
    """Windows around given samples of a raw signal by row, float32 (n_trials, n_channels, n_times), V.

    The signal is low-passed by a symmetric FIR (it looks as far ahead as back: 66 ms at 250 Hz) and sampled from each
    picture's own onset on, so that no onset is rounded to the new samples. No baseline is subtracted.

    Parameters
    ----------
    raw : Raw
    onsets : int array, shape (n_trials,)
        In samples of the raw signal, rising; every window lies in the recording (`inside`).
    clock : Clock
        Its sfreq divides the raw one.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, raw: Raw, onsets: np.ndarray, clock: Clock):
        factor = raw.sfreq / clock.sfreq
        if abs(factor - round(factor)) > 1e-9 or factor < 1:
            found = f"is sampled at {raw.sfreq} Hz, of which {clock.sfreq} Hz is no whole part"
            raise checks.DataFileError(raw.path, found, COPY_AGAIN)
        self._raw, self._onsets = raw, np.asarray(onsets, dtype=np.int64)
        self._steps = round(factor) * (clock.first + np.arange(clock.n_times))
        self._taps = low_pass(round(factor))
        self.shape = (len(onsets), len(raw.names), clock.n_times)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def inside(self) -> np.ndarray:
        """Which windows lie in the recording, bool (n_trials,)."""
        return (self._onsets + self._steps[0] >= 0) & (self._onsets + self._steps[-1] < self._raw.n_samples)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        order = np.argsort(self._onsets[wanted], kind="stable")
        seconds = self._onsets[wanted[order]] / self._raw.sfreq
        for stretch in np.split(order, _breaks(seconds)) if len(order) else []:
            out[stretch] = self._read(self._onsets[wanted[stretch]])
        return out

    def _read(self, onsets: np.ndarray) -> np.ndarray:
        from scipy.signal import oaconvolve

        half = len(self._taps) // 2
        first = int(onsets[0]) + int(self._steps[0]) - half
        last = int(onsets[-1]) + int(self._steps[-1]) + half + 1
        start, stop = max(0, first), min(self._raw.n_samples, last)
        signal = self._raw.signal(start, stop)
        padded = np.pad(signal, ((0, 0), (start - first, last - stop)), mode="edge")
        smooth = oaconvolve(padded, self._taps[None].astype(np.float32), mode="valid", axes=1)
        places = onsets[:, None] + self._steps - (first + half)  # (trial, time)
        return np.asarray(smooth[:, places].swapaxes(0, 1), dtype=np.float32)


def low_pass(factor: int) -> np.ndarray:
    """Symmetric FIR taps (sum 1) for keeping every `factor`-th sample; one tap where nothing is left out."""
    from scipy.signal import firwin

    if factor == 1:
        return np.ones(1)
    return np.asarray(firwin(TAPS * factor + (TAPS * factor + 1) % 2, PASS, fs=float(factor)))


def _breaks(seconds: np.ndarray) -> list[int]:
    """Positions at which rising times are cut so that no stretch is longer than `SPAN_S`."""
    found, start = [], seconds[0] if len(seconds) else 0.0
    for i, second in enumerate(seconds.tolist()):
        if second - start > SPAN_S:
            found.append(i)
            start = second
    return found
