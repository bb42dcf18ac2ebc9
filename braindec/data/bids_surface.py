"""fMRIPrep's time series on a surface: two GIFTI files a run, the left and the right hemisphere's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import bids, cifti, plain_arrays
from braindec.data.maps import FSAVERAGE
from braindec.types import VertexSpace

EXTENSION = ".func.gii"
SIDES = {"L": "CortexLeft", "R": "CortexRight"}


def is_left(file: bids.BidsFile) -> bool:
    """Whether this is the left file of a pair, which stands for both."""
    return (
        file.suffix == "bold"
        and file.extension == EXTENSION
        and file.entities.get("hemi") == "L"
        and file.entities.get("desc", "preproc") == "preproc"
    )


def is_surface(file: bids.BidsFile) -> bool:
    """Whether a recording lies on a surface."""
    return file.extension == EXTENSION


def pair(file: bids.BidsFile) -> tuple[Path, Path]:
    """Both files of a run.

    Raises
    ------
    FileNotFoundError
        If the right one is not there.
    """
    name = "_".join("hemi-R" if part == "hemi-L" else part for part in file.path.name.split("_"))
    return file.path, checks.existing_file(file.path.with_name(name), "Both hemispheres are needed.")


def read(file: bids.BidsFile) -> tuple[np.ndarray, np.ndarray]:
    """The series of either hemisphere, float32 (n_vertices, n_times); NaN stay.

    Raises
    ------
    DataFileError
        If a file is damaged or of the other hemisphere, or the two have other lengths.
    """
    left, right = (
        plain_arrays.read_surface(path, structure).T
        for path, structure in zip(pair(file), SIDES.values(), strict=True)
    )
    if left.shape[1] != right.shape[1]:
        found = f"holds {right.shape[1]} volumes, {file.path.name} holds {left.shape[1]}"
        raise checks.DataFileError(pair(file)[1], found, "Take both from one fMRIPrep run.")
    return left, right


def space_of(files: Sequence[bids.BidsFile]) -> VertexSpace:
    """The vertices that have a value other than 0 and NaN in all runs: without the medial wall, and what was not seen.

    Raises
    ------
    DataFileError
        If runs lie on other meshes, or have no common vertex.
    """
    kept: list[np.ndarray] | None = None
    for file in files:
        sides = [((s != 0) & ~np.isnan(s)).any(1) for s in read(file)]
        if kept is not None and [len(s) for s in sides] != [len(k) for k in kept]:
            found = (
                f"has {[len(s) for s in sides]} vertices, {files[0].path.name} has {[len(k) for k in kept]}"
            )
            raise checks.DataFileError(file.path, found, "Take all runs from one fMRIPrep run.")
        kept = sides if kept is None else [k & s for k, s in zip(kept, sides, strict=True)]
    if kept is None or not any(k.any() for k in kept):
        raise checks.DataFileError(
            files[0].path.parent, "has surfaces without a common vertex", "Check the runs."
        )
    mesh = _mesh(files[0], [len(k) for k in kept])
    return VertexSpace(mesh, np.flatnonzero(kept[0]), np.flatnonzero(kept[1]))


def series(file: bids.BidsFile, space: VertexSpace) -> np.ndarray:
    """The series of the space's vertices, float32 (n_vertices, n_times)."""
    left, right = read(file)
    return np.concatenate([left[space.left], right[space.right]])


def without(space: VertexSpace, bad: np.ndarray) -> VertexSpace:
    """The space but for these vertices, bool (n_vertices,)."""
    n = len(space.left)
    return replace(space, left=space.left[~bad[:n]], right=space.right[~bad[n:]])


def _mesh(file: bids.BidsFile, sizes: list[int]) -> str:
    """The mesh by the name of the space and the number of vertices: space-fsaverage_den-10k is fsaverage5."""
    space = file.entities.get("space", "unknown")
    if not space.startswith(("fsaverage", "fsLR")):  # a subject's own surface
        return space
    family = {name: n for n, name in cifti.MESHES.items()} if space == "fsLR" else FSAVERAGE
    named = [n for n, size in family.items() if sizes == [size, size]]
    if not named or (space in family and space not in ("fsaverage", *named)):
        found = f"has {sizes} vertices, which {space} has not"
        raise checks.DataFileError(file.path, found, "Correct the name, or take the file of that mesh.")
    return named[0]
