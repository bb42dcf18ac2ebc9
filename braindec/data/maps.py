"""Values of features back to where they come from: volumes and NIfTI images, GIFTI and CIFTI maps of a surface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import cifti, nifti, xml_inside
from braindec.data.damage import reading
from braindec.types import Space, VertexSpace, VoxelSpace

# Vertices a hemisphere: icosahedra divided 3 to 7 times (FreeSurfer), and the meshes of the Human Connectome Project.
FSAVERAGE = {
    "fsaverage3": 642,
    "fsaverage4": 2562,
    "fsaverage5": 10242,
    "fsaverage6": 40962,
    "fsaverage": 163842,
}
MESHES = FSAVERAGE | {name: n for n, name in cifti.MESHES.items()}
HEMISPHERES = {"L": ("left", "CortexLeft"), "R": ("right", "CortexRight")}  # BIDS' word, ours, GIFTI's


def to_volume(values: np.ndarray, space: Space, fill: float = 0.0) -> np.ndarray:
    """Values of voxels in their volume, float32 (x, y, z) or (x, y, z, n_maps).

    Parameters
    ----------
    values : array, shape (n_voxels,) or (n_maps, n_voxels)
    space : VoxelSpace
    fill : float
        Value outside of the mask.
    """
    space = _voxels(space)
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (1, 2) or values.shape[-1] != space.n_features:
        raise ValueError(
            f"values has shape {values.shape} but the space has {space.n_features} voxels; they must match."
        )
    volume = np.full((*space.mask.shape, *values.shape[:-1]), fill, dtype=np.float32)
    volume[space.mask] = values.T
    return volume


def to_nifti(values: np.ndarray, space: Space, fill: float = 0.0) -> Any:
    """The same as a nibabel image; `image.to_filename(path)` writes it."""
    import nibabel

    return nibabel.Nifti1Image(to_volume(values, space, fill), _voxels(space).affine)


def from_nifti(path: str | Path, space: Space) -> np.ndarray:
    """Values of the space's voxels in an image on its grid, float32 (n_voxels,) or (n_maps, n_voxels); NaN stay.

    Raises
    ------
    DataFileError
        If the image is damaged or on another grid.
    """
    space = _voxels(space)
    image = nifti.load(path)
    nifti.same_grid(path, image, space)
    with reading(path):
        data = np.asarray(image.dataobj, dtype=np.float32)  # a map has NaN where there is nothing to say
    return np.ascontiguousarray(data[space.mask].T)


def to_gifti(maps: Mapping[str, np.ndarray], space: Space, hemisphere: str) -> Any:
    """Maps of one hemisphere as a nibabel image: a named array a map, a value a vertex of the whole mesh.

    Parameters
    ----------
    maps : mapping of str to array, shape (n_vertices,)
        Of both hemispheres, left first, as in `VertexSpace`.
    space : VertexSpace
    hemisphere : {"L", "R"}
        Vertices of this hemisphere that the space does not keep are NaN.

    Raises
    ------
    ValueError
        If a map has another length, or how many vertices the mesh has is not known.
    """
    import nibabel
    from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

    space = _vertices(space)
    side, structure = HEMISPHERES[checks.one_of("hemisphere", hemisphere, list(HEMISPHERES))]
    own = slice(0, len(space.left)) if side == "left" else slice(len(space.left), None)
    image = GiftiImage(meta=GiftiMetaData({"AnatomicalStructurePrimary": structure, "mesh": space.mesh}))
    for name, values in maps.items():
        whole = np.full(_mesh_size(space), np.nan, dtype=np.float32)
        whole[getattr(space, side)] = _one_map(name, values, space)[own]
        intent = nibabel.nifti1.intent_codes["NIFTI_INTENT_NONE"]
        meta = GiftiMetaData({"Name": name})
        image.add_gifti_data_array(GiftiDataArray(whole, intent, "NIFTI_TYPE_FLOAT32", meta=meta))
    return image


def from_gifti(left: str | Path, right: str | Path, space: Space) -> dict[str, np.ndarray]:
    """Maps of the space's vertices from the files of both hemispheres, each float32 (n_vertices,).

    Raises
    ------
    DataFileError
        If a file is damaged or on another mesh, or the two hold other maps.
    """
    space = _vertices(space)
    sides = [_gifti_maps(Path(path), space, HEMISPHERES[h][1]) for path, h in ((left, "L"), (right, "R"))]
    if list(sides[0]) != list(sides[1]):
        found = f"holds the maps {list(sides[1])}, {Path(left).name} holds {list(sides[0])}"
        raise checks.DataFileError(Path(right), found, "Choose the two files of one set of maps.")
    return {
        name: np.concatenate([sides[0][name][space.left], sides[1][name][space.right]]) for name in sides[0]
    }


def to_cifti(maps: Mapping[str, np.ndarray], space: Space) -> Any:
    """Maps of both hemispheres as a nibabel CIFTI-2 image of dense scalars (``.dscalar.nii``); only kept vertices.

    Parameters
    ----------
    maps : mapping of str to array, shape (n_vertices,)
    space : VertexSpace
    """
    import nibabel
    from nibabel.cifti2 import BrainModelAxis, ScalarAxis

    space = _vertices(space)
    rows = np.stack([_one_map(name, values, space) for name, values in maps.items()])
    n, order = _mesh_size(space), [np.argsort(v, kind="stable") for v in (space.left, space.right)]
    parts = [
        BrainModelAxis.from_surface(vertices[by], n, name)
        for vertices, by, name in zip((space.left, space.right), order, cifti.CORTEX)
        if len(vertices)
    ]
    # Readers expect the vertices of a structure in ascending order.
    columns = np.concatenate([order[0], len(space.left) + order[1]])
    brain = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    image = nibabel.Cifti2Image(rows[:, columns], header=(ScalarAxis(list(maps)), brain))
    image.update_headers()
    image.nifti_header.set_intent("ConnDenseScalar")
    return image


def from_cifti(path: str | Path, space: Space) -> dict[str, np.ndarray]:
    """Maps of the space's vertices from a file of dense scalars, each float32 (n_vertices,).

    Raises
    ------
    DataFileError
        If the file is damaged, holds no scalars, is on another mesh or lacks a vertex of the space.
    """
    import nibabel

    space, path = _vertices(space), checks.existing_file(path, "Check the path.")
    xml_inside.check_cifti(path)
    with reading(path, nibabel.filebasedimages.ImageFileError, nibabel.cifti2.Cifti2HeaderError):
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Cifti2Image):
            raise checks.DataFileError(path, "is no CIFTI-2 file", "Choose a .dscalar.nii.")
        names, brain = image.header.get_axis(0), image.header.get_axis(1)
        rows = np.asarray(image.dataobj, dtype=np.float32)
    if not isinstance(names, nibabel.cifti2.ScalarAxis):
        raise checks.DataFileError(path, "holds no scalar maps", "Choose a .dscalar.nii.")
    columns = []
    for structure, wanted in zip(cifti.CORTEX, (space.left, space.right)):
        if brain.nvertices.get(structure, _mesh_size(space)) != _mesh_size(space):
            raise checks.DataFileError(path, f"is not on {space.mesh}", "Choose maps of this mesh.")
        place = np.full(_mesh_size(space), -1)
        here = np.flatnonzero(brain.name == structure)
        place[brain.vertex[here]] = here
        columns.append(place[wanted])
    found = np.concatenate(columns)
    if (found < 0).any():
        said = f"lacks {int((found < 0).sum())} of the space's {space.n_features} vertices"
        raise checks.DataFileError(path, said, "Choose maps of the same vertices.")
    return {name: np.ascontiguousarray(row[found]) for name, row in zip(names.name, rows)}


def write(maps: Mapping[str, np.ndarray], space: Space, stem: str | Path) -> list[Path]:
    """Writes maps in the format that other programs open for such a space; the paths written.

    Voxels: ``<stem>_<map>.nii.gz`` each. Vertices of fsaverage: ``<stem>_hemi-L.func.gii`` and ``_hemi-R``, with all
    maps. Vertices of the Connectome Project's meshes: ``<stem>.dscalar.nii``. Anything else (sensors over time, a mesh
    of unknown size, a space without a place): ``<stem>_maps.h5``, named arrays.

    Parameters
    ----------
    maps : mapping of str to array, shape (n_features,), or any shape that a .h5 file is to hold
    space : Space
    stem : path
        Where, and how names begin.
    """
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(space, VoxelSpace):
        paths = {name: stem.with_name(f"{stem.name}_{name}.nii.gz") for name in maps}
        for name, path in paths.items():
            to_nifti(maps[name], space, fill=float("nan")).to_filename(path)
        return list(paths.values())
    if isinstance(space, VertexSpace) and space.mesh in FSAVERAGE:
        halves = {h: stem.with_name(f"{stem.name}_hemi-{h}.func.gii") for h in HEMISPHERES}
        for hemisphere, path in halves.items():
            to_gifti(maps, space, hemisphere).to_filename(path)
        return list(halves.values())
    if isinstance(space, VertexSpace) and space.mesh in MESHES:
        path = stem.with_name(f"{stem.name}.dscalar.nii")
        to_cifti(maps, space).to_filename(path)
        return [path]
    path = stem.with_name(f"{stem.name}_maps.h5")
    with store.writer(path) as out:
        for name, values in maps.items():
            out.array(name, np.asarray(values, dtype=np.float32))
        out.attributes({"content": "maps", "space": space.kind})
    return [path]


def _mesh_size(space: VertexSpace) -> int:
    return checks.known_key("mesh", space.mesh, MESHES)


def _one_map(name: str, values: np.ndarray, space: VertexSpace) -> np.ndarray:
    if np.shape(values) != (space.n_features,):
        raise ValueError(
            f"map {name!r} has shape {np.shape(values)} but the space has {space.n_features} vertices; they must match."
        )
    return np.asarray(values, dtype=np.float32)


def _gifti_maps(path: Path, space: VertexSpace, structure: str) -> dict[str, np.ndarray]:
    """Named maps (n_mesh,) of one hemisphere."""
    from xml.parsers.expat import ExpatError

    import nibabel

    path = checks.existing_file(path, "Check the path.")
    with reading(path, nibabel.filebasedimages.ImageFileError, ExpatError):
        image: Any = nibabel.GiftiImage.from_bytes(xml_inside.check(path, path.read_bytes()))
        side = image.meta.get("AnatomicalStructurePrimary", structure)
        found = {
            a.meta.get("Name", str(i)): np.asarray(a.data, np.float32) for i, a in enumerate(image.darrays)
        }
    if side != structure:
        raise checks.DataFileError(
            path, f"is of {side}, not of {structure}", "Give the left file, then the right."
        )
    if any(values.shape != (_mesh_size(space),) for values in found.values()) or not found:
        shapes = sorted({v.shape for v in found.values()})
        said = f"holds maps of shape {shapes}, {space.mesh} has {_mesh_size(space)} vertices"
        raise checks.DataFileError(path, said, "Choose maps of this mesh.")
    return found


def _vertices(space: Space) -> VertexSpace:
    if not isinstance(space, VertexSpace):
        checks.same_space("space", space.kind, "vertices", "Only vertices have a place on a surface.")
    return checks.of_type("space", space, VertexSpace)


def _voxels(space: Space) -> VoxelSpace:
    if not isinstance(space, VoxelSpace):
        way_out = "Only voxels have a place in a volume."
        checks.same_space("space", space.kind, "voxels", way_out)
    return checks.of_type("space", space, VoxelSpace)
