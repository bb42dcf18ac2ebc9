"""Pickled dictionaries of arrays (as THINGS-EEG2 is distributed) read without running what a pickle can run."""

from __future__ import annotations

import io
import pickle
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from braindec import checks
from braindec.data.damage import reading

# All that a dict of numbers, text, lists and numeric arrays needs, in the names of numpy 1 and 2.
ALLOWED = {
    (module, name)
    for name, modules in {
        "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "_frombuffer": ("numpy.core.numeric", "numpy._core.numeric"),
        "ndarray": ("numpy",),
        "dtype": ("numpy",),
        "encode": ("_codecs",),
    }.items()
    for module in modules
}


def load(path: str | Path) -> Any:
    """What an .npy file holds: an array, or the dictionary inside, in both forms in which those are found.

    Parameters
    ----------
    path : path
        A true .npy file of numbers, an .npy file around one pickled object, or a bare pickle with the suffix .npy.

    Returns
    -------
    array or dict

    Raises
    ------
    DataFileError
        If the file is damaged, or its pickle asks for anything but arrays, numbers, text, lists and dictionaries.
    """
    path = checks.existing_file(path, "Check the path.")
    with reading(path, pickle.UnpicklingError, tokenize.TokenError), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            file.seek(0)
            return _unpickle(file, path)
        file.seek(0)
        version = np.lib.format.read_magic(file)
        reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = reads[version](file)
        if dtype.hasobject:
            held = _unpickle(file, path)
            return held.item() if isinstance(held, np.ndarray) and held.shape == () else held
        expected = file.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if path.stat().st_size != expected:
            found = f"holds {path.stat().st_size} bytes but its header asks for {expected}"
            raise checks.DataFileError(path, found, "Copy or download it again.")
        return np.load(path, mmap_mode="r", allow_pickle=False)


class _Bounded(io.RawIOBase):
    """Never asks for more bytes than the file has left, so that a damaged length cannot fill the memory."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size

    def read(self, n: int = -1) -> bytes:
        if n > self._size - self._file.tell():
            raise EOFError("the pickle is cut")
        return self._file.read(n)

    def readline(self, size: int | None = -1) -> bytes:
        return self._file.readline(1 << 20)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Restricted(
    pickle._Unpickler
):  # the Python one: its memo is a dict, so a damaged index allocates nothing
    """Resolves only what `ALLOWED` names."""

    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding="latin1")  # numpy arrays pickled by Python 2
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise checks.DataFileError(
                self._path,
                f"asks to run {module}.{name} when it is opened",
                "Do not open it; ask its owner for plain arrays.",
            )
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise checks.DataFileError(
            self._path, "refers to objects outside of the file", "Get the complete data."
        )


def _unpickle(file: BinaryIO, path: Path) -> Any:
    return _Restricted(_Bounded(file, path.stat().st_size), path).load()
