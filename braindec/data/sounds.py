"""Sounds of stimuli: windows of WAV files, and how they lie beside the responses."""

from __future__ import annotations

import itertools
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from braindec import checks, store
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.types import Table

SFREQ = 16_000.0  # what models of speech listen to
FULL = 32_768.0  # of 16 bits
SLOWEST, FASTEST = 1_000, 1_000_000  # Hz of a file


@dataclass(frozen=True, eq=False)
class Sounds:
    """Sounds of one length, about to be written.

    Parameters
    ----------
    batches : callable () -> iterable of int16 arrays (n, n_samples)
        In the order of the stimuli; 32768 is 1.
    n_samples : int
    sfreq : float
        Hz.
    """

    batches: Callable[[], Iterable[np.ndarray]]
    n_samples: int
    sfreq: float

    def write(self, out: store.Writer, n_sounds: int) -> None:
        """Appends all to a file that is open, as its array `sounds`."""
        bulk = out.bulk("sounds", (n_sounds, self.n_samples), np.int16)
        for batch in self.batches():
            bulk.append(batch)


class StoredSounds:
    """Reads sounds by stimulus id: a pair each of float32 samples in [-1, 1) and their rate in Hz; may be pickled."""

    def __init__(self, ids: Sequence[str], rows: store.Rows, sfreq: float):
        self._row = {key: i for i, key in enumerate(ids)}
        self._rows, self._sfreq = rows, sfreq

    def __call__(self, ids: Sequence[str]) -> list[tuple[np.ndarray, float]]:
        """The sounds of these ids, in that order, repeats allowed."""
        rows = [checks.known_key("stimulus", i, self._row) for i in ids]
        return [(self._rows[np.array([row])][0].astype(np.float32) / FULL, self._sfreq) for row in rows]


def windows(folder: Path, table: Table, sfreq: float = SFREQ) -> Sounds:
    """Windows of sound files, one channel; what lies before the beginning or after the end of a file is silent.

    Parameters
    ----------
    folder : Path
        Which all files lie in.
    table : Table
        A row a window, those of a file one after the other: wav (path below `folder`), wav_start_s, length_s.
    sfreq : float
        Hz, which files are resampled to.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    DataFileError
        If one lies elsewhere, or (when windows are read) is no whole WAV file.
    ValueError
        If windows differ in length.
    """
    lengths = sorted({round(s * sfreq) for s in table["length_s"].tolist()})
    if len(lengths) != 1:
        raise ValueError(f"windows of sound have {lengths} samples; they must be of one length.")
    for wav in dict.fromkeys(table["wav"].tolist()):
        path = checks.existing_file(
            folder / wav, "Put the sound there as WAV, or prepare without keep_sound=true."
        )
        if not path.resolve().is_relative_to(folder.resolve()):
            raise checks.DataFileError(path, f"lies outside of {folder}", "Put it below that folder.")
    return Sounds(partial(_windows, folder, table, lengths[0], sfreq), lengths[0], sfreq)


def files(folder: Path, table: Table) -> tuple[Path, ...]:
    """The sound files that a table names."""
    return tuple(folder / wav for wav in dict.fromkeys(table["wav"].tolist()))


def _windows(folder: Path, table: Table, n_samples: int, sfreq: float) -> Iterator[np.ndarray]:
    names = table["wav"].tolist()
    starts = np.round(table["wav_start_s"] * sfreq).astype(int)
    for name, rows in itertools.groupby(range(len(names)), key=names.__getitem__):
        first = starts[list(rows)]
        heard = read_wav(folder / name, sfreq)
        before = max(0, -int(first.min()))
        after = max(0, int(first.max()) + n_samples - len(heard))
        at = (first + before)[:, None] + np.arange(n_samples)
        found = np.pad(heard, (before, after))[at]
        yield np.clip(np.round(found * FULL), -FULL, FULL - 1).astype(np.int16)


def read_wav(path: Path, sfreq: float) -> np.ndarray:
    """A whole sound file, float32 (n_samples,) in [-1, 1], the mean of its channels, resampled to `sfreq` Hz.

    Raises
    ------
    DataFileError
        If it is damaged, cut, or of another kind than WAV.
    """
    path = checks.existing_file(path, "Check the path.")
    with reading(path, wavfile.WavFileWarning, struct.error), warnings.catch_warnings():
        warnings.simplefilter(
            "error", wavfile.WavFileWarning
        )  # a file that ends too early is but a warning there
        warnings.filterwarnings("ignore", "Chunk", wavfile.WavFileWarning)  # who recorded it, and when
        rate, values = wavfile.read(path)
    if not len(values) or not SLOWEST <= rate <= FASTEST:
        raise checks.DataFileError(path, f"holds {len(values)} samples at {rate} Hz", COPY_AGAIN)
    if values.dtype.kind in "iu":
        half = float(2 ** (8 * values.dtype.itemsize - 1))
        values = values / half - (1.0 if values.dtype.kind == "u" else 0.0)
    mono = finite(path, values.reshape(len(values), -1).mean(1, dtype=np.float32))
    if rate == sfreq:
        return mono
    ratio = Fraction(sfreq / rate).limit_denominator(10_000)
    return np.asarray(resample_poly(mono, ratio.numerator, ratio.denominator), dtype=np.float32)
