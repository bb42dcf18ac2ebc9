"""The voxels and vertices of the Natural Scenes Dataset: masks, and regions named by their colour tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import nifti
from braindec.data.damage import reading
from braindec.data.nsd_rows import read_mgh
from braindec.types import VertexSpace, VoxelSpace

SURFACES = ("fsaverage",)


def read_space(
    raw: str | Path,
    subject: int,
    *,
    grid: str = "func1pt8mm",
    mask: str = "nsdgeneral",
    regions: Iterable[str] | None = None,
) -> VoxelSpace | VertexSpace:
    """The voxels or vertices of a mask, with the regions of all other ROI files; see `read_nsd`."""
    base = checks.existing_folder(
        Path(raw) / "nsddata" / "ppdata" / f"subj{subject:02d}", "Point raw at NSD's root folder."
    )
    if grid in SURFACES:
        return _vertices(raw, grid, mask, regions)
    labels = Path(raw) / "nsddata" / "freesurfer" / f"subj{subject:02d}" / "label"
    path = base / grid / "brainmask.nii.gz" if mask == "all" else base / grid / "roi" / f"{mask}.nii.gz"
    return _voxels(path, base / grid / "roi", labels, mask, regions)


def _voxels(path: Path, folder: Path, labels: Path, mask: str, regions: Iterable[str] | None) -> VoxelSpace:
    space = nifti.read_mask(path)
    names = (
        sorted(p.name.removesuffix(".nii.gz") for p in folder.glob("*.nii.gz"))
        if regions is None
        else list(regions)
    )
    found: dict[str, np.ndarray] = {}
    for name in names:
        if name == mask or name.startswith(("lh.", "rh.")):  # one-hemisphere copies of the same labels
            continue
        path = folder / f"{name}.nii.gz"
        values, affine = nifti.read_volume(path)
        if values.shape != space.mask.shape or not np.allclose(affine, space.affine, atol=1e-3):
            raise checks.DataFileError(
                path, f"is not on the grid of {mask}", "Get the regions of this subject and grid."
            )
        found |= _labelled(name, values[space.mask], _label_names(labels / f"{name}.mgz.ctab"))
    return VoxelSpace(space.mask, space.affine, found)


def mesh_size(raw: str | Path, mesh: str) -> int:
    """Vertices of one hemisphere (163,842 of fsaverage): as many as its label maps have."""
    return len(read_mgh(_label_folder(raw, mesh) / "lh.nsdgeneral.mgz"))


def _label_folder(raw: str | Path, mesh: str) -> Path:
    return Path(raw) / "nsddata" / "freesurfer" / mesh / "label"


def _vertices(raw: str | Path, mesh: str, mask: str, regions: Iterable[str] | None) -> VertexSpace:
    folder, size = _label_folder(raw, mesh), mesh_size(raw, mesh)
    kept = (
        [np.arange(size)] * 2 if mask == "all" else [np.flatnonzero(m > 0) for m in _both(folder, mask, size)]
    )
    if not sum(map(len, kept)):
        raise checks.DataFileError(folder / f"lh.{mask}.mgz", "marks no vertex", "Choose another mask.")
    names = (
        sorted(p.name.removeprefix("lh.").removesuffix(".mgz") for p in folder.glob("lh.*.mgz"))
        if regions is None
        else list(regions)
    )
    found: dict[str, np.ndarray] = {}
    for name in names:
        if name != mask:
            maps = _both(folder, name, size)
            inside = np.concatenate([values[k] for values, k in zip(maps, kept, strict=True)])
            found |= _labelled(name, inside, _label_names(folder / f"{name}.mgz.ctab"))
    return VertexSpace(mesh, kept[0], kept[1], found)


def _both(folder: Path, name: str, size: int) -> list[np.ndarray]:
    maps = {hemi: read_mgh(folder / f"{hemi}.{name}.mgz") for hemi in ("lh", "rh")}
    for hemi, values in maps.items():
        if len(values) != size:
            found = f"holds {len(values)} vertices, expected {size}"
            raise checks.DataFileError(folder / f"{hemi}.{name}.mgz", found, "Get the labels of this mesh.")
    return list(maps.values())


def _labelled(name: str, inside: np.ndarray, words: dict[int, str]) -> dict[str, np.ndarray]:
    """A region for each label > 0 of a ROI file, named by its colour table where there is one."""
    values = [int(v) for v in np.unique(inside).tolist() if v > 0]
    if len(values) == 1 and not words:
        return {name: inside == values[0]}
    return {f"{name}-{words.get(v, v)}": inside == v for v in values}


def _label_names(path: Path) -> dict[int, str]:
    """Names of a ROI file's labels, from the table of numbers and names beside it; empty where there is none."""
    if not path.is_file():
        return {}
    with reading(path):
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {int(words[0]): words[1] for words in lines}
