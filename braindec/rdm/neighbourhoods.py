"""Who is near whom: spheres of voxels, disks of vertices along the cortex, and groups of sensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

from braindec import checks


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Channels around each centre.

    Parameters
    ----------
    members : int64 Tensor, shape (centre, member)
        Channel numbers; where `present` is False, any.
    present : bool Tensor, shape (centre, member)
    centres : int64 Tensor, shape (centre,)
        Channel at the middle of each.
    """

    members: Tensor
    present: Tensor
    centres: Tensor

    @property
    def sizes(self) -> Tensor:
        """Channels in each, int64 (centre,)."""
        return self.present.sum(1)


def spheres(mask: np.ndarray, affine: np.ndarray, radius_mm: float, *, filled: float = 0.0) -> Neighbourhoods:
    """Voxels closer than a radius to each voxel of a mask.

    Parameters
    ----------
    mask : bool array, shape (x, y, z)
        Channels are its voxels in C order.
    affine : float array, shape (4, 4)
        Voxel indices to millimetres.
    radius_mm : float
        Millimetres, > 0.
    filled : float
        Share of a whole sphere that must lie inside the mask for a voxel to be a centre, in [0, 1].
    """
    checks.n_axes("mask", mask, ("x", "y", "z"))
    checks.in_range("filled", filled, 0.0, 1.0)
    places = np.argwhere(mask) @ np.asarray(affine, dtype=float)[:3, :3].T
    groups = _closer(places, radius_mm)
    reach = np.ceil(radius_mm / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    whole = int((np.linalg.norm(steps @ np.asarray(affine)[:3, :3].T, axis=1) < radius_mm).sum())
    kept = [i for i, members in enumerate(groups) if len(members) >= filled * whole]
    return _padded([groups[i] for i in kept], kept)


def disks(vertices_mm: np.ndarray, faces: np.ndarray, radius_mm: float) -> Neighbourhoods:
    """Vertices closer than a radius along the edges of a mesh, so that the other bank of a sulcus is far.

    Parameters
    ----------
    vertices_mm : float array, shape (vertex, 3)
    faces : int array, shape (face, 3)
    radius_mm : float
        Millimetres along the surface, > 0.
    """
    checks.at_least("radius_mm", radius_mm, 1e-9)
    groups: list[np.ndarray] = []
    edges = _edges(faces, np.asarray(vertices_mm, dtype=float))
    for start in range(0, len(vertices_mm), 256):
        some = np.arange(start, min(start + 256, len(vertices_mm)))
        far = dijkstra(edges, directed=False, indices=some, limit=radius_mm)
        groups += [np.flatnonzero(row < radius_mm) for row in far]
    return _padded(groups, range(len(groups)))


def rings(faces: np.ndarray, n_vertices: int, n_steps: int) -> Neighbourhoods:
    """Vertices within a number of edges of each vertex of a mesh.

    Parameters
    ----------
    faces : int array, shape (face, 3)
    n_vertices : int
    n_steps : int
        >= 1.
    """
    checks.at_least("n_steps", n_steps, 1)
    edges = _edges(faces, None, n_vertices)
    near = edges.astype(bool).astype(np.int32) + csr_array(np.eye(n_vertices, dtype=np.int32))
    reach = near
    for _ in range(n_steps - 1):
        reach = (reach @ near).astype(bool).astype(np.int32)
    reach = csr_array(reach)
    groups = [np.sort(reach.indices[a:b]) for a, b in zip(reach.indptr[:-1], reach.indptr[1:], strict=True)]
    return _padded(groups, range(n_vertices))


def sensors(
    positions_m: np.ndarray, *, nearest: int | None = None, radius_m: float | None = None
) -> Neighbourhoods:
    """Sensors around each sensor: so many nearest ones, or those closer than a radius.

    Parameters
    ----------
    positions_m : float array, shape (sensor, 3)
        Metres, known for all.
    nearest : int, optional
        How many, itself included.
    radius_m : float, optional
        Metres. Give one of both.
    """
    if (nearest is None) == (radius_m is None):
        raise checks.ConfigError("give either nearest or radius_m.")
    places = checks.finite(
        "positions_m", np.asarray(positions_m, dtype=float), way_out="Leave these sensors out."
    )
    if radius_m is not None:
        return _padded(_closer(places, radius_m), range(len(places)))
    checks.in_range("nearest", nearest or 0, 1, len(places))
    _, found = cKDTree(places).query(places, k=nearest)
    return _padded([np.sort(np.atleast_1d(row)) for row in found], range(len(places)))


def _closer(places: np.ndarray, radius: float) -> list[np.ndarray]:
    checks.at_least("radius", radius, 1e-9)
    found = cKDTree(places).query_ball_point(places, radius * (1 - 1e-9), return_sorted=True)
    return [np.asarray(members) for members in found]


def _edges(faces: np.ndarray, vertices: np.ndarray | None, n: int | None = None) -> csr_array:
    """Symmetric matrix of edge lengths (1 without vertices)."""
    faces = checks.n_axes("faces", np.asarray(faces), ("face", "corner"))
    pairs = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [0, 2]]]), axis=1), axis=0
    )
    a, b = pairs.T
    size = len(vertices) if vertices is not None else int(n or 0)
    length = np.ones(len(a)) if vertices is None else np.linalg.norm(vertices[a] - vertices[b], axis=1)
    return csr_array((np.r_[length, length], (np.r_[a, b], np.r_[b, a])), shape=(size, size))


def _padded(groups: Sequence[np.ndarray], centres: Iterable[int]) -> Neighbourhoods:
    checks.at_least("number of centres", len(groups), 1)
    width = max(len(members) for members in groups)
    members, present = np.zeros((len(groups), width), np.int64), np.zeros((len(groups), width), bool)
    for row, found in enumerate(groups):
        members[row, : len(found)], present[row, : len(found)] = found, True
    return Neighbourhoods(
        torch.from_numpy(members), torch.from_numpy(present), torch.tensor(list(centres), dtype=torch.int64)
    )
