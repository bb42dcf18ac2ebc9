"""Deep image reconstruction: a file an experiment, of either release, to trials with names."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, figshare, layout, leakage

KEY = "sub-01_fmri"
TRIALS = {"training": 6000, "test": 1200, "shapes": 800, "letters": 120, "imagery": 520}


@pytest.fixture(scope="module")
def shen():
    return catalogue.load("deeprecon")


@pytest.fixture(scope="module", params=["original", "fmriprep"])
def made(shen, request, tmp_path_factory):
    base = tmp_path_factory.mktemp(request.param)
    truth = shen["synthetic"](base / "raw", fmriprep=request.param == "fmriprep")
    return request.param, base / "raw", truth, base / "out", shen["prepare"](base / "raw", base / "out")


@pytest.fixture(scope="module")
def written(shen, tmp_path_factory):
    raw = tmp_path_factory.mktemp("deeprecon") / "raw"
    shen["synthetic"](raw)
    return raw


@pytest.fixture
def raw(written, tmp_path):
    return shutil.copytree(written, tmp_path / "raw")


def refused(shen, raw, name):
    path = raw / f"sub-01_{name}_original_VC.h5"
    with pytest.raises(checks.DataFileError) as error:
        shen["prepare"](raw, raw.parent / "out")
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_planted_ones_in_both_releases(made):
    _, _, truth, out, counts = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert counts.trials == {KEY: sum(TRIALS.values())} and counts.n_stimuli == 1326
    assert trials.responses[:] == pytest.approx(truth.responses[KEY], abs=1e-5)
    for column in truth.tables[KEY]:
        assert np.array_equal(trials.table[column], truth.tables[KEY][column]), column
    assert trials.space.regions["V1"].sum() == 8 and trials.space.regions["VC"].all()
    layout.verify(out)


def test_numbers_of_different_experiments_are_different_stimuli(made):
    table = NeuralDataset.read(made[3]).trials[KEY].table
    of = {name: set(table["stimulus_id"][table["experiment"] == name].tolist()) for name in TRIALS}
    assert sum(map(len, of.values())) == len(set().union(*of.values())) == 1326


def test_every_split_trains_on_natural_images_and_shares_no_category(made):
    dataset = NeuralDataset.read(made[3])
    assert set(dataset.splits) == {"default", "shapes", "letters", "imagery"}
    for name in dataset.splits:
        whole = dataset.with_split(name)
        train, test = whole.part("train"), whole.part("test")
        leakage.check(train, test)
        assert train.n_trials == 6000
        assert test.n_trials == TRIALS["test" if name == "default" else name]


def test_a_dry_run_counts_and_writes_nothing(shen, made, tmp_path):
    _, raw, _, _, counts = made
    assert shen["prepare"](raw, tmp_path / "none", dry_run=True) == counts and not list(tmp_path.iterdir())


def test_a_missing_experiment_is_named_and_a_missing_test_file_is_refused(shen, raw):
    (raw / "sub-01_imagery_original_VC.h5").unlink()
    counts = shen["prepare"](raw, raw.parent / "less")
    assert counts.missing[1] == "sub-01 imagery: the file imagery"
    (raw / "sub-01_perceptionNaturalImageTest_original_VC.h5").unlink()
    with pytest.raises(FileNotFoundError, match="perceptionNaturalImageTest"):
        shen["prepare"](raw, raw.parent / "out")


def test_a_file_of_another_subject_is_refused(shen, raw):
    path = raw / "sub-01_perceptionLetterImage_original_VC.h5"
    with h5py.File(path, "r+") as file:
        keep = np.setdiff1d(np.arange(27), [4])
        for key in ("dataset", "metadata/value"):
            values = file[key][()][:, keep]
            del file[key]
            file[key] = values
    message = refused(shen, raw, "perceptionLetterImage")
    assert "holds 23 voxels that are not the 24" in message and "one subject" in message


def test_a_file_that_lost_trials_is_counted_and_one_with_more_is_refused(shen, raw):
    path = raw / "sub-01_perceptionNaturalImageTest_original_VC.h5"
    with h5py.File(path, "r+") as file:
        data = file["dataset"][()]
        del file["dataset"]
        file["dataset"] = data[:-3]
    assert shen["prepare"](raw, raw.parent / "less").missing[1] == "sub-01 test: 3 of 1200 trials"
    with h5py.File(path, "r+") as file:
        del file["dataset"]
        file["dataset"] = np.concatenate([data, data])
    assert "holds 2400 trials, expected 1200" in refused(shen, raw, "perceptionNaturalImageTest")


def test_two_releases_of_one_file_are_refused(shen, raw):
    shen["synthetic"](raw, fmriprep=True)
    with pytest.raises(checks.DataFileError, match="second release"):
        shen["prepare"](raw, raw.parent / "out")


def test_a_name_that_the_file_does_not_explain_is_refused(shen, tmp_path):
    shen["synthetic"](tmp_path / "raw", fmriprep=True)
    path = tmp_path / "raw" / "sub-01_ArtificialShapes_fmriprep_volume_native.h5"
    with h5py.File(path, "r+") as file:
        del file["vmap/stimulus_name/7.0"]
    with pytest.raises(checks.DataFileError, match=r"no name for the value 7\.0 of 'stimulus_name'"):
        shen["prepare"](tmp_path / "raw", tmp_path / "out")


def test_pictures_are_found_by_id_by_name_or_by_number(shen, made, tmp_path):
    from PIL import Image

    release, raw, _, out, _ = made
    folder = tmp_path / "raw" / "images"
    folder.mkdir(parents=True)
    for path in raw.glob("*.h5"):
        (tmp_path / "raw" / path.name).write_bytes(path.read_bytes())
    lines = []
    for i, key in enumerate(NeuralDataset.read(out).stimuli.ids):
        name = key
        if not key.startswith("n"):
            experiment, number = key.split("-")
            name = f"{experiment}_{number}" if release == "original" else number.partition("_")[2]
            lines.append(f"{name}\t{number}") if experiment == "shapes" else None
        if release == "original" and key.startswith(("letters", "imagery")):
            name = key
        Image.new("RGB", (2, 2), (i % 256, i // 256, 7)).save(folder / f"{name}.png")
    (folder / "ArtificialImage.tsv").write_text("\n".join(lines))
    counts = shen["prepare"](tmp_path / "raw", tmp_path / "out", dry_run=True)
    assert counts.missing == (
        "Not there, so not prepared: subjects 2, 3 of 3.",
        "sub-01: 24 voxels of visual cortex, where others counted 11726",
    )


def test_fetch_lists_the_files_and_verifies_what_comes(shen, tmp_path, monkeypatch):
    paths = shen["fetch"](tmp_path, subjects=[1], dry_run=True)
    assert paths[0].name == "sub-01_perceptionNaturalImageTraining_original_VC.h5" and len(paths) == 5
    monkeypatch.setattr(figshare, "API", "http://127.0.0.1:9")
    with pytest.raises(checks.DownloadError, match="by hand"):
        shen["fetch"](tmp_path, subjects=[1])
