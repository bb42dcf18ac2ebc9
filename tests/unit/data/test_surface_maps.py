"""Maps of vertices return to their vertices through the files that other programs open."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from braindec import checks
from braindec.data import maps
from braindec.types import ArraySpace, SensorSpace, VertexSpace, VoxelSpace


def cortex(rng, mesh, n_mesh, n_left=40, n_right=25):
    left, right = (rng.choice(n_mesh, n, replace=False) for n in (n_left, n_right))  # in any order
    return VertexSpace(mesh, left, right)


def some_maps(rng, space):
    found = {
        n: rng.standard_normal(space.n_features).astype(np.float32) for n in ("correlation", "unique_r2")
    }
    found["unique_r2"][:5] = np.nan
    return found


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_fsaverage_maps_come_back_and_nibabel_finds_each_value_at_its_vertex(rng, tmp_path):
    space = cortex(rng, "fsaverage5", 10242)
    given = some_maps(rng, space)
    left, right = maps.write(given, space, tmp_path / "sub-01_fmri")
    assert left.name == "sub-01_fmri_hemi-L.func.gii"
    back = maps.from_gifti(left, right, space)
    for name, values in given.items():
        np.testing.assert_array_equal(back[name], values)
    image = nibabel.load(right)
    assert [a.meta["Name"] for a in image.darrays] == list(given)
    first = image.darrays[0].data
    assert first.shape == (10242,) and first[space.right[3]] == given["correlation"][40 + 3]
    assert np.isnan(np.delete(first, space.right)).all()
    assert image.meta["AnatomicalStructurePrimary"] == "CortexRight"


def test_connectome_maps_are_dense_scalars_in_ascending_vertices(rng, tmp_path):
    space = cortex(rng, "fs_LR_32k", 32492)
    given = some_maps(rng, space)
    (path,) = maps.write(given, space, tmp_path / "sub-01_fmri")
    assert path.name == "sub-01_fmri.dscalar.nii"
    back = maps.from_cifti(path, space)
    for name, values in given.items():
        np.testing.assert_array_equal(back[name], values)
    image = nibabel.load(path)
    assert image.nifti_header.get_intent()[0] == "ConnDenseScalar"
    brain = image.header.get_axis(1)
    assert (np.diff(brain.vertex[brain.name == "CIFTI_STRUCTURE_CORTEX_LEFT"]) > 0).all()
    column = np.flatnonzero((brain.name == "CIFTI_STRUCTURE_CORTEX_RIGHT") & (brain.vertex == space.right[7]))
    assert image.get_fdata()[0, column[0]] == given["correlation"][40 + 7]


def test_one_hemisphere_alone_is_written_too(rng, tmp_path):
    for mesh in ("fs_LR_32k", "fsaverage5"):
        space = cortex(rng, mesh, maps.MESHES[mesh], n_right=0)
        given = some_maps(rng, space)
        paths = maps.write(given, space, tmp_path / mesh)
        back = maps.from_gifti(*paths, space) if len(paths) == 2 else maps.from_cifti(*paths, space)
        np.testing.assert_array_equal(back["unique_r2"], given["unique_r2"])


def test_every_other_space_gets_a_file_too(rng, tmp_path):
    values = {"correlation": np.arange(4, dtype=np.float32)}
    sensors = SensorSpace(tuple("abcd"), np.zeros((4, 3)), ("eeg",) * 4)
    for space in (sensors, ArraySpace(4), VertexSpace("own", np.arange(2), np.arange(2))):
        (path,) = maps.write(values, space, tmp_path / space.kind)
        assert path.name == f"{space.kind}_maps.h5" and path.is_file()
    voxels = VoxelSpace(np.ones((2, 2, 1), dtype=bool), np.eye(4))
    values["correlation"][2] = np.nan
    (path,) = maps.write(values, voxels, tmp_path / "voxels")
    np.testing.assert_array_equal(maps.from_nifti(path, voxels), values["correlation"])


def test_what_does_not_fit_is_refused(rng, tmp_path):
    space = cortex(rng, "fsaverage5", 10242)
    given = some_maps(rng, space)
    left, right = maps.write(given, space, tmp_path / "a")
    with pytest.raises(checks.DataFileError, match="CortexRight"):
        maps.from_gifti(right, left, space)
    with pytest.raises(checks.DataFileError, match="fsaverage6"):
        maps.from_gifti(left, right, VertexSpace("fsaverage6", space.left, space.right))
    with pytest.raises(ValueError, match="must match"):
        maps.to_gifti({"a": np.zeros(3)}, space, "L")
    with pytest.raises(checks.SpaceMismatchError):
        maps.to_cifti({"a": np.zeros(3)}, ArraySpace(3))
    (path,) = maps.write(given, VertexSpace("fs_LR_32k", space.left, space.right), tmp_path / "b")
    absent = np.setdiff1d(np.arange(99), space.right)[:1]
    with pytest.raises(checks.DataFileError, match="lacks 1 of"):
        maps.from_cifti(path, VertexSpace("fs_LR_32k", space.left[:1], absent))
    left.write_bytes(left.read_bytes()[:-200])
    with pytest.raises(checks.DataFileError):
        maps.from_gifti(left, right, space)
