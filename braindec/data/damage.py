"""Turns what other libraries raise on a damaged file into one error that names the file and the way out."""

from __future__ import annotations

import contextlib
import gzip
import tokenize
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from braindec import checks

# What nibabel, mne, h5py, scipy.io, pandas and numpy raise on truncated, bit-flipped and overwritten files.
RAISED: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    UnboundLocalError,
    ZeroDivisionError,
    AssertionError,
    ImportError,
    SyntaxError,
    tokenize.TokenError,  # numpy, of a header from before Python 3
)
COPY_AGAIN = "The file is damaged or incomplete: copy or download it again."


@contextlib.contextmanager
def reading(path: str | Path, *further: type[Exception], way_out: str = COPY_AGAIN) -> Iterator[None]:
    """Whatever a reader raises inside becomes a DataFileError about `path`; our own errors pass unchanged.

    Parameters
    ----------
    path : path
    *further : exception classes
        Of the library in use, beside `RAISED`.
    way_out : str
    """
    try:
        yield
    except (checks.BraindecError, FileNotFoundError):
        raise
    except (*RAISED, *further) as error:
        text = str(error).splitlines()[0][:200] if str(error) else "no message"
        raise checks.DataFileError(
            path, f"cannot be read ({type(error).__name__}: {text})", way_out
        ) from error


def finite(path: str | Path, array: np.ndarray) -> np.ndarray:
    """The array itself when it holds no NaN and no infinity; else a DataFileError that counts them."""
    bad = int((~np.isfinite(array)).sum())
    if bad:
        found = f"holds {bad} NaN or infinite of {array.size} values"
        raise checks.DataFileError(path, found, "Mask or remove these first, or copy the file again.")
    return array


def drained_size(path: Path, most: int | None = None) -> int:
    """Number of bytes inside a file, decompressed to its end when it is gzip, so that its checksum is verified.

    Parameters
    ----------
    path : Path
    most : int, optional
        Bytes that its header asks for: a stream that goes on behind them is refused there.

    Raises
    ------
    DataFileError
        If the compressed stream is cut, damaged or fails its CRC.
    """
    if path.suffix != ".gz":
        return path.stat().st_size
    size = 0
    with reading(path), gzip.open(path, "rb") as file:
        while block := file.read(1 << 20):
            size += len(block)
            if most is not None and size > most:
                raise checks.DataFileError(
                    path, f"holds more bytes than the {most} that its header asks for", COPY_AGAIN
                )
    return size
