"""Dictionaries saved by torch (`.pt`) read without running what a pickle can run; large arrays stay in the file."""

from __future__ import annotations

import math
import pickle
import struct
import tokenize
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from braindec import checks
from braindec.data import safe_npy
from braindec.data.damage import COPY_AGAIN, reading

STORAGES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "|u1",
    "CharStorage": "|i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "|b1",
}
LOCAL_HEADER = 30  # bytes of a zip member's own header before name and extra field; APPNOTE.TXT 4.3.7
MAGIC, PROTOCOL = (
    0x1950A86A20F9469CFC6C,
    1001,
)  # what files of torch before 1.6 begin with; torch.serialization
COUNT_BYTES = 8  # before the values of each storage of such a file


def load(path: str | Path) -> Any:
    """What `torch.save` wrote, tensors as numpy arrays; large arrays and all tensors are read-only maps of the file.

    Parameters
    ----------
    path : path
        A ``.pt`` or ``.pth`` file, in torch's zip format (1.6 and later) or the one before it.

    Returns
    -------
    object
        Numbers, text, lists, dictionaries, numpy arrays; tensors as numpy arrays.

    Raises
    ------
    DataFileError
        If the file is damaged, or asks for anything else when it is opened.
    """
    path = checks.existing_file(path, "Check the path.")
    with (
        reading(path, pickle.UnpicklingError, tokenize.TokenError, zipfile.BadZipFile, struct.error),
        path.open("rb") as file,
    ):
        zipped = file.read(2) == b"PK"
        file.seek(0)
        return _zipped(file, path) if zipped else _one_after_the_other(file, path)


def _zipped(file: BinaryIO, path: Path) -> Any:
    members = _members(file, path)
    name = next((n for n in members if n.endswith("/data.pkl")), None)
    if name is None:
        raise checks.DataFileError(path, "holds no data.pkl", COPY_AGAIN)
    folder = name.removesuffix("data.pkl")

    def outside(pid: Any) -> tuple[safe_npy.Stretch, np.dtype]:
        dtype, key, _ = _storage(pid, path)
        return members[f"{folder}data/{key}"], dtype

    content = members[name]
    file.seek(content.offset)
    end = content.offset + content.size
    return safe_npy.unpickle(file, path, end=end, known=_known(path), outside=outside)


def _one_after_the_other(file: BinaryIO, path: Path) -> Any:
    """A file of torch before 1.6: pickles, then each storage behind the number of its values."""
    if safe_npy.unpickle(file, path) != MAGIC or safe_npy.unpickle(file, path) != PROTOCOL:
        raise checks.DataFileError(path, "was not written by torch.save", COPY_AGAIN)
    about = safe_npy.unpickle(file, path)
    if not isinstance(about, dict) or about.get("little_endian") is not True:
        raise checks.DataFileError(path, "was written on another kind of machine", "Save it again.")
    start, size = file.tell(), path.stat().st_size
    storages: dict[str, tuple[np.dtype, int]] = {}

    def note(pid: Any) -> None:
        dtype, key, n = _storage(pid, path)
        storages[key] = dtype, n

    forgotten = {name: (lambda *_: None) for name in _known(path) if name[1].startswith("_rebuild")}
    safe_npy.unpickle(file, path, known=_known(path) | forgotten, outside=note)
    keys = safe_npy.unpickle(file, path)
    found: dict[str, tuple[safe_npy.Stretch, np.dtype]] = {}
    at = file.tell()
    for key in keys:
        dtype, n = storages[key]
        file.seek(at)
        (held,) = struct.unpack("<q", file.read(COUNT_BYTES))
        stretch = safe_npy.Stretch(at + COUNT_BYTES, n * dtype.itemsize)
        at = stretch.offset + stretch.size
        if held != n or n < 0 or at > size:
            raise checks.DataFileError(path, f"lacks the {n} values of a tensor", COPY_AGAIN)
        found[key] = stretch, dtype
    file.seek(start)
    return safe_npy.unpickle(
        file, path, known=_known(path), outside=lambda pid: found[_storage(pid, path)[1]]
    )


def _storage(pid: Any, path: Path) -> tuple[np.dtype, str, int]:
    """Type, key and number of values of the storage that a pickle refers to."""
    kind, dtype, key, _, n, *part = pid
    if kind != "storage" or not isinstance(dtype, np.dtype) or any(p is not None for p in part):
        raise checks.DataFileError(path, f"refers to {kind!r} outside of its pickle", COPY_AGAIN)
    return dtype, str(key), int(n)


def _known(path: Path) -> dict[tuple[str, str], Any]:
    def tensor(storage: Any, first: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
        where, dtype = storage
        return _tensor(path, where, dtype, first, tuple(shape), tuple(strides))

    known: dict[tuple[str, str], Any] = {("torch", n): np.dtype(d) for n, d in STORAGES.items()}
    return known | {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("collections", "OrderedDict"): OrderedDict,
    }


def _members(file: BinaryIO, path: Path) -> dict[str, safe_npy.Stretch]:
    """Where the content of each member of the zip file lies; compressed ones are refused (torch writes none)."""
    found = {}
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    for entry in entries:
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER)
        n_name, n_extra = struct.unpack("<HH", header[26:30])
        start = entry.header_offset + LOCAL_HEADER + n_name + n_extra
        if entry.compress_type != zipfile.ZIP_STORED or start + entry.file_size > size:
            raise checks.DataFileError(path, f"has no plain member {entry.filename!r}", COPY_AGAIN)
        found[entry.filename] = safe_npy.Stretch(start, entry.file_size)
    return found


def _tensor(
    path: Path,
    where: safe_npy.Stretch,
    dtype: np.dtype,
    first: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> np.ndarray:
    n_values = where.size // dtype.itemsize
    last = first + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    empty = 0 in shape
    # A tensor of more values than its storage repeats some, and could ask for any amount of memory.
    if first < 0 or min((*shape, *strides), default=0) < 0 or math.prod(shape) > n_values:
        raise checks.DataFileError(path, f"holds {n_values} values for a tensor {shape}", COPY_AGAIN)
    if not empty and last >= n_values:
        found = f"holds {n_values} values for a tensor of {dtype} {shape} from {first} on"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    if empty:
        return np.empty(shape, dtype=dtype)
    held = safe_npy.Stretch(where.offset, n_values * dtype.itemsize).mapped(path, dtype, (n_values,))
    steps = tuple(step * dtype.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(held[first:], shape, steps, subok=True, writeable=False)
