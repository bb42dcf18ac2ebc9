"""Values of features back to where they come from: volumes and NIfTI images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import nifti
from braindec.types import Space, VoxelSpace


def to_volume(values: np.ndarray, space: Space, fill: float = 0.0) -> np.ndarray:
    """Values of voxels in their volume, float32 (x, y, z) or (x, y, z, n_maps).

    Parameters
    ----------
    values : array, shape (n_voxels,) or (n_maps, n_voxels)
    space : VoxelSpace
    fill : float
        Value outside of the mask.
    """
    space = _voxels(space)
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (1, 2) or values.shape[-1] != space.n_features:
        raise ValueError(
            f"values has shape {values.shape} but the space has {space.n_features} voxels; they must match."
        )
    volume = np.full((*space.mask.shape, *values.shape[:-1]), fill, dtype=np.float32)
    volume[space.mask] = values.T
    return volume


def to_nifti(values: np.ndarray, space: Space, fill: float = 0.0) -> Any:
    """The same as a nibabel image; `image.to_filename(path)` writes it."""
    import nibabel

    return nibabel.Nifti1Image(to_volume(values, space, fill), _voxels(space).affine)


def from_nifti(path: str | Path, space: Space) -> np.ndarray:
    """Values of the space's voxels in an image on its grid, float32 (n_voxels,) or (n_maps, n_voxels).

    Raises
    ------
    DataFileError
        If the image is damaged or on another grid.
    """
    space = _voxels(space)
    image = nifti.load(path)
    nifti.same_grid(path, image, space)
    return np.ascontiguousarray(nifti.values(image, path)[space.mask].T)


def _voxels(space: Space) -> VoxelSpace:
    if not isinstance(space, VoxelSpace):
        way_out = "Only voxels have a place in a volume."
        checks.same_space("space", space.kind, "voxels", way_out)
    return checks.of_type("space", space, VoxelSpace)
