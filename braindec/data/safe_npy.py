"""Pickled dictionaries of arrays (as THINGS-EEG2 is distributed) read without running what a pickle can run.

Large arrays inside a pickle are mapped from the file, not read: a file of 8 GB takes no memory until its rows are used.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import tokenize
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading

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
PLAIN = "Ask its owner for plain arrays of numbers and text."
MAPPED_BYTES = 1 << 20  # arrays of at least so many bytes stay in the file


def load(path: str | Path) -> Any:
    """What an .npy file holds: an array, or the dictionary inside, in both forms in which those are found.

    Parameters
    ----------
    path : path
        A true .npy file of numbers, an .npy file around one pickled object, or a bare pickle with the suffix .npy.

    Returns
    -------
    array or dict
        Arrays of a megabyte and more are read-only maps of the file.

    Raises
    ------
    DataFileError
        If the file is damaged, or its pickle asks for anything but arrays, numbers, text, lists and dictionaries.
    """
    path = checks.existing_file(path, "Check the path.")
    with reading(path, pickle.UnpicklingError, tokenize.TokenError), path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            file.seek(0)
            return unpickle(file, path)
        file.seek(0)
        version = np.lib.format.read_magic(file)
        reads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = reads[version](file)
        if dtype.hasobject:
            held = unpickle(file, path)
            return held.item() if isinstance(held, np.ndarray) and held.shape == () else held
        expected = file.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if path.stat().st_size != expected:
            found = f"holds {path.stat().st_size} bytes but its header asks for {expected}"
            raise checks.DataFileError(path, found, "Copy or download it again.")
        return np.load(path, mmap_mode="r", allow_pickle=False)


def dictionary(path: str | Path, keys: tuple[str, ...], held: Any) -> dict[str, Any]:
    """What was loaded from a file when it is a dictionary with these keys; else a DataFileError with those it has."""
    if isinstance(held, dict) and all(k in held for k in keys):
        return held
    has = f"has the keys {sorted(map(str, held))[:12]}" if isinstance(held, dict) else "is no dictionary"
    raise checks.DataFileError(
        path, f"{has}, expected {list(keys)}", "Choose the file of the dataset's card."
    )


@dataclass(frozen=True)
class Stretch:
    """Bytes that were left in a file."""

    offset: int
    size: int

    def mapped(self, path: Path, dtype: Any, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
        """The bytes as a read-only array; refused when they are not as many as the array has."""
        if (
            not isinstance(dtype, np.dtype)
            or dtype.hasobject
            or dtype.kind not in "biufcSU"
            or not dtype.itemsize
        ):
            raise checks.DataFileError(path, f"holds an array of {dtype!r} as plain bytes", PLAIN)
        expected = math.prod(shape) * dtype.itemsize
        if expected != self.size or min(shape, default=1) < 0:
            found = f"holds {self.size} bytes for an array of {dtype} {tuple(shape)}, which has {expected}"
            raise checks.DataFileError(path, found, COPY_AGAIN)
        layout: Any = order
        held = _whole(path)[self.offset : self.offset + self.size]
        return held.view(dtype).reshape(tuple(shape), order=layout)


_MAPS: weakref.WeakValueDictionary[tuple[str, int], np.ndarray] = weakref.WeakValueDictionary()


def _whole(path: Path) -> np.ndarray:
    """The bytes of a file, mapped once for all its arrays: each map keeps the file open, and a system allows few."""
    key = str(path), path.stat().st_mtime_ns
    found = _MAPS.get(key)
    if found is None:
        found = _MAPS[key] = np.memmap(path, np.uint8, "r")
    return found


def unpickle(
    file: BinaryIO,
    path: Path,
    *,
    end: int | None = None,
    known: dict[tuple[str, str], Any] | None = None,
    outside: Callable[[Any], Any] | None = None,
) -> Any:
    """The object pickled from the file's position on, if it needs no more than `ALLOWED` and `known`.

    Parameters
    ----------
    file : binary file
    path : Path
        The file's, to map arrays from and for messages.
    end : int, optional
        Where the pickle must have ended; the file's end by default.
    known : mapping of (module, name), optional
        What stands for further names. Their own module is never asked.
    outside : callable, optional
        What stands for an object outside of the pickle, by its persistent id.
    """
    size = path.stat().st_size if end is None else end
    held = _Restricted(_Bounded(file, size), path, known or {}, outside).load()
    if _holds_stretch(held):
        raise checks.DataFileError(path, "holds a long text or bytes that belong to no array", COPY_AGAIN)
    return held


class _Bounded(io.RawIOBase):
    """Never asks for more bytes than the file has left, so that a damaged length cannot fill the memory."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size

    def read(self, n: int = -1) -> bytes:
        self._check(n)
        return self._file.read(n)

    def skip(self, n: int) -> Stretch:
        """Leaves `n` bytes where they are."""
        self._check(n)
        found = Stretch(self._file.tell(), n)
        self._file.seek(n, io.SEEK_CUR)
        return found

    def readline(self, size: int | None = -1) -> bytes:
        return self._file.readline(1 << 20)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _check(self, n: int) -> None:
        if n > self._size - self._file.tell():
            raise EOFError("the pickle is cut")


class _Restricted(
    pickle._Unpickler
):  # the Python one: its memo is a dict, so a damaged index allocates nothing
    """Resolves only what `ALLOWED` and `known` name, and leaves the bytes of large arrays in the file."""

    def __init__(self, file: _Bounded, path: Path, known: dict[tuple[str, str], Any], outside: Any):
        super().__init__(file, encoding="latin1")  # numpy arrays pickled by Python 2
        self._source, self._path, self._known, self._outside = file, path, known, outside

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        if (module, name) not in ALLOWED:
            raise checks.DataFileError(
                self._path,
                f"asks to run {module}.{name} when it is opened",
                "Do not open it; ask its owner for plain arrays.",
            )
        if name == "dtype":
            return self._dtype
        found = super().find_class(module, name)
        return self._from_buffer(found) if name == "_frombuffer" else found

    def _dtype(self, spec: Any, *_: Any) -> np.dtype:
        """A type of its own: what the pickle does to it must not reach numpy's."""
        if not isinstance(spec, str):
            raise checks.DataFileError(self._path, f"holds an array of {spec!r}", PLAIN)
        return np.dtype(spec, False, True)

    def persistent_load(self, pid: Any) -> Any:
        if self._outside is None:
            raise checks.DataFileError(
                self._path, "refers to objects outside of the file", "Get the complete data."
            )
        return self._outside(pid)

    def _from_buffer(self, numpys: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def build(buffer: Any, dtype: Any, shape: Any, order: str, *further: Any) -> np.ndarray:
            if isinstance(buffer, Stretch) and not any(further):
                return buffer.mapped(self._path, dtype, shape, order)
            return numpys(buffer, dtype, shape, order, *further)

        return build

    def _load_bytes(self, length_format: str, kind: Callable[[bytes], Any]) -> None:
        (n,) = struct.unpack(length_format, self.read(struct.calcsize(length_format)))  # type: ignore[attr-defined]  # typeshed hides it
        if n < 0:
            raise pickle.UnpicklingError("a negative length")
        # A frame is in memory already; what is large lies between frames.
        if n >= MAPPED_BYTES and self._unframer.current_frame is None:  # type: ignore[attr-defined]  # typeshed hides it
            self.append(self._source.skip(n))  # type: ignore[attr-defined]  # typeshed hides it
        else:
            self.append(kind(self.read(n)))  # type: ignore[attr-defined]  # typeshed hides it

    def _load_binbytes(self) -> None:
        self._load_bytes("<I", bytes)

    def _load_binbytes8(self) -> None:
        self._load_bytes("<Q", bytes)

    def _load_bytearray8(self) -> None:
        self._load_bytes("<Q", bytearray)

    def _load_binstring(self) -> None:
        self._load_bytes("<i", lambda text: text.decode("latin1"))

    def _load_build(self) -> None:
        array, state = self.stack[-2:]  # type: ignore[attr-defined]  # typeshed hides it
        if isinstance(array, np.dtype):
            pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]  # typeshed hides it
            _check_dtype(array, self._path)
            return
        if not (
            isinstance(array, np.ndarray) and isinstance(state, tuple) and isinstance(state[-1], Stretch)
        ):
            pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]  # typeshed hides it
            return
        _, shape, dtype, by_column, where = state
        mapped = where.mapped(self._path, dtype, shape, "F" if by_column else "C")
        self.stack[-2:] = [mapped]  # type: ignore[attr-defined]  # typeshed hides it
        for key, held in self.memo.items():  # type: ignore[attr-defined]  # typeshed hides it
            if held is array:  # it was noted before its values were known
                self.memo[key] = mapped  # type: ignore[attr-defined]  # typeshed hides it

    dispatch: ClassVar[dict[int, Any]] = {  # pickle's own way to say which code is which method
        **pickle._Unpickler.dispatch,
        pickle.BINBYTES[0]: _load_binbytes,
        pickle.BINBYTES8[0]: _load_binbytes8,
        pickle.BYTEARRAY8[0]: _load_bytearray8,
        pickle.BINSTRING[0]: _load_binstring,
        pickle.BUILD[0]: _load_build,
    }


def _check_dtype(dtype: np.dtype, path: Path) -> None:
    """Refuses types of which bytes could be taken for pointers: pickled flags may say that there are no objects."""
    plain = (
        dtype.kind in "biufcSU" and dtype.fields is None and dtype.subdtype is None and not dtype.hasobject
    )
    if not plain and not (dtype.kind == "O" and dtype.hasobject):
        raise checks.DataFileError(path, f"holds an array of the type {dtype.kind!r}", PLAIN)


def _holds_stretch(held: Any) -> bool:
    """Whether bytes that were left in the file turned up elsewhere than in an array."""
    open_, seen = [held], set()
    while open_:
        item = open_.pop()
        if isinstance(item, Stretch):
            return True
        if isinstance(item, dict | list | tuple | set) and id(item) not in seen:
            seen.add(id(item))
            open_ += [*item.keys(), *item.values()] if isinstance(item, dict) else item
        elif isinstance(item, np.ndarray) and item.dtype == object and id(item) not in seen:
            seen.add(id(item))
            open_ += item.ravel().tolist()
    return False
