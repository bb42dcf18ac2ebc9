"""The containers of BData: HDF5 of bdpy (old and new key names), and MATLAB files of versions 5 and 7.3."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks, contained
from braindec.data import mat5_walk
from braindec.data.damage import COPY_AGAIN, reading
from braindec.store import open_readonly

DATA = ("dataset", "dataSet")  # new and old name of the samples
META = ("metadata", "metaData")
FIELDS = ("key", "description", "value")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
OTHER_FILE = "Choose a file of bdpy or BrainDecoderToolbox2, or copy it again."


@dataclass(frozen=True, eq=False)
class Meta:
    """What a BData file says of its columns.

    Parameters
    ----------
    keys, descriptions : tuple of str
    values : float64 array, shape (n_keys, n_columns)
        NaN where a key says nothing of a column.
    labels : mapping of str to mapping of float to str
        For columns of numbers that stand for names (``vmap``).
    n_samples : int
    """

    keys: tuple[str, ...]
    descriptions: tuple[str, ...]
    values: np.ndarray
    labels: dict[str, dict[float, str]]
    n_samples: int


@dataclass(eq=False)
class Samples:
    """Samples by columns of one file, read on demand; may be pickled.

    Parameters
    ----------
    path : Path
    kind : str
        ``"hdf5"`` (sample, column), ``"mat73"`` (column, sample) or ``"mat5"``, which scipy reads whole.
    name : str
        ``dataset`` or ``dataSet``.
    """

    path: Path
    kind: str
    name: str
    _whole: np.ndarray | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_whole": None}

    def read(self, rows: slice) -> np.ndarray:
        """All columns of some samples, (n, n_columns) as stored."""
        if self.kind == "mat5":
            if self._whole is None:
                self._whole = np.asarray(_load_mat5(self.path)[self.name])
            return self._whole[rows]
        with reading(self.path), open_readonly(self.path) as file:
            data = file[self.name]
            return data[rows] if self.kind == "hdf5" else data[:, rows].T


def open_file(path: str | Path) -> tuple[Samples, Meta]:
    """What a BData file holds: samples that are still on disk, and what its columns are.

    Raises
    ------
    DataFileError
        If the file is damaged, is no BData, or its metadata do not fit its samples.
    """
    path = checks.existing_file(path, "Check the path.")
    kind = _kind(path)
    samples, meta, shape = _from_mat5(path) if kind == "mat5" else _from_hdf5(path, kind)
    if meta.values.shape != (len(meta.keys), shape[1]):
        found = (
            f"holds metadata values of shape {meta.values.shape}, expected {(len(meta.keys), shape[1])} "
            "(key, column of the samples)"
        )
        raise checks.DataFileError(path, found, COPY_AGAIN)
    if len(set(meta.keys)) != len(meta.keys):
        raise checks.DataFileError(path, "names a metadata key more than once", COPY_AGAIN)
    return samples, meta


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(520)
    if start.startswith(HDF5_MAGIC):
        return "hdf5"
    if start[512:520] == HDF5_MAGIC:  # MATLAB puts 512 bytes of its own before
        return "mat73"
    if start.startswith(b"MATLAB 5.0"):
        return "mat5"
    raise checks.DataFileError(path, "is neither HDF5 nor a MATLAB file of version 5 or 7.3", OTHER_FILE)


def _from_hdf5(path: Path, kind: str) -> tuple[Samples, Meta, tuple[int, int]]:
    with reading(path), open_readonly(path) as file:
        name, meta_name = _named(path, file, DATA), _named(path, file, META)
        lacking = [f for f in FIELDS if f not in file[meta_name]]
        if lacking:
            raise checks.DataFileError(path, f"lacks {[f'{meta_name}/{f}' for f in lacking]}", OTHER_FILE)
        shape = _samples_shape(path, name, file[name].shape, file[name].dtype)
        values = np.asarray(file[meta_name]["value"], dtype=np.float64)
        if kind == "mat73":
            shape, values = shape[::-1], values.T
            keys, descriptions = (_cell_text(file, file[meta_name][f]) for f in FIELDS[:2])
        else:
            keys, descriptions = (tuple(map(_text, file[meta_name][f][()].tolist())) for f in FIELDS[:2])
        meta = Meta(keys, descriptions, values, _labels(file), shape[0])
    return Samples(path, kind, name), meta, shape


def _from_mat5(path: Path) -> tuple[Samples, Meta, tuple[int, int]]:
    held = _load_mat5(path)
    name, meta_name = _named(path, held, DATA), _named(path, held, META)
    with reading(path):
        data, struct = np.asarray(held[name]), held[meta_name]
        if struct.dtype.names is None or not set(FIELDS) <= set(struct.dtype.names):
            raise checks.DataFileError(
                path, f"holds {meta_name!r} without the fields {list(FIELDS)}", OTHER_FILE
            )
        fields = {f: struct[f][0, 0] for f in FIELDS}
        keys, descriptions = (
            tuple(str(cell.item() if cell.size else "").strip() for cell in fields[f].ravel())
            for f in FIELDS[:2]
        )
        values = np.asarray(fields["value"], dtype=np.float64)
    shape = _samples_shape(path, name, data.shape, data.dtype)
    return Samples(path, "mat5", name, data), Meta(keys, descriptions, values, {}, shape[0]), shape


def _load_mat5(path: Path) -> dict[str, Any]:
    import zlib

    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    mat5_walk.check(path)
    with reading(path, MatReadError, zlib.error):
        return loadmat(path, variable_names=[*DATA, *META])


def _named(path: Path, held: Any, names: tuple[str, str]) -> str:
    for name in names:
        if name in held:
            return name
    there = sorted(k for k in held if not k.startswith("__"))[:8]
    raise checks.DataFileError(
        path, f"lacks {names[0]!r} (or {names[1]!r}, its old name); it has {there}", OTHER_FILE
    )


def _samples_shape(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    if len(shape) != 2 or dtype.kind not in "fiu" or 0 in shape:
        found = f"holds {name!r} as {dtype} {tuple(shape)}, expected numbers (sample, column)"
        raise checks.DataFileError(path, found, OTHER_FILE)
    return int(shape[0]), int(shape[1])


def _labels(file: h5py.File) -> dict[str, dict[float, str]]:
    """``/vmap/<key>/<number as text>``: the name that each number of a column stands for."""
    if "vmap" not in file:
        return {}
    return {key: {float(k): _text(v[()]) for k, v in group.items()} for key, group in file["vmap"].items()}


def _cell_text(file: h5py.File, cells: h5py.Dataset) -> tuple[str, ...]:
    """A MATLAB cell array of text: references to arrays of character codes."""
    path = Path(file.filename)
    codes = (np.asarray(contained.referred(path, file, cell)).ravel() for cell in cells[()].ravel())
    return tuple("".join(map(chr, c.tolist())).strip() if c.dtype == np.uint16 else "" for c in codes)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
