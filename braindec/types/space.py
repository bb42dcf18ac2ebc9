"""Where in the head (or on it) each measured value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from braindec import checks


def _check_regions(regions: Mapping[str, np.ndarray], n: int) -> None:
    for name, members in regions.items():
        if members.dtype != bool or members.shape != (n,):
            raise ValueError(
                f"region {name!r} must be boolean of shape ({n},), got {members.dtype} {members.shape}."
            )


@dataclass(frozen=True, eq=False)
class VoxelSpace:
    """Voxels of a volume.

    Parameters
    ----------
    mask : bool array, shape (x, y, z)
        True where a voxel is kept; voxels are ordered as ``np.nonzero(mask)`` orders them (C order).
    affine : float array, shape (4, 4)
        Voxel indices to scanner or template millimetres.
    regions : mapping of str to bool array, shape (n_voxels,)
        Named sets of voxels.
    """

    mask: np.ndarray
    affine: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind = "voxels"

    def __post_init__(self) -> None:
        checks.n_axes("mask", self.mask, ("x", "y", "z"))
        if self.mask.dtype != bool or self.affine.shape != (4, 4):
            raise ValueError(f"mask must be bool, affine (4, 4); got {self.mask.dtype}, {self.affine.shape}.")
        _check_regions(self.regions, self.n_features)

    @property
    def n_features(self) -> int:
        """Number of voxels inside the mask."""
        return int(self.mask.sum())


@dataclass(frozen=True, eq=False)
class VertexSpace:
    """Vertices of a cortical surface mesh, left hemisphere first.

    Parameters
    ----------
    mesh : str
        Name of the mesh, e.g. ``"fsaverage5"``.
    left, right : int array
        Vertex numbers kept on each hemisphere.
    regions : mapping of str to bool array, shape (n_vertices,)
    """

    mesh: str
    left: np.ndarray
    right: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind = "vertices"

    def __post_init__(self) -> None:
        _check_regions(self.regions, self.n_features)

    @property
    def n_features(self) -> int:
        """Number of vertices kept on both hemispheres."""
        return len(self.left) + len(self.right)


@dataclass(frozen=True, eq=False)
class SensorSpace:
    """Sensors on or over the head.

    Parameters
    ----------
    names : tuple of str
        Channel names, unique, in the order of the channel axis.
    positions : float array, shape (n_channels, 3)
        Metres in the head frame; NaN where unknown.
    kinds : tuple of str
        ``"eeg"``, ``"mag"``, ``"grad"``, ``"seeg"``, ... for each channel.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    kinds: tuple[str, ...]
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind = "sensors"

    def __post_init__(self) -> None:
        checks.unique("channel names", self.names)
        checks.same_length("channel", names=self.names, positions=self.positions, kinds=self.kinds)
        _check_regions(self.regions, self.n_features)

    @property
    def n_features(self) -> int:
        """Number of channels."""
        return len(self.names)


@dataclass(frozen=True, eq=False)
class ArraySpace:
    """Features whose place is not known (a plain array).

    Parameters
    ----------
    n_features : int
    regions : mapping of str to bool array, shape (n_features,)
    """

    n_features: int
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    kind = "array"

    def __post_init__(self) -> None:
        checks.at_least("n_features", self.n_features, 1)
        _check_regions(self.regions, self.n_features)


Space = VoxelSpace | VertexSpace | SensorSpace | ArraySpace
