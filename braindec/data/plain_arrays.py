"""Trials that already are arrays, in the containers in which people keep them: npy, npz, GIFTI and MGH of surfaces."""

from __future__ import annotations

import lzma
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import mgh, xml_inside
from braindec.data.damage import COPY_AGAIN, reading

NAMES = ("arrays.npy", "arrays.npz")
SUFFIXES = (".func.gii", ".gii", ".mgh", ".mgz")
AGAIN = "Save it with numpy.save, a row a trial."


@dataclass(frozen=True, eq=False)
class Found:
    """The files of one array, and what they hold.

    Parameters
    ----------
    files : tuple of Path
    responses : array, shape (n_trials, n_features) or (n_trials, n_channels, n_times)
        Of a surface all vertices that are not zero in every trial, left hemisphere first.
    vertices : (int array, int array) or None
        Of a surface: the numbers of these vertices on either hemisphere.
    """

    files: tuple[Path, ...]
    responses: np.ndarray
    vertices: tuple[np.ndarray, np.ndarray] | None = None


def files(folder: Path) -> tuple[Path, ...]:
    """``arrays.npy``, ``arrays.npz``, or ``lh.arrays.X`` and ``rh.arrays.X`` of a folder; empty where none is."""
    for name in NAMES:
        if (folder / name).is_file():
            return (folder / name,)
    for suffix in SUFFIXES:
        pair = tuple(folder / f"{side}.arrays{suffix}" for side in ("lh", "rh"))
        if any(path.is_file() for path in pair):
            return tuple(checks.existing_file(path, "Both hemispheres are needed.") for path in pair)
    return ()


def load(folder: Path) -> Found:
    """The trials of a folder; an .npy file stays on disk, others are read whole.

    Raises
    ------
    DataFileError
        If a file is damaged, or does not hold numbers, a row (of surfaces: a map) a trial.
    """
    paths = files(folder)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no {NAMES[0]}. It holds a row a trial.")
    if len(paths) == 2:
        sides = [read_surface(path) for path in paths]
        if len({len(side) for side in sides}) != 1:
            found = f"holds {len(sides[1])} maps, {paths[0].name} {len(sides[0])}; a trial has one in each"
            raise checks.DataFileError(paths[1], found, COPY_AGAIN)
        kept = [np.flatnonzero((side != 0).any(0)) for side in sides]
        values = np.concatenate([side[:, k] for side, k in zip(sides, kept, strict=True)], axis=1)
        return Found(paths, values, (kept[0], kept[1]))
    (path,) = paths
    if path.suffix == ".npz":
        return Found(paths, read_npz(path))
    with reading(path):
        return Found(paths, np.load(path, mmap_mode="r", allow_pickle=False))


def read_npz(path: str | Path) -> np.ndarray:
    """The one array of an .npz file, whose checksum is verified.

    Raises
    ------
    DataFileError
        If the file is damaged, or holds no or several arrays, or objects.
    """
    path = checks.existing_file(path, "Check the path.")
    with reading(path, zipfile.BadZipFile, struct.error, lzma.LZMAError), zipfile.ZipFile(path) as held:
        names = held.namelist()
        if len(names) != 1:
            raise checks.DataFileError(path, f"holds {names or 'nothing'}, expected one array", AGAIN)
        if held.testzip() is not None:
            raise checks.DataFileError(path, f"fails the checksum of {names[0]!r}", COPY_AGAIN)
        with held.open(names[0]) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def read_surface(path: str | Path, structure: str | None = None) -> np.ndarray:
    """The maps of one hemisphere, float32 (n_maps, n_vertices): GIFTI, or ``.mgh`` and ``.mgz``.

    Parameters
    ----------
    path : path
    structure : str, optional
        What a GIFTI file may not contradict: ``"CortexLeft"`` or ``"CortexRight"``.

    Raises
    ------
    DataFileError
        If the file is damaged, keeps its values elsewhere, is of another structure, or holds anything but maps of
        numbers of one mesh.
    """
    path = checks.existing_file(path, "Check the path.")
    return _gifti(path, structure) if path.suffix == ".gii" else _mgh(path)


def _gifti(path: Path, structure: str | None) -> np.ndarray:
    from xml.parsers.expat import ExpatError

    import nibabel

    with reading(path, ExpatError):
        image: Any = nibabel.GiftiImage.from_bytes(xml_inside.check(path, path.read_bytes()))
        maps = [np.asarray(array.data) for array in image.darrays]
        said = image.meta.get("AnatomicalStructurePrimary", structure)
    if structure is not None and said != structure:
        raise checks.DataFileError(
            path, f"is of {said}, not of {structure}", "Correct the name, or copy it again."
        )
    shapes = {m.shape for m in maps}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or any(m.dtype.kind not in "fiu" for m in maps):
        found = f"holds arrays of the shapes {sorted(shapes)}, expected one of every vertex a trial"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return np.stack(maps).astype(np.float32)


def _mgh(path: Path) -> np.ndarray:
    values = mgh.values(path)
    if values.shape[1:3] != (1, 1) or values.dtype.kind not in "fiu":
        found = f"holds {values.dtype} {values.shape}, expected numbers (vertex, 1, 1, trial)"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return np.ascontiguousarray(values.reshape(len(values), -1).T, dtype=np.float32)
