"""NIfTI files read whole or not at all: the gzip checksum is verified and the header must explain the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, drained_size, finite, reading
from braindec.types import VoxelSpace

SECONDS = {
    "sec": 1.0,
    "msec": 1e-3,
    "usec": 1e-6,
    "unknown": 1.0,
}  # nibabel's words for the unit of the fourth axis


def load(path: str | Path) -> Any:
    """A nibabel image whose file was checked; its data are still on disk.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``. (Plain ``.nii`` has no checksum: only a wrong size can be noticed.)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataFileError
        If the file is damaged, truncated, or larger than its header says.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    path = checks.existing_file(path, "Check the path.")
    with reading(path, ImageFileError, HeaderDataError):
        image: Any = nibabel.load(path)
        header = image.header
        proxy = image.dataobj
        expected = int(proxy.offset) + int(np.prod(image.shape, dtype=np.int64)) * proxy.dtype.itemsize
        affine = np.asarray(image.affine)
        slope, inter = header.get_slope_inter()
    size = drained_size(path, expected)
    if size != expected:
        raise checks.DataFileError(path, f"holds {size} bytes but its header asks for {expected}", COPY_AGAIN)
    numbers = [*affine.ravel(), 1.0 if slope is None else slope, 0.0 if inter is None else inter]
    if not np.isfinite(numbers).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise checks.DataFileError(path, "has no usable affine or scaling in its header", COPY_AGAIN)
    return image


def values(image: Any, path: str | Path, dtype: Any = np.float32) -> np.ndarray:
    """The image's data, scaled; NaN and infinities are refused."""
    with reading(path):
        data = np.asarray(image.dataobj, dtype=dtype)
    return finite(path, data)


def repetition_time(image: Any, path: str | Path) -> float:
    """Seconds a volume, from the header's fourth zoom and its unit."""
    with reading(path):
        zoom = float(image.header.get_zooms()[3])
        unit = SECONDS[image.header.get_xyzt_units()[1]]
    if not 0.05 <= zoom * unit <= 60:
        raise checks.DataFileError(path, f"says {zoom * unit} s a volume", "Give t_r (seconds) yourself.")
    return zoom * unit


def read_mask(path: str | Path) -> VoxelSpace:
    """The voxels above zero of a three-dimensional image, as a space.

    Raises
    ------
    DataFileError
        If the image is damaged, not three-dimensional or holds no voxel.
    """
    data, affine = read_volume(path)
    if not (data > 0).any():
        raise checks.DataFileError(path, "marks no voxel", "Choose another mask.")
    return VoxelSpace(data > 0, affine)


def read_volume(path: str | Path, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Data (x, y, z) and affine (4, 4) of an image of one volume."""
    image = load(path)
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise checks.DataFileError(
            path, f"has shape {shape}, expected one volume", "Choose a three-dimensional image."
        )
    return values(image, path, dtype).reshape(shape[:3]), np.asarray(image.affine, dtype=np.float64)


def same_grid(path: str | Path, image: Any, space: VoxelSpace) -> None:
    """Refuses an image whose grid is not the mask's."""
    if tuple(image.shape[:3]) != space.mask.shape or not np.allclose(image.affine, space.affine, atol=1e-3):
        found = f"has grid {tuple(image.shape[:3])}, the mask {space.mask.shape} (or another affine)"
        raise checks.DataFileError(path, found, "Resample the mask or choose the one of this image.")
