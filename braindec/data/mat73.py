"""Struct arrays in MATLAB files of version 7.3, which are HDF5: fields by element, text, numbers that may be empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks, contained
from braindec.data.damage import COPY_AGAIN

EMPTY = "MATLAB_empty"  # an attribute of arrays without values, which hold their shape instead


def elements(path: Path, struct: Any, field: str) -> list[Any]:
    """One field of every element of a struct array, as HDF5 objects; of a single struct the field itself.

    Parameters
    ----------
    path : Path
        Of the file, for messages.
    struct : h5py Group
    field : str

    Raises
    ------
    DataFileError
        If it is no struct, or has no such field; says which it has.
    """
    found = struct.get(field) if isinstance(struct, h5py.Group) else None
    if found is None:
        there = sorted(struct)[:12] if isinstance(struct, h5py.Group) else "no struct"
        raise checks.DataFileError(path, f"lacks the field {field!r}; it has {there}", COPY_AGAIN)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind != "O":
        return [found]
    return [contained.referred(path, struct.file, reference) for reference in found[()].ravel().tolist()]


def values(found: Any) -> np.ndarray:
    """The numbers of an array in MATLAB's order, float64 (n,); none where it is empty or no array of numbers."""
    plain = isinstance(found, h5py.Dataset) and found.dtype.kind in "fiub"
    if not plain or found.attrs.get(EMPTY, 0):
        return np.empty(0)
    return np.asarray(found[()], dtype=np.float64).ravel()


def text(found: Any) -> str:
    """A row of characters, stored as their codes."""
    return "".join(chr(int(code)) for code in values(found))
