"""Solids as fields on a grid: signed distances, points and meshes of their surface, and pictures of them turning.

A field is (side, side, side): x to the right, y away from who looks, z up. Voxel i lies at (i + 0.5) / side of the
unit cube that the object is in, and the field is above 0 inside the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from braindec import checks

AXES = ("x", "y", "z")
REACH = 0.15  # edges of the cube: what lies further from a surface is only inside, or outside
TILT = 25.0  # degrees that the camera looks down
HALF_WIDTH = 0.62  # edges of the cube from a view's middle to its border
COLOUR = (104, 150, 196)
AT_ONCE = 16  # objects that are rendered together: what they need stays near the processor


class Mesh(NamedTuple):
    """Vertices, float64 (n, 3) in the unit cube, and triangles, int64 (m, 3), seen from outside counterclockwise."""

    vertices: np.ndarray
    triangles: np.ndarray


def signed_distance(grid: np.ndarray, reach: float = REACH) -> np.ndarray:
    """How deep inside an object each voxel lies, below 0 outside.

    Parameters
    ----------
    grid : bool array, shape (side, side, side)
        True where the object is.
    reach : float
        Larger distances are this, > 0, in edges of the cube.

    Returns
    -------
    float32 array, shape (side, side, side)
        In edges of the cube; a voxel beside the surface lies half a voxel from it.

    Raises
    ------
    ValueError
        If the grid is not cubic, or is full or empty.
    """
    _cubic("grid", grid)
    inside = np.asarray(grid, dtype=bool)
    if inside.all() or not inside.any():
        raise ValueError(
            f"the grid is {'full' if inside.all() else 'empty'}; an object has an inside and an outside."
        )
    deep, far = distance_transform_edt(inside), distance_transform_edt(~inside)
    voxels = np.where(inside, deep - 0.5, 0.5 - far)
    return np.clip(voxels / len(inside), -reach, reach).astype(np.float32)


def surface_points(field: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Points drawn evenly from the surface of an object.

    Parameters
    ----------
    field : float array, shape (side, side, side)
    n : int
    generator : numpy Generator

    Returns
    -------
    float64 array, shape (n, 3)
        In the unit cube. A field that is nowhere above 0 has no surface: its points all lie where it is highest.

    Notes
    -----
    Drawn from the crossings of grid lines with the surface, which are where marching cubes has its vertices. A piece of
    surface with normal v is crossed |v_x| + |v_y| + |v_z| times as often as one across an axis: crossings are weighted
    by the inverse of it.
    """
    checks.at_least("n", n, 1)
    field = _bordered(field)
    points, normals = _crossings(field)
    side = len(field) - 2
    if not len(points):
        best = np.unravel_index(int(field.argmax()), field.shape)
        return np.repeat((np.array(best, dtype=float)[None] - 0.5) / side, n, axis=0)
    weight = 1 / np.abs(normals).sum(1)
    order = generator.choice(len(points), n, replace=len(points) < n, p=weight / weight.sum())
    return (points[order] - 0.5) / side


def mesh(field: np.ndarray) -> Mesh:
    """The surface of an object as triangles: closed, without a hole.

    Parameters
    ----------
    field : float array, shape (side, side, side)

    Notes
    -----
    Surface nets (Gibson 1998, doi:10.1007/BFb0056277): a vertex in each cell that the surface passes through, at the
    mean of the crossings of its edges; four such vertices make a face around each edge that is crossed.
    """
    field = _bordered(field)
    inside = field > 0
    n = np.array(field.shape) - 1  # cells
    total = np.zeros((*n, 3))
    count = np.zeros(n, dtype=int)
    faces = []
    for axis in range(3):
        at, share, outward = _edges(field, inside, axis)
        point = at.astype(float)
        point[:, axis] += share
        first, second = ((axis + 1) % 3, (axis + 2) % 3)
        around = []
        for d1, d2 in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = at.copy()
            cell[:, first] += d1
            cell[:, second] += d2
            np.add.at(total, tuple(cell.T), point)
            np.add.at(count, tuple(cell.T), 1)
            around.append(np.ravel_multi_index(tuple(cell.T), tuple(n)))
        quad = np.stack(around, 1)
        faces.append(np.where(outward[:, None], quad, quad[:, ::-1]))
    used = np.flatnonzero(count.ravel())
    number = np.full(count.size, -1)
    number[used] = np.arange(len(used))
    vertices = total.reshape(-1, 3)[used] / count.ravel()[used, None]
    quads = number[np.concatenate(faces)]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return Mesh((vertices - 0.5) / (len(field) - 2), triangles)


def views(fields: np.ndarray, angles: Sequence[float], *, side: int = 64, tilt: float = TILT) -> np.ndarray:
    """Pictures of objects that turn, shaded, without perspective, on white.

    Parameters
    ----------
    fields : float array, shape (n, side, side, side)
    angles : sequence of float
        Degrees that the camera has gone round the object, from above counterclockwise; 0 is in front.
    side : int
        Pixels.
    tilt : float
        Degrees that the camera looks down.

    Returns
    -------
    uint8 array, shape (n, n_angles, side, side, 3)
    """
    checks.n_axes("fields", fields, ("object", *AXES))
    checks.at_least("side", side, 2)
    out = np.empty((len(fields), len(angles), side, side, 3), dtype=np.uint8)
    for start in range(0, len(fields), AT_ONCE):
        part = torch.from_numpy(np.ascontiguousarray(fields[start : start + AT_ONCE], dtype=np.float32))
        for k, angle in enumerate(angles):
            out[start : start + AT_ONCE, k] = _view(part, float(angle), side, tilt)
    return out


def _view(fields: Tensor, angle: float, side: int, tilt: float) -> np.ndarray:
    """uint8 (n, side, side, 3)."""
    a, t = np.deg2rad(angle), np.deg2rad(tilt)
    right = torch.tensor([np.cos(a), np.sin(a), 0.0], dtype=torch.float32)
    away = torch.tensor([-np.sin(a) * np.cos(t), np.cos(a) * np.cos(t), -np.sin(t)], dtype=torch.float32)
    up = torch.linalg.cross(right, away)
    steps = torch.linspace(-0.87, 0.87, 3 * fields.shape[-1] // 2)  # half the diagonal of the cube
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    plane = HALF_WIDTH * (place[None, :, None] * right - place[:, None, None] * up)  # (row, column, 3)
    ray = 0.5 + plane[None] + steps[:, None, None, None] * away  # (depth, row, column, 3)
    values = _sampled(fields[None], ray[None])[0]  # (n, depth, row, column): one grid for all objects
    hit = values > 0
    seen = hit.any(1)
    last = hit.byte().argmax(1).clamp_min(1)[:, None]  # first sample inside
    inner, outer = values.gather(1, last), values.gather(1, last - 1)
    share = (outer / (outer - inner).clamp_max(-1e-9)).clamp(0, 1)[:, 0]
    depth = steps[last[:, 0] - 1] + share * (steps[1] - steps[0])
    point = 0.5 + plane + depth[..., None] * away  # (n, row, column, 3)
    moves = torch.cat([torch.eye(3), -torch.eye(3)]) / fields.shape[-1]
    around = _sampled(fields[:, None], point[:, None] + moves[:, None, None])[:, 0]  # (n, 6, row, column)
    slope = (around[:, :3] - around[:, 3:]).movedim(1, -1)
    normal = normalize(-slope, dim=-1)
    light = normalize(0.8 * up - away - 0.5 * right, dim=0)
    shade = 0.3 + 0.7 * (normal @ light).clamp_min(0)
    lit = shade[..., None] * torch.tensor(COLOUR)
    return torch.where(seen[..., None], lit, torch.tensor(255.0)).round().byte().numpy()


def _sampled(fields: Tensor, points: Tensor) -> Tensor:
    """Fields (n, m, x, y, z) at points (n, a, b, c, 3) of the unit cube, -REACH outside of it, (n, m, a, b, c)."""
    grid = (points * 2 - 1).flip(-1)  # grid_sample wants the last axis first
    return grid_sample(fields + REACH, grid, align_corners=False) - REACH


def _bordered(field: np.ndarray) -> np.ndarray:
    """A field with a layer around it that is outside, so that no object reaches through."""
    _cubic("field", field)
    checks.finite("field", field)
    values = np.asarray(field, dtype=float)
    return np.pad(values, 1, constant_values=min(-REACH, float(values.min()) - REACH))


def _crossings(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where grid lines cross the surface, in voxels, and the unit normals there: both (n, 3)."""
    slope = np.stack(np.gradient(field), -1)
    points, normals = [], []
    for axis in range(3):
        at, share, _ = _edges(field, field > 0, axis)
        step = np.eye(3, dtype=int)[axis]
        points.append(at + share[:, None] * step)
        low, high = slope[tuple(at.T)], slope[tuple((at + step).T)]
        normals.append(low + share[:, None] * (high - low))
    found = np.concatenate(normals)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    along = np.where(length > 0, found / np.maximum(length, 1e-12), [1.0, 0.0, 0.0])
    return np.concatenate(points), along


def _edges(field: np.ndarray, inside: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crossed edges along an axis: lower node (n, 3), share of the edge to the crossing, whether it leads outside."""
    low = np.take(inside, range(field.shape[axis] - 1), axis)
    high = np.take(inside, range(1, field.shape[axis]), axis)
    at = np.argwhere(low != high)
    a = field[tuple(at.T)]
    b = field[tuple((at + np.eye(3, dtype=int)[axis]).T)]
    return at, a / (a - b), a > 0


def _cubic(name: str, values: np.ndarray) -> None:
    checks.n_axes(name, values, AXES)
    if len(set(values.shape)) > 1 or values.shape[0] < 2:
        raise ValueError(
            f"{name} has the shape {tuple(values.shape)}; it must be cubic, of 2 voxels or more."
        )
