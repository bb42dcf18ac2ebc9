"""Sherlock: every volume that was measured, from NIfTI or from a MATLAB file a region."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import NeuralDataset, catalogue, clips, layout, leakage
from braindec.types import Embeddings


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("sherlock")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("sherlock")
    truth = functions["synthetic"](base / "raw")
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,))
    return tmp_path / "raw"


def volumes(raw, s=1):
    return raw / "sherlock_nifti_kit_v1" / "sherlock_nifti_data" / f"sherlock_movie_s{s}.nii"


def refused(functions, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_planted_volumes(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    assert counts.trials == {"sub-01_fmri": 1976, "sub-05_fmri": 1925} and counts.n_stimuli == 1976
    for key, values in truth.responses.items():
        assert np.array_equal(dataset.trials[key].responses[:], values)
        assert np.array_equal(dataset.trials[key].table["stimulus_id"], truth.tables[key]["stimulus_id"])
    layout.verify(out)


def test_voxels_are_those_of_the_mask(made):
    space = NeuralDataset.read(made[2]).trials["sub-01_fmri"].space
    assert space.mask.shape == (4, 5, 3) and space.mask.sum() == 24 and space.mask[1:3, 1:5].all()
    assert np.allclose(np.diag(space.affine), [3, 3, 3, 1])


def test_without_a_mask_voxels_that_are_zero_are_left_out(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", subjects=(2,), mask=False)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-02_fmri"]
    assert np.array_equal(trials.responses[:], truth.responses["sub-02_fmri"])


def test_regions_give_the_same_values_side_by_side(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", release="regions")
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-05_fmri"]
    assert np.array_equal(trials.responses[:], truth.responses["sub-05_fmri"])
    assert {name: int(m.sum()) for name, m in trials.space.regions.items()} == {"aud_early": 10, "pmc_nn": 14}


def test_scans_are_parts_and_runs_that_do_not_share_a_stretch(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert train.n_trials == 2 * 946 and test.n_trials == 1030 + 979
    assert dataset.about["hrf_lag_s"] == 4.5


def test_scans_are_continuous_beside_the_features_of_the_film(made):
    dataset = NeuralDataset.read(made[2])
    ids = dataset.stimuli.ids
    features = Embeddings(ids, np.arange(len(ids), dtype=np.float32)[:, None, None], "mine", {}, "0")
    found = clips.continuous(dataset.trials["sub-05_fmri"], features, lag_s=4.5)
    assert found.runs["scan2"].shape == (979, 24) and (np.diff(found.features["scan2"][:, 0]) == 1).all()


def test_a_dry_run_counts_and_says_who_is_missing(functions, made, tmp_path):
    raw, _, _, counts = made
    assert functions["prepare"](raw, tmp_path / "none", dry_run=True) == counts
    assert not list(tmp_path.iterdir()) and "2, 3, 4, 6" in counts.missing[0]


def test_another_number_of_volumes_is_refused(functions, raw):
    image = nibabel.load(volumes(raw))
    data = np.asarray(image.dataobj)[..., :1950].copy()
    nibabel.save(nibabel.Nifti1Image(data, image.affine), volumes(raw))
    assert "expected 1976 volumes" in refused(functions, raw, volumes(raw))


def test_a_mask_on_another_grid_is_refused(functions, raw, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), tmp_path / "mask.nii")
    message = refused(functions, raw, volumes(raw), sets=(f'mask="{tmp_path / "mask.nii"}"',))
    assert "has grid (4, 5, 3), the mask (3, 3, 3)" in message


def test_a_truncated_file_is_refused(functions, raw):
    content = volumes(raw).read_bytes()
    volumes(raw).write_bytes(content[:-100])
    assert "its header asks for" in refused(functions, raw, volumes(raw))


def test_regions_with_swapped_axes_are_refused(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), release="regions")
    path = tmp_path / "raw" / "subjects" / "s1" / "sherlock_movie" / "pmc_nn_sherlock_movie_s1.mat"
    savemat(path, {"rdata": loadmat(path)["rdata"].T})
    assert "(1976, 14)" in refused(functions, tmp_path / "raw", path)


def test_a_cut_region_is_one_error(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), release="regions")
    path = tmp_path / "raw" / "subjects" / "s1" / "sherlock_movie" / "aud_early_sherlock_movie_s1.mat"
    for share in (0.001, 0.5):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        refused(functions, tmp_path / "raw", path)


def test_absent_subjects_are_refused_and_fetch_says_where_they_are(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sherlock_movie_s3\.nii"):
        functions["prepare"](raw, tmp_path / "none", subjects=[3])
    with pytest.raises(checks.DownloadError, match="princeton"):
        functions["fetch"](raw, subjects=[1, 2])
    assert len(functions["fetch"](raw, dry_run=True)) == 17
