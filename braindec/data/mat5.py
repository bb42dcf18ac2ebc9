"""MATLAB files of version 5: variables by name with their shape and type checked, structs as dictionaries."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import mat5_walk
from braindec.data.damage import COPY_AGAIN, reading

MOST_VALUES_A_BYTE = 1032  # what deflate reaches at most


def shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Shape of each variable by name; only headers are read.

    Raises
    ------
    DataFileError
        If the file is damaged, or no MATLAB file of version 5.
    """
    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    path = checks.existing_file(path, "Check the path.")
    mat5_walk.check(path)
    with reading(path, MatReadError, zlib.error):
        return {name: tuple(int(n) for n in shape) for name, shape, _ in whosmat(path)}


def load(path: str | Path, names: Sequence[str], *, optional: Sequence[str] = ()) -> dict[str, Any]:
    """The variables by name; structs are dictionaries, cells are object arrays, single values are themselves.

    Raises
    ------
    DataFileError
        If the file is damaged, no MATLAB file of version 5, or lacks one of `names`; says which it has.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path, shape_of = Path(path), shapes(path)
    with reading(path, MatReadError, zlib.error):
        there = list(shape_of)
        if not set(names) <= set(there):
            lacking = [n for n in names if n not in there]
            raise checks.DataFileError(path, f"lacks {lacking}; it has {sorted(there)}", COPY_AGAIN)
        wanted = [*names, *(n for n in optional if n in there)]
        for name in wanted:  # a damaged shape asks for more memory than there is
            if math.prod(shape_of[name]) > MOST_VALUES_A_BYTE * path.stat().st_size:
                found = f"says that {name!r} has the shape {shape_of[name]}, more than its bytes hold"
                raise checks.DataFileError(path, found, COPY_AGAIN)
        held = loadmat(path, variable_names=wanted, simplify_cells=True)
    return {name: held[name] for name in wanted}


def field(path: Path, struct: Any, *names: str) -> Any:
    """What lies at ``a.b.c`` of a struct; a missing field is named with those that are there."""
    found = struct
    for i, name in enumerate(names):
        if not isinstance(found, Mapping) or name not in found:
            there = sorted(found) if isinstance(found, Mapping) else type(found).__name__
            said = f"lacks the field {'.'.join(names[: i + 1])!r}; it has {there}"
            raise checks.DataFileError(path, said, COPY_AGAIN)
        found = found[name]
    return found


def numbers(path: Path, name: str, value: Any, shape: Sequence[int | None]) -> np.ndarray:
    """The value as float64 of this shape (None: any length), NaN kept; another kind or shape is refused."""
    array = np.asarray(value)
    size = int(np.prod([n for n in shape if n is not None]))
    if array.ndim < len(shape) and array.size and array.size % size == 0:  # singletons were squeezed away
        array = array.reshape([-1 if n is None else n for n in shape])
    fits = array.ndim == len(shape) and all(
        want is None or want == n for want, n in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in "fiub" or not fits:
        expected = tuple("any" if n is None else n for n in shape)
        said = f"holds {name!r} as {array.dtype} {array.shape}, expected numbers {expected}"
        raise checks.DataFileError(path, said, COPY_AGAIN)
    return array.astype(np.float64)


def texts(path: Path, name: str, value: Any) -> list[str]:
    """A cell array of text as a list; anything else is refused."""
    cells = [value] if isinstance(value, str) else np.asarray(value, dtype=object).ravel().tolist()
    if not all(isinstance(cell, str) for cell in cells):
        kinds = sorted({type(cell).__name__ for cell in cells})
        raise checks.DataFileError(path, f"holds {name!r} as {kinds}, expected text", COPY_AGAIN)
    return [str(cell).strip() for cell in cells]
