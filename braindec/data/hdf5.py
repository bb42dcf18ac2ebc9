"""One dataset of somebody else's HDF5 file, with what it must be: a file that is not says key, expected and found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading
from braindec.store import open_readonly


def require(
    path: str | Path,
    key: str,
    *,
    dtype: Any = None,
    shape: Sequence[int | None] | None = None,
    axes: str = "",
    way_out: str = COPY_AGAIN,
) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a dataset, refused when they are not the expected ones.

    Parameters
    ----------
    path : path
    key : str
    dtype : numpy type, optional
    shape : sequence of int or None, optional
        None stands for any length of that axis.
    axes : str
        Names of the axes, for the message.
    way_out : str

    Raises
    ------
    DataFileError
        If the file cannot be read, lacks the key, or holds something else under it.
    """
    path = checks.existing_file(path, way_out)
    with reading(path, way_out=way_out), open_readonly(path) as file:
        found = file.get(key)
        if not isinstance(found, h5py.Dataset):
            raise checks.DataFileError(path, f"lacks the dataset {key!r}; it has {sorted(file)[:8]}", way_out)
        held, kind = tuple(int(n) for n in found.shape), found.dtype
    good = shape is None or (
        len(held) == len(shape) and all(b in (a, None) for a, b in zip(held, shape, strict=True))
    )
    if not good or (dtype is not None and kind != np.dtype(dtype)):
        wanted = "" if dtype is None else f"{np.dtype(dtype)} "
        lengths = "" if shape is None else f"({', '.join('any' if n is None else str(n) for n in shape)})"
        said = f"holds {key!r} as {kind} {held}, expected {wanted}{lengths}{f' ({axes})' if axes else ''}"
        raise checks.DataFileError(path, said, way_out)
    return held, kind
