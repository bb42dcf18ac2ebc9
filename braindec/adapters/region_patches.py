"""Voxels sorted by region and pooled to equally many patches in each: rows that mean the same in every subject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from braindec import checks
from braindec.adapters import SubjectAdapter, check_signal
from braindec.types import SubjectSignal
from braindec.types.space import Space


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    regions : tuple of str
        In this order; a voxel of several belongs to the first of them.
    rest : bool
        Voxels of no named region come last, as a region of their own; else they are left out. Without names all voxels
        are this one region, in the order of the signal.
    n_patches : int
        Patches of each region.
    patch : int
        Values of a patch. A region's voxels are averaged with their neighbours down to ``n_patches * patch`` values,
        or repeated where there are fewer.

    Notes
    -----
    A row of the shared values is one patch of a `masked_transformer` that has the same `patch`. MinD-Vis (Chen et al.
    2023, arXiv:2211.06956) cuts its voxels into patches of 16, and repeats voxels where a subject has fewer.
    """

    regions: tuple[str, ...] = ()
    rest: bool = True
    n_patches: int = 16
    patch: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))
        checks.unique("regions", self.regions)
        if not self.regions and not self.rest:
            raise checks.ConfigError(
                "regions names none and rest is false: no voxel is left; set one of them."
            )
        checks.at_least("n_patches", self.n_patches, 1)
        checks.at_least("patch", self.patch, 1)


class RegionPatches(SubjectAdapter):
    """Sorted voxels pooled region by region, then a gain and a bias for every value.

    Parameters
    ----------
    members : sequence of int arrays
        The voxels of each region; an empty region gives zeros.
    n_voxels : int
    config : Config
    """

    takes_map = False
    order: Tensor

    def __init__(self, members: list[np.ndarray], n_voxels: int, config: Config):
        super().__init__()
        self.signal_shape = (n_voxels,)
        self.n_values = config.n_patches * config.patch
        self.shared_shape = (len(members) * config.n_patches, config.patch)
        self.sizes = [len(m) for m in members]
        self.register_buffer("order", torch.from_numpy(np.concatenate(members)))
        n_shared = len(members) * self.n_values
        self.gain = nn.Parameter(torch.ones(n_shared))
        self.bias = nn.Parameter(torch.zeros(n_shared))

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_voxels) to (n_trials, n_regions * n_patches, patch)."""
        regions = signal[:, self.order].split(self.sizes, 1)
        pooled = torch.cat([self._pooled(values) for values in regions], 1)
        return (pooled * self.gain + self.bias).unflatten(1, self.shared_shape)

    def _pooled(self, values: Tensor) -> Tensor:
        """(n_trials, any number) to (n_trials, n_values)."""
        if not values.numel():  # torch pools nothing empty
            return values.new_zeros(len(values), self.n_values)
        return adaptive_avg_pool1d(values.unsqueeze(1), self.n_values).squeeze(1)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a map between different voxels has no place here."""
        return False


def members_of(space: Space, regions: tuple[str, ...], rest: bool) -> list[np.ndarray]:
    """Voxels of each region and, where the rest is asked for, of none.

    Raises
    ------
    ConfigError
        If the space has no such region.
    """
    left = np.ones(space.n_features, dtype=bool)
    found = []
    for name in regions:
        inside = checks.known_key("region", name, space.regions) & left
        found.append(np.flatnonzero(inside))
        left &= ~inside
    return [*found, np.flatnonzero(left)] if rest else found


def build(signal: SubjectSignal, config: Config) -> RegionPatches:
    """The adapter of one subject: gains of 1 and biases of 0.

    Raises
    ------
    ValueError
        If the signal has a time axis.
    ConfigError
        If the subject has no region of a name.
    """
    (n_voxels,) = check_signal(signal, ("voxel",))
    return RegionPatches(members_of(signal.space, config.regions, config.rest), n_voxels, config)
