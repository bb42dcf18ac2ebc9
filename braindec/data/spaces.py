"""Features of a space by region, and spaces restricted to some of their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from braindec import checks
from braindec.data.rows import RowsView
from braindec.types import ArraySpace, SensorSpace, Space, Trials, VertexSpace, VoxelSpace
from braindec.types.space_arrays import from_arrays, to_arrays

__all__ = ["from_arrays", "in_region", "members_of", "restrict", "same", "to_arrays"]


def members_of(space: Space, region: str | Sequence[str]) -> np.ndarray:
    """Which features lie in a region, or in any of several: bool (n_features,).

    Raises
    ------
    ConfigError
        If the space has no such region; the message lists the regions there are.
    ValueError
        If the region is empty.
    """
    names = [region] if isinstance(region, str) else list(region)
    members = np.zeros(space.n_features, dtype=bool)
    for name in names:
        members |= checks.known_key("region", name, space.regions)
    if not members.any():
        raise ValueError(
            f"region {names} holds none of the {space.n_features} features; choose another region."
        )
    return members


def restrict(space: Space, members: np.ndarray) -> Space:
    """The space of only these features, in their order, with its regions cut alike.

    Parameters
    ----------
    space : Space
    members : bool array, shape (n_features,)
    """
    if members.dtype != bool or members.shape != (space.n_features,):
        raise ValueError(
            f"members must be bool of shape ({space.n_features},), got {members.dtype} {members.shape}."
        )
    regions = {name: rows[members] for name, rows in space.regions.items()}
    if isinstance(space, VoxelSpace):
        mask = np.zeros_like(space.mask)
        mask[space.mask] = members
        return VoxelSpace(mask, space.affine, regions)
    if isinstance(space, VertexSpace):
        n_left = len(space.left)
        return VertexSpace(space.mesh, space.left[members[:n_left]], space.right[members[n_left:]], regions)
    if isinstance(space, SensorSpace):
        kept = np.flatnonzero(members)
        names, kinds = (tuple(values[i] for i in kept) for values in (space.names, space.kinds))
        return SensorSpace(names, space.positions[members], kinds, regions)
    return ArraySpace(int(members.sum()), regions)


def same(first: Space, second: Space) -> bool:
    """Whether two spaces are of one kind and equal in every array (regions apart)."""
    (config_a, arrays_a), (config_b, arrays_b) = to_arrays(first), to_arrays(second)
    if any(config_a[k] != config_b.get(k) for k in config_a if k != "regions"):
        return False
    own = [name for name in arrays_a if not name.startswith("region/")]
    return all(
        name in arrays_b and np.array_equal(arrays_a[name], arrays_b[name], equal_nan=True) for name in own
    )


def in_region(trials: Trials, region: str | Sequence[str]) -> Trials:
    """The trials within a region, or any of several; those of a space without regions as they are."""
    if not trials.space.regions:  # sensors beside voxels: a brain region cuts only what has regions
        return trials
    members = members_of(trials.space, region)
    kept = RowsView(trials.responses, np.arange(trials.n_trials), members)
    return replace(trials, responses=kept, space=restrict(trials.space, members))
