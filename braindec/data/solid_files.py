"""Solid objects in files: grids of voxels are read (.npy, .binvox), surfaces are written (.ply)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom

from braindec import checks, store
from braindec.data import safe_npy
from braindec.data.damage import COPY_AGAIN
from braindec.data.download import hashes
from braindec.maths.solids import Mesh

SUFFIXES = (".npy", ".binvox")
MAX_SIDE = 512
WAY_OUT = "Put a cubic grid of voxels there for each object: .npy of 0 and 1, or .binvox."


@dataclass(frozen=True, eq=False)
class SolidFiles:
    """Reads objects by id.

    Parameters
    ----------
    folder : Path
        That the files lie below.
    paths : dict of str to Path
    side : int
        Voxels that grids are brought to.
    """

    folder: Path
    paths: dict[str, Path]
    side: int

    @classmethod
    def of(cls, folder: str | Path, side: int, ids: Sequence[str] | None = None) -> SolidFiles:
        """Of a folder: ``<object>.npy`` or ``.binvox`` anywhere below it, or ``<object>/**/*.solid.binvox``.

        Parameters
        ----------
        folder : path
        side : int
        ids : sequence of str, optional
            Objects that must be there; all that are, by default.

        Raises
        ------
        FileNotFoundError
            If the folder or an object is not there.
        """
        checks.in_range("side", side, 4, MAX_SIDE, unit="voxels")
        place = checks.existing_folder(folder, WAY_OUT)
        found: dict[str, Path] = {}
        for path in sorted(p for p in place.rglob("*") if p.suffix in SUFFIXES):
            shapenet = path.name.endswith(
                ".solid.binvox"
            )  # <synset>/<object>/models/model_normalized.solid.binvox
            if path.name.endswith(".surface.binvox"):
                continue  # hollow
            name = path.parent.parent.name if shapenet else path.stem
            if name in found:
                raise checks.DataFileError(
                    path, f"is a second file of the object {name!r}, beside {found[name]}", "Leave one."
                )
            found[name] = path
        if ids is None:
            checks.at_least(f"objects in {place}", len(found), 1)
            return cls(place, found, side)
        lacking = [i for i in ids if i not in found]
        if lacking:
            raise FileNotFoundError(
                f"{place} lacks {len(lacking)} of {len(ids)} objects, first {lacking[0]!r}. {WAY_OUT}"
            )
        return cls(place, {i: found[i] for i in ids}, side)

    @property
    def ids(self) -> tuple[str, ...]:
        """The objects that can be read."""
        return tuple(self.paths)

    def grids(self, ids: Sequence[str] | None = None) -> np.ndarray:
        """bool (n, side, side, side): x to the right, y away, z up; True inside."""
        chosen = self.ids if ids is None else ids
        return np.stack([self._one(checks.known_key("object", i, self.paths)) for i in chosen])

    def content(self) -> str:
        """One hash over the files and the side."""
        held = hashes(self.folder, list(self.paths.values()))
        return store.content_hash(files=held, side=self.side)

    def _one(self, path: Path) -> np.ndarray:
        grid = read_binvox(path) if path.suffix == ".binvox" else _read_npy(path)
        if grid.all() or not grid.any():
            raise checks.DataFileError(
                path, "holds an object without an inside or an outside", "Leave it out."
            )
        return resized(grid, self.side)


def resized(grid: np.ndarray, side: int) -> np.ndarray:
    """A grid of another side: a voxel is inside where at least half of what it covers was.

    Parameters
    ----------
    grid : bool array, shape (n, n, n)
    side : int
        Where the old side is a multiple of it, exactly so; else by linear interpolation.
    """
    n = len(grid)
    if n == side:
        return grid
    if n % side == 0:
        k = n // side
        return np.asarray(grid.reshape(side, k, side, k, side, k).mean((1, 3, 5)) >= 0.5)
    return np.asarray(zoom(grid.astype(np.float32), side / n, order=1, grid_mode=True, mode="nearest") >= 0.5)


def read_binvox(path: str | Path) -> np.ndarray:
    """The voxels of a .binvox file, bool (n, n, n), its axes turned to x, y away, z up.

    Raises
    ------
    DataFileError
        If the header is another one, or the runs do not fill the grid.

    Notes
    -----
    Format of binvox (Min 2004-2019, https://www.patrickmin.com/binvox/binvox.html): text up to ``data``, then pairs of
    a value and how often it comes; x is slowest, then z, then y, which is up. ShapeNet's z is towards who looks.
    """
    path = checks.existing_file(path, WAY_OUT)
    raw = path.read_bytes()
    head, mark = raw[:512].partition(b"\ndata\n")[:2]
    lines = head.decode("ascii", "replace").splitlines()
    dims = next((line.split()[1:] for line in lines if line.startswith("dim")), [])
    if not mark or not lines or not lines[0].startswith("#binvox 1") or len(set(dims)) != 1 or len(dims) != 3:
        raise checks.DataFileError(path, "is no cubic binvox 1 file", COPY_AGAIN)
    n = int(dims[0]) if dims[0].isdigit() else 0
    if not 2 <= n <= MAX_SIDE:
        raise checks.DataFileError(path, f"has {dims[0]} voxels a side, expected 2 to {MAX_SIDE}", WAY_OUT)
    pairs = np.frombuffer(raw[len(head) + len(mark) :], dtype=np.uint8)
    values, counts = pairs[: len(pairs) // 2 * 2].reshape(-1, 2).T
    if len(pairs) % 2 or int(counts.sum(dtype=np.int64)) != n**3 or int(values.max(initial=0)) > 1:
        raise checks.DataFileError(path, f"does not hold {n} x {n} x {n} voxels of 0 and 1", COPY_AGAIN)
    stored = np.repeat(values.astype(bool), counts).reshape(n, n, n)  # x, z, y
    return np.ascontiguousarray(stored[:, ::-1])  # z towards who looks becomes y away; what was y is up


def write_ply(path: str | Path, mesh: Mesh) -> Path:
    """A surface as .ply text (Turk 1994), which programs that show meshes open; the unit is the cube's edge."""
    path = Path(path)
    head = [
        "ply", "format ascii 1.0", f"element vertex {len(mesh.vertices)}", "property float x", "property float y",
        "property float z", f"element face {len(mesh.triangles)}", "property list uchar int vertex_indices",
        "end_header",
    ]  # fmt: skip
    vertices = [f"{x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.vertices.tolist()]
    faces = [f"3 {a} {b} {c}" for a, b, c in mesh.triangles.tolist()]
    with store.atomic_path(path) as temporary:
        temporary.write_text("\n".join([*head, *vertices, *faces]) + "\n", encoding="ascii")
    return path


def _read_npy(path: Path) -> np.ndarray:
    held = safe_npy.load(path)
    shape = getattr(held, "shape", None)
    if (
        not isinstance(held, np.ndarray)
        or held.ndim != 3
        or len(set(held.shape)) != 1
        or not 2 <= held.shape[0] <= MAX_SIDE
    ):
        raise checks.DataFileError(path, f"holds {shape or type(held).__name__}, no cubic grid", WAY_OUT)
    if held.dtype.kind not in "bui" or int(held.max()) > 1 or int(held.min()) < 0:
        raise checks.DataFileError(path, f"holds {held.dtype} other than 0 and 1", WAY_OUT)
    return np.asarray(held, dtype=bool)
