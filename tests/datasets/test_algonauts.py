"""The miniature of Algonauts 2023 is prepared image by image; contradictions are one error and write nothing."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

KEYS = ("sub-01_fmri", "sub-02_fmri")
LEFT = "subj01/training_split/training_fmri/lh_training_fmri.npy"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("algonauts2023")


@pytest.fixture(scope="module")
def raw(functions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("algonauts") / "raw"
    return folder, functions["synthetic"](folder)


@pytest.fixture(scope="module")
def prepared(functions, raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("algonauts") / "out"
    return out, functions["prepare"](raw[0], out, image_side=48)


@pytest.mark.parametrize("key", KEYS)
def test_every_image_has_its_planted_response_id_and_vertices(raw, prepared, key):
    trials, truth = NeuralDataset.read(prepared[0]).trials[key], raw[1]
    assert np.array_equal(trials.responses[:], truth.responses[key])
    for column in truth.tables[key]:
        assert np.array_equal(trials.table[column], truth.tables[key][column])
    left, right = truth.details["vertices"][key]
    assert np.array_equal(trials.space.left, left) and np.array_equal(trials.space.right, right)
    labels = [
        np.load(raw[0] / f"subj{key[4:6]}/roi_masks/{h}.streams_challenge_space.npy") for h in ("lh", "rh")
    ]
    assert np.array_equal(trials.space.regions["streams-ventral"], np.concatenate(labels) == 5)


def test_pictures_counts_and_splits_agree_with_the_files(functions, raw, prepared, tmp_path):
    dataset, details = NeuralDataset.read(prepared[0]), raw[1].details
    fields = dataset.stimuli.images(dataset.stimuli.ids)[:, 6::12, 6::12]
    assert np.array_equal(fields, np.stack([details["colours"][i] for i in dataset.stimuli.ids]))
    counts = functions["prepare"](raw[0], tmp_path / "none", dry_run=True)
    assert counts == prepared[1] == catalogue.counts(prepared[0])
    assert "subject 1: 9781 of 9841 training images" in counts.missing and counts.plan
    assert [len(ids) for ids in dataset.about["unanswered"].values()] == [details["n_test"]] * 2
    leakage.check(dataset.part("train"), dataset.part("test"))
    assert dataset.part("train").n_trials + dataset.part("test").n_trials == dataset.n_trials == 120
    layout.verify(prepared[0])


def replace_left(folder, change):
    np.save(folder / LEFT, change(np.load(folder / LEFT)))


def lose_a_picture(folder):
    next((folder / "subj01/training_split/training_images").glob("train-0007_*")).unlink()


def lose_the_last_picture(folder):
    next((folder / "subj01/training_split/training_images").glob("train-0060_*")).unlink()


def poisoned(folder):
    np.save(
        folder / "subj01/roi_masks/mapping_streams.npy",
        np.array(shutil.rmtree, dtype=object),
        allow_pickle=True,
    )


def with_nan(values):
    values[3, 5] = np.nan
    return values


FAULTS = {
    "a picture is lost": (lose_a_picture, "training_images.*lacks the picture with number 0007"),
    "fewer pictures than responses": (lose_the_last_picture, r"lh_training_fmri.*expected \(59, "),
    "other vertices": (lambda f: replace_left(f, lambda v: v[:, :-1]), r"lh_training_fmri.*roi_masks"),
    "hemispheres of two lengths": (
        lambda f: replace_left(f, lambda v: v[:-1]),
        "rh_training_fmri.*expected 59",
    ),
    "doubles": (lambda f: replace_left(f, lambda v: v.astype(float)), "lh_training_fmri.*expected float32"),
    "NaN": (lambda f: replace_left(f, with_nan), "lh_training_fmri.*1 vertices with NaN"),
    "a cut file": (lambda f: (f / LEFT).write_bytes((f / LEFT).read_bytes()[:-9]), "lh_training_fmri"),
    "a pickle that runs something": (poisoned, "mapping_streams.*asks to run"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_error_and_writes_nothing(functions, raw, tmp_path, fault):
    damage, said = FAULTS[fault]
    shutil.copytree(raw[0] / "subj01", tmp_path / "raw" / "subj01")
    damage(tmp_path / "raw")
    with pytest.raises(checks.DataFileError, match=said):
        functions["prepare"](tmp_path / "raw", tmp_path / "out", image_side=16)
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_named(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds subjects \[1, 2\], not \[7\]"):
        functions["prepare"](raw[0], tmp_path, subjects=[7])
    with pytest.raises(FileNotFoundError, match="--raw"):
        functions["prepare"](tmp_path, tmp_path / "out")
    with pytest.raises(checks.DownloadError, match="form"):
        functions["fetch"](tmp_path)
