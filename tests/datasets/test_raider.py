"""Raider: film and pictures of ten subjects from each of the three forms in which the files are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("raider")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("raider")
    truth = functions["synthetic"](base / "raw")
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw")
    return tmp_path / "raw"


def refused(functions, raw, name):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", subjects=[1])
    assert error.value.path == raw / name and not (raw.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_planted_volumes_and_pictures(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    assert counts.trials == dict.fromkeys(truth.responses, 2259) and counts.n_stimuli == 2210
    for key, values in truth.responses.items():
        assert np.array_equal(dataset.trials[key].responses[:], values)
        assert np.array_equal(dataset.trials[key].table["stimulus_id"], truth.tables[key]["stimulus_id"])
    layout.verify(out)


@pytest.mark.parametrize("form", ["subject_first", "cells"])
def test_the_other_forms_give_the_same(functions, made, tmp_path, form):
    functions["synthetic"](tmp_path / "raw", form=form)
    functions["prepare"](tmp_path / "raw", tmp_path / "out", subjects=[7])
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-07_fmri"]
    assert np.array_equal(trials.responses[:], made[1].responses["sub-07_fmri"])


def test_pictures_are_repeated_once_a_run_and_named_by_category(made):
    table = NeuralDataset.read(made[2]).trials["sub-01_fmri"].table
    pictures = np.flatnonzero(table["run"] != "movie")
    assert table["stimulus_id"][pictures].tolist() == [f"category-{c}" for c in made[1].details["label"]]
    assert np.array_equal(table["repeat"][pictures], np.arange(56) // 7)


def test_hemispheres_are_regions(made):
    space = NeuralDataset.read(made[2]).trials["sub-01_fmri"].space
    assert {name: int(m.sum()) for name, m in space.regions.items()} == {"LHVT": 7, "RHVT": 5, "VT": 12}


def test_splits_are_halves_of_the_film_and_film_against_pictures(made):
    dataset = NeuralDataset.read(made[2])
    for split, n_train, n_test in (("default", 1101, 1096), ("movie_to_images", 2203, 56)):
        train, test = (dataset.with_split(split).part(part) for part in ("train", "test"))
        leakage.check(train, test)
        assert (train.trials["sub-02_fmri"].n_trials, test.trials["sub-02_fmri"].n_trials) == (
            n_train,
            n_test,
        )


def test_a_dry_run_counts_and_writes_nothing(functions, made, tmp_path):
    assert functions["prepare"](made[0], tmp_path / "none", dry_run=True) == made[3]
    assert not list(tmp_path.iterdir())


def test_axes_that_fit_none_of_the_forms_are_refused(functions, raw):
    held = loadmat(raw / "movie_data.mat")
    savemat(raw / "movie_data.mat", {k: held[k][..., :9] for k in ("movie_data_lh", "movie_data_rh")})
    assert "(7, 2203, 9), expected (voxel, 2203, 10)" in refused(functions, raw, "movie_data.mat")


def test_a_missing_hemisphere_and_other_voxels_are_refused(functions, raw):
    held = loadmat(raw / "image_data.mat")
    savemat(raw / "image_data.mat", {"image_data_lh": held["image_data_lh"]})
    assert "lacks 'image_data_rh'; it has ['image_data_lh']" in refused(functions, raw, "image_data.mat")
    savemat(raw / "image_data.mat", {k: held[k][:4] for k in ("image_data_lh", "image_data_rh")})
    assert "holds 4 voxels as 'image_data_lh', movie_data.mat 7" in refused(functions, raw, "image_data.mat")


def test_labels_that_are_not_balanced_are_refused(functions, raw):
    savemat(raw / "label.mat", {"label": np.ones((56, 1))})
    assert "once in each of 8 runs" in refused(functions, raw, "label.mat")


def test_a_cut_file_is_one_error(functions, raw):
    path = raw / "movie_data.mat"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(functions, raw, "movie_data.mat")


def test_absent_files_are_named_with_their_address(functions, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dropbox.*movie_data"):
        functions["prepare"](tmp_path, tmp_path / "out")
    with pytest.raises(checks.DownloadError, match=r"label\.mat from https"):
        functions["fetch"](tmp_path)
    assert len(functions["fetch"](tmp_path, dry_run=True)) == 3
