"""Spaces taken apart into named arrays and JSON, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braindec import checks
from braindec.types.space import ArraySpace, SensorSpace, Space, VertexSpace, VoxelSpace


def to_arrays(space: Space) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A space as JSON values and arrays (no text among the arrays), undone by `from_arrays`.

    Parameters
    ----------
    space : Space

    Returns
    -------
    config : dict
        JSON: kind, and what is text or a single number.
    arrays : dict of str to array
        Mask, affine, vertices or positions; regions as ``region/<name>``, bool (n_features,).
    """
    config: dict[str, Any] = {"kind": space.kind, "regions": list(space.regions)}
    arrays: dict[str, np.ndarray] = {
        f"region/{name}": np.asarray(rows) for name, rows in space.regions.items()
    }
    if isinstance(space, VoxelSpace):
        arrays |= {"mask": space.mask, "affine": np.asarray(space.affine, dtype=np.float64)}
    elif isinstance(space, VertexSpace):
        config["mesh"] = space.mesh
        arrays |= {"left": np.asarray(space.left), "right": np.asarray(space.right)}
    elif isinstance(space, SensorSpace):
        config |= {"names": list(space.names), "kinds": list(space.kinds)}
        arrays["positions"] = np.asarray(space.positions, dtype=np.float64)
    else:
        config["n_features"] = int(space.n_features)
    return config, arrays


def from_arrays(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Space:
    """The space that `to_arrays` took apart.

    Raises
    ------
    ConfigError
        If the kind is unknown or an array is missing.
    """
    kind = checks.one_of("kind of space", config.get("kind"), ("voxels", "vertices", "sensors", "array"))

    def get(name: str) -> np.ndarray:
        return checks.known_key("array of the space", name, arrays)

    regions = {name: get(f"region/{name}").astype(bool) for name in config.get("regions", [])}
    if kind == "voxels":
        return VoxelSpace(get("mask").astype(bool), get("affine"), regions)
    if kind == "vertices":
        return VertexSpace(str(config["mesh"]), get("left"), get("right"), regions)
    if kind == "sensors":
        return SensorSpace(tuple(config["names"]), get("positions"), tuple(config["kinds"]), regions)
    return ArraySpace(int(config["n_features"]), regions)
