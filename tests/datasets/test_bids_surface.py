"""Time series on a surface are modelled as volumes are: the same signal gives the same betas, vertex by vertex."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, bids_synthetic, catalogue, layout
from braindec.types import VertexSpace

KEY = "sub-01_fmri"
ONE = ('modalities=["fmri"]', "fmri.space=fsaverage3")


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("bids")


@pytest.fixture(scope="module")
def raw(functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "raw"
    return folder, functions["synthetic"](folder, eeg=False, surface=True)


@pytest.fixture
def own(raw, tmp_path):
    """A copy that a test may damage: subject 1 alone."""
    shutil.copytree(raw[0], tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw/sub-02")
    shutil.rmtree(tmp_path / "raw/derivatives/fmriprep/sub-02")
    return tmp_path / "raw"


def series(root, hemisphere="L", run=2):
    name = f"sub-01_task-pictures_run-{run}_hemi-{hemisphere}_space-fsaverage3_bold.func.gii"
    return root / "derivatives/fmriprep/sub-01/func" / name


def change(path, edit):
    """Each volume of a file, edited."""
    import nibabel

    image = nibabel.load(path)
    for array in image.darrays:
        array.data = array.data.copy()
        edit(array.data)
    nibabel.save(image, path)


@pytest.mark.parametrize("sets", [(), ("fmri.glm.method=lsa", "fmri.glm.hrf=library", "fmri.glm.ridge=true")])
def test_the_same_signal_gives_the_same_betas_on_vertices_as_in_voxels(sets, functions, raw, tmp_path):
    found = {}
    for name, space in (("volume", "T1w"), ("surface", "fsaverage3")):
        chosen = ('modalities=["fmri"]', f"fmri.space={space}", *sets)
        functions["prepare"](raw[0], tmp_path / name, subjects=[1], sets=chosen)
        found[name] = NeuralDataset.read(tmp_path / name).trials[KEY]
    volume, surface = found["volume"], found["surface"]
    assert np.array_equal(surface.responses[:], volume.responses[:])
    for column in ("stimulus_id", "run", "onset_s", "fd_mm", "run_tsnr"):
        assert np.array_equal(surface.table[column], volume.table[column]), column
    assert np.corrcoef(surface.responses[:].ravel(), raw[1].responses[KEY].ravel())[0, 1] > 0.85
    n = surface.responses.shape[1]
    space = surface.space
    assert isinstance(space, VertexSpace) and space.mesh == "fsaverage3"
    assert np.array_equal(space.left, bids_synthetic.vertices((n + 1) // 2))
    assert np.array_equal(space.right, bids_synthetic.vertices(n // 2))


def test_volumes_are_read_where_no_space_is_chosen_and_surfaces_where_there_are_no_volumes(
    functions, own, tmp_path
):
    functions["prepare"](own, tmp_path / "out")
    assert NeuralDataset.read(tmp_path / "out").trials[KEY].space.kind == "voxels"
    for path in (own / "derivatives/fmriprep/sub-01/func").glob("*.nii.gz"):
        path.unlink()
    counts = functions["prepare"](own, tmp_path / "none", dry_run=True)
    assert counts.trials == {KEY: 64} and "172 vertices" in counts.plan[0]
    functions["prepare"](own, tmp_path / "out")
    assert NeuralDataset.read(tmp_path / "out").trials[KEY].space.kind == "vertices"
    files = [name for name in layout.read_manifest(tmp_path / "out")["raw_files"] if name.endswith(".gii")]
    assert len(files) == 8 and sum("hemi-R" in name for name in files) == 4


def vertices_of(out) -> VertexSpace:
    return checks.of_type("space", NeuralDataset.read(out).trials[KEY].space, VertexSpace)


def refused(functions, own, tmp_path, match, *sets):
    with pytest.raises(checks.DataFileError, match=match):
        functions["prepare"](own, tmp_path / "out", sets=(*ONE, *sets))
    assert not (tmp_path / "out").exists()


def test_files_that_do_not_belong_together_are_refused(functions, own, tmp_path):
    shutil.copy(series(own), tmp_path / "left")
    shutil.copy(series(own, "R"), series(own))
    refused(functions, own, tmp_path, "is of CortexRight, not of CortexLeft")
    shutil.copy(tmp_path / "left", series(own))
    content = series(own).read_bytes()
    series(own).write_bytes(content[: len(content) // 2])
    refused(functions, own, tmp_path, "hemi-L")
    shutil.copy(tmp_path / "left", series(own))
    series(own, "R").unlink()
    with pytest.raises(FileNotFoundError, match="Both hemispheres"):
        functions["prepare"](own, tmp_path / "out", sets=ONE)


def test_a_series_without_its_repetition_time_is_refused_unless_it_is_given(functions, own, tmp_path):
    (own / "task-pictures_bold.json").unlink()
    series(own).with_name(series(own).name.replace(".func.gii", ".json")).write_text("{}")
    refused(functions, own, tmp_path, "RepetitionTime")
    functions["prepare"](own, tmp_path / "out", sets=(*ONE, "fmri.t_r=1.5"))


def test_a_name_that_the_mesh_contradicts_and_a_mask_of_voxels_are_refused(functions, own, tmp_path):
    with pytest.raises(checks.ConfigError, match="leave it out"):
        functions["prepare"](own, tmp_path / "out", sets=(*ONE, "fmri.mask=mask.nii.gz"))
    for path in series(own).parent.glob("*space-fsaverage3*"):
        path.rename(path.with_name(path.name.replace("fsaverage3", "fsaverage5")))
    with pytest.raises(checks.DataFileError, match=r"\[642, 642\] vertices, which fsaverage5 has not"):
        functions["prepare"](own, tmp_path / "out", sets=("fmri.space=fsaverage5",))


def test_vertices_without_a_value_are_left_out_and_broken_ones_follow_the_policy(functions, own, tmp_path):
    at = bids_synthetic.vertices(86)

    def nowhere(values):
        values[[0, int(at[3])]] = np.nan

    change(series(own), nowhere)
    functions["prepare"](own, tmp_path / "out", sets=ONE)
    space = vertices_of(tmp_path / "out")
    assert space.n_features == 171 and at[3] not in space.left and at[3] in space.right

    def constant(values):
        values[at[7]] = 5.0

    change(series(own, "R"), constant)
    shutil.rmtree(tmp_path / "out")
    refused(functions, own, tmp_path, "1 bad of 171 vertices .0 with NaN, 1 constant")
    functions["prepare"](own, tmp_path / "out", sets=(*ONE, "fmri.bad_voxels=drop"))
    space = vertices_of(tmp_path / "out")
    assert space.n_features == 170 and at[7] in space.left and at[7] not in space.right


def write_dense(path, signal, columns):
    """The cortex of fs_LR with a structure below it, as fMRIPrep's 91k grayordinates begin."""
    import nibabel
    from nibabel.cifti2 import BrainModelAxis, SeriesAxis

    sides = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
    below = BrainModelAxis("CIFTI_STRUCTURE_PUTAMEN_LEFT", voxel=np.array([[1, 1, 1]]), affine=np.eye(4),
                           volume_shape=(3, 3, 3))  # fmt: skip
    left, right = (BrainModelAxis.from_surface(c, 32492, s) for c, s in zip(columns, sides, strict=True))
    values = np.concatenate([signal, np.ones((len(signal), 1))], axis=1).astype(np.float32)
    image = nibabel.Cifti2Image(values, (SeriesAxis(0, 1.5, len(values)), left + right + below))
    image.nifti_header.set_intent("ConnDenseSeries")
    nibabel.save(image, path)


def test_dense_series_give_the_betas_of_their_cortex(functions, own, tmp_path):
    columns = (np.arange(86) * 3, 7 + np.arange(86) * 2)
    at = bids_synthetic.vertices(86)
    import nibabel

    for run in range(1, 5):
        sides = [np.stack([a.data for a in nibabel.load(series(own, h, run)).darrays])[:, at] for h in "LR"]
        path = series(own, run=run)
        stem = path.name.replace("hemi-L_space-fsaverage3_bold.func.gii", "space-fsLR_den-91k_bold")
        write_dense(path.with_name(f"{stem}.dtseries.nii"), np.concatenate(sides, axis=1), columns)
        sidecar = path.with_name(path.name.replace(".func.gii", ".json"))
        shutil.copy(sidecar, path.with_name(f"{stem}.json"))
    found = {}
    for space in ("fsaverage3", "fsLR"):
        functions["prepare"](own, tmp_path / space, sets=('modalities=["fmri"]', f"fmri.space={space}"))
        found[space] = NeuralDataset.read(tmp_path / space).trials[KEY].responses[:]
    assert np.array_equal(found["fsLR"], found["fsaverage3"])
    space = vertices_of(tmp_path / "fsLR")
    assert space.mesh == "fs_LR_32k" and np.array_equal(space.left, columns[0])
    assert np.array_equal(space.right, columns[1])
    other = series(own, run=2).name.replace(
        "hemi-L_space-fsaverage3_bold.func.gii", "space-fsLR_den-91k_bold"
    )
    path = series(own).with_name(f"{other}.dtseries.nii")
    write_dense(path, np.ones((150, 172)), (columns[1], columns[0]))
    with pytest.raises(checks.DataFileError, match="other vertices"):
        functions["prepare"](own, tmp_path / "out", sets=('modalities=["fmri"]', "fmri.space=fsLR"))
