"""Betas as distributed by region (an array a region, .npy or HDF5) or by session (NIfTI), as rows of trials."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import hdf5, nifti, safe_npy
from braindec.data.damage import reading
from braindec.store import open_readonly
from braindec.types import ArraySpace, VoxelSpace

OTHER = "Check that betas and lists are of one subject and release, or copy the file again."


class RegionRows:
    """Arrays (trial, voxel) of several regions side by side, float32 by row, read on demand; may be pickled.

    Parameters
    ----------
    arrays : mapping of str to (path, key)
        By region; key is that of an HDF5 file, empty for an .npy file.
    n_trials : int
        That every array must have.

    Raises
    ------
    DataFileError
        If an array is missing, damaged or of another shape.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, arrays: Mapping[str, tuple[Path, str]], n_trials: int):
        self._arrays = dict(arrays)
        self.sizes: dict[str, int] = {n: _size(path, key, n_trials) for n, (path, key) in arrays.items()}
        self.shape = (n_trials, sum(self.sizes.values()))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions."""
        wanted = np.arange(len(self))[rows]
        if not len(wanted):
            return np.empty((0, self.shape[1]), dtype=np.float32)
        first, last = int(wanted.min()), int(wanted.max()) + 1
        parts = [_rows(path, key, first, last) for path, key in self._arrays.values()]
        return np.concatenate(parts, axis=1).astype(np.float32)[wanted - first]


class VolumeRows:
    """One session's volumes (x, y, z, trial) inside a mask, float32 by row; read whole when first asked for.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``.
    mask : bool array, shape (x, y, z)
    n_trials : int
        That the file must have.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, mask: np.ndarray, n_trials: int):
        self._path, self._mask = path, mask
        self._held: np.ndarray | None = None
        self.shape = (n_trials, int(mask.sum()))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions; NaN stay, for whoever counts them."""
        if self._held is None:
            self._held = self._read()
        return self._held[rows]

    def _read(self) -> np.ndarray:
        image = nifti.load(self._path)
        expected = (*self._mask.shape, self.shape[0])
        if tuple(image.shape) != expected:
            found = f"holds volumes {tuple(image.shape)}, expected {expected} (x, y, z, trial)"
            raise checks.DataFileError(self._path, found, OTHER)
        return _volumes(self._path, image, self._mask, self.shape[0])


def _volumes(path: Path, image: Any, mask: np.ndarray, n: int) -> np.ndarray:
    """Volume after volume through the file, so that no more than one is held beside the result."""
    proxy, out = image.dataobj, np.empty((n, int(mask.sum())), dtype=np.float32)
    size = int(np.prod(mask.shape)) * proxy.dtype.itemsize
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with reading(path), opened as file:
        file.read(int(proxy.offset))
        for trial in range(n):
            volume = np.frombuffer(file.read(size), dtype=proxy.dtype).reshape(mask.shape, order="F")
            out[trial] = volume[mask] * proxy.slope + proxy.inter
    return out


def region_space(sizes: Mapping[str, int]) -> ArraySpace:
    """Regions side by side; a name also without its hemisphere (``LHPPA`` and ``RHPPA`` are ``PPA``)."""
    of = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    regions = {name: of == i for i, name in enumerate(sizes)}
    return ArraySpace(len(of), _both_sides(regions))


def volume_space(mask: Path, regions: Mapping[str, Path]) -> tuple[VoxelSpace, np.ndarray]:
    """The voxels of a brain mask with named regions, and the mask.

    Raises
    ------
    DataFileError
        If a region is on another grid.
    """
    space = nifti.read_mask(mask)
    found = {}
    for name, path in regions.items():
        values, affine = nifti.read_volume(path)
        if values.shape != space.mask.shape or not np.allclose(affine, space.affine, atol=1e-3):
            said = f"has grid {values.shape}, the brain mask {space.mask.shape} (or another affine)"
            raise checks.DataFileError(path, said, "Get the regions of this subject.")
        found[name] = (values > 0)[space.mask]
    return VoxelSpace(space.mask, space.affine, _both_sides(found)), space.mask


def _both_sides(regions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(n[2:] for n in regions if n[:2] in ("LH", "RH"))
    joined = {n: np.any([regions[s + n] for s in ("LH", "RH") if s + n in regions], axis=0) for n in names}
    return {**regions, **joined}


def _size(path: Path, key: str, n_trials: int) -> int:
    checks.existing_file(path, "Get the betas of this subject again.")
    if key:
        shape, dtype = hdf5.require(path, key, shape=(None, None), axes="trial, voxel", way_out=OTHER)
    else:
        array = _npy(path)
        shape, dtype = array.shape, array.dtype
    if len(shape) != 2 or shape[0] != n_trials or dtype.kind != "f":
        said = f"{key!r} as " if key else ""
        found = f"holds {said}{dtype} {shape}, expected numbers ({n_trials}, any) (trial, voxel)"
        raise checks.DataFileError(path, found, OTHER)
    return int(shape[1])


def _rows(path: Path, key: str, first: int, last: int) -> np.ndarray:
    if not key:
        return np.asarray(_npy(path)[first:last])
    with reading(path), open_readonly(path) as file:
        return np.asarray(file[key][first:last])


def _npy(path: Path) -> np.ndarray:
    held = safe_npy.load(path)
    if not isinstance(held, np.ndarray):
        raise checks.DataFileError(
            path, f"holds a {type(held).__name__}, expected an array (trial, voxel)", OTHER
        )
    return held
