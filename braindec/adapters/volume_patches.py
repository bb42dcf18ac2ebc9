"""Volumes cut into cubes that mean the same in every subject: no layer of a subject's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.adapters import SubjectAdapter, check_signal
from braindec.types import SubjectSignal, VoxelSpace


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    cubes : tuple of int
        How many lie along each axis of the scanner or template: right, front, up. All voxels of a subject fill the box
        that they span, whatever its size, so subjects need no common template (and lie truer with one).
    side : int
        Cells along each edge of a cube. A cell holds the mean of the voxels in it, 0 where there are none.

    Notes
    -----
    A row of the shared values is a cube: a patch of a `masked_transformer` with ``patch=side**3``, which is then a
    vision transformer over volumes, as in Neuro-Vision to Language (Shen et al. 2024, arXiv:2404.19438). Nothing here
    is learned, so that a new subject needs no training. Cubes without a voxel of the subject stay in their row.
    """

    cubes: tuple[int, int, int] = (4, 4, 4)
    side: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "cubes", tuple(self.cubes))
        if len(self.cubes) != 3:
            raise checks.ConfigError(f"cubes must be three numbers, got {self.cubes}.")
        for n in (*self.cubes, self.side):
            checks.at_least("cubes and side", n, 1)


class VolumePatches(SubjectAdapter):
    """Means of the voxels in each cell, cells sorted by cube.

    Parameters
    ----------
    cells : int array, shape (n_voxels,)
        Number of each voxel's cell, in [0, n_cubes * side**3).
    config : Config
    """

    takes_map = False
    cells: Tensor
    share: Tensor

    def __init__(self, cells: np.ndarray, config: Config):
        super().__init__()
        self.signal_shape = (len(cells),)
        self.shared_shape = (math.prod(config.cubes), config.side**3)
        counts = np.bincount(cells, minlength=math.prod(self.shared_shape))
        self.register_buffer("cells", torch.from_numpy(cells))
        self.register_buffer("share", torch.from_numpy(1 / counts[cells]).float())

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_voxels) to (n_trials, n_cubes, side**3)."""
        made = signal.new_zeros(len(signal), math.prod(self.shared_shape))
        return made.index_add(1, self.cells, signal * self.share.to(signal)).unflatten(1, self.shared_shape)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: nothing is learned here."""
        return False


def cells_of(space: VoxelSpace, config: Config) -> np.ndarray:
    """The cell (n_voxels,) of each voxel: cubes in C order of their axes, and cells so within a cube."""
    indices = np.argwhere(space.mask)
    places = indices @ space.affine[:3, :3].T + space.affine[:3, 3]
    low, high = places.min(0), places.max(0)
    n = np.array(config.cubes) * config.side
    # A voxel on the far wall belongs to the last cell; an axis along which nothing extends has its first one alone.
    along = ((places - low) / np.maximum(high - low, 1e-9) * n).astype(np.int64).clip(0, n - 1)
    cube, inside = np.divmod(along, config.side)
    number = np.ravel_multi_index(tuple(cube.T), config.cubes)
    return np.asarray(number * config.side**3 + np.ravel_multi_index(tuple(inside.T), (config.side,) * 3))


def build(signal: SubjectSignal, config: Config) -> VolumePatches:
    """The adapter of one subject.

    Raises
    ------
    ValueError
        If the signal has a time axis, or its values are no voxels of a volume.
    """
    check_signal(signal, ("voxel",))
    if not isinstance(signal.space, VoxelSpace):
        raise ValueError(
            f"{signal.key}: volume_patches needs voxels of a volume, got {signal.space.kind}; use region_patches."
        )
    return VolumePatches(cells_of(signal.space, config), config)
