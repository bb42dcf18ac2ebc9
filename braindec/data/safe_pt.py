"""Dictionaries saved by torch (`.pt`) read without running what a pickle can run; large arrays stay in the file."""

from __future__ import annotations

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


def load(path: str | Path) -> Any:
    """What `torch.save` wrote, tensors as numpy arrays; large arrays and all tensors are read-only maps of the file.

    Parameters
    ----------
    path : path
        A ``.pt`` file in torch's zip format (1.6 and later).

    Returns
    -------
    object
        Numbers, text, lists, dictionaries, numpy arrays; contiguous tensors as numpy arrays.

    Raises
    ------
    DataFileError
        If the file is damaged, or asks for anything else when it is opened.
    """
    path = checks.existing_file(path, "Check the path.")
    with (
        reading(path, pickle.UnpicklingError, tokenize.TokenError, zipfile.BadZipFile),
        path.open("rb") as file,
    ):
        members = _members(file, path)
        name = next((n for n in members if n.endswith("/data.pkl")), None)
        if name is None:
            raise checks.DataFileError(path, "holds no data.pkl", "Save it again with torch 1.6 or later.")
        folder = name.removesuffix("data.pkl")

        def outside(pid: Any) -> tuple[safe_npy.Stretch, np.dtype]:
            kind, dtype, key, *_ = pid
            if kind != "storage" or not isinstance(dtype, np.dtype):
                raise checks.DataFileError(path, f"refers to {kind!r} outside of its pickle", COPY_AGAIN)
            return members[f"{folder}data/{key}"], dtype

        def tensor(storage: Any, first: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
            where, dtype = storage
            return _tensor(path, where, dtype, first, tuple(shape), tuple(strides))

        known: dict[tuple[str, str], Any] = {("torch", n): np.dtype(d) for n, d in STORAGES.items()}
        known |= {
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("collections", "OrderedDict"): OrderedDict,
        }
        content = members[name]
        file.seek(content.offset)
        return safe_npy.unpickle(file, path, end=content.offset + content.size, known=known, outside=outside)


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
    step = 1
    contiguous: list[int] = []
    for n in reversed(shape):
        contiguous.insert(0, step)
        step *= max(1, n)
    if any(n > 1 and a != b for n, a, b in zip(shape, strides, contiguous, strict=True)):
        raise checks.DataFileError(
            path, "holds a tensor that is a view", "Save it again as tensor.contiguous()."
        )
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    offset = first * dtype.itemsize
    if first < 0 or offset + n_bytes > where.size:
        found = f"holds {where.size} bytes for a tensor of {dtype} {shape} from {offset} on"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return safe_npy.Stretch(where.offset + offset, n_bytes).mapped(path, dtype, shape)
