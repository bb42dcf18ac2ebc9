"""A run's BOLD images in the forms that fMRIPrep gives them: a volume, a surface in two files, or a CIFTI file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import bids, bids_surface, nifti, spaces
from braindec.data.bids_confounds import derived
from braindec.data.bids_settings import FmriSettings
from braindec.data.cifti import DenseSeries
from braindec.data.damage import reading
from braindec.types import VertexSpace, VoxelSpace

Place = VoxelSpace | VertexSpace
DENSE = ".dtseries.nii"


def on_surface(file: bids.BidsFile) -> bool:
    """Whether this is a run on a surface: the left file of a pair, or a dense series (its cortex is read)."""
    return bids_surface.is_left(file) or (file.suffix == "bold" and file.extension == DENSE)


def images(file: bids.BidsFile) -> tuple[Path, ...]:
    """The files of a run's signal: one, or of a surface two."""
    return bids_surface.pair(file) if bids_surface.is_surface(file) else (file.path,)


def space_of(root: Path, files: Sequence[bids.BidsFile], settings: FmriSettings) -> Place:
    """Which voxels, or vertices of a surface, are read; nothing is written.

    The own mask's where one is given, or else the voxels inside the brain masks of all runs. Of surfaces the vertices
    that have values in all runs.

    Raises
    ------
    FileNotFoundError
        If a run has no brain mask.
    DataFileError
        If the masks have no common grid or no common voxel.
    ConfigError
        If a mask is given for a surface.
    """
    if on_surface(files[0]):
        if settings.mask is not None:
            raise checks.ConfigError("fmri.mask is of voxels: leave it out for time series of a surface.")
        return _dense_space(files) if files[0].extension == DENSE else bids_surface.space_of(files)
    if settings.mask is not None:
        return nifti.read_mask(root / settings.mask)
    space: VoxelSpace | None = None
    for file in files:
        path = derived(file, "desc-brain_mask")
        checks.existing_file(
            path, "fMRIPrep writes it beside the BOLD image; or give a mask: --set fmri.mask=PATH."
        )
        one = nifti.read_mask(path)
        if space is not None:
            nifti.same_grid(path, nifti.load(path), space)
            one = VoxelSpace(one.mask & space.mask, space.affine)
        space = one
    if space is None or not space.mask.any():
        raise checks.DataFileError(
            files[0].path.parent, "has brain masks without a common voxel", "Check the masks."
        )
    return space


def _dense_space(files: Sequence[bids.BidsFile]) -> VertexSpace:
    """The cortex of dense series, the same in all runs."""
    first = DenseSeries(files[0].path).space
    for file in files[1:]:
        if not spaces.same(first, DenseSeries(file.path).space):
            found = f"holds other vertices than {files[0].path.name}"
            raise checks.DataFileError(file.path, found, "Take all runs from one fMRIPrep run.")
    return first


def header(file: bids.BidsFile, settings: FmriSettings) -> tuple[int, float | None]:
    """How many volumes there are, and how many seconds each takes where the file says so and it is asked."""
    if bids_surface.is_surface(file):
        return int(bids_surface.read(file)[0].shape[1]), None
    if file.extension == DENSE:
        dense = DenseSeries(file.path)
        return len(dense), dense.t_r if np.isfinite(dense.t_r) else None
    image = nifti.load(file.path)
    if len(image.shape) != 4:
        raise checks.DataFileError(
            file.path, f"has shape {image.shape}, expected (x, y, z, time)", "Choose the BOLD image."
        )
    return int(image.shape[3]), None if settings.t_r is not None else nifti.repetition_time(image, file.path)


def series(file: bids.BidsFile, space: Place) -> np.ndarray:
    """float32 (n_voxels or n_vertices, n_times)."""
    if isinstance(space, VertexSpace):
        if file.extension == DENSE:
            return np.ascontiguousarray(DenseSeries(file.path)[:].T)
        return bids_surface.series(file, space)
    image = nifti.load(file.path)
    nifti.same_grid(file.path, image, space)
    with reading(file.path):
        return np.asarray(image.dataobj, dtype=np.float32)[space.mask]


def without(space: Place, bad: np.ndarray) -> Place:
    """The space but for these voxels or vertices, bool (n_features,)."""
    if isinstance(space, VertexSpace):
        return bids_surface.without(space, bad)
    mask = space.mask.copy()
    mask[space.mask] = ~bad
    return VoxelSpace(mask, space.affine)


def words(space: Place) -> str:
    """What its features are."""
    return "vertices" if isinstance(space, VertexSpace) else "voxels inside the mask"
