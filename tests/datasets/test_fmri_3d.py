"""fMRI-3D: objects of both parts as their arrays hold them, by mean or by frame."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

KEY = "sub-01_fmri"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("fmri_3d")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("fmri_3d")
    truth = functions["synthetic"](base / "raw")
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", part="objaverse", n_objects=3)
    return tmp_path / "raw"


def first(raw):
    return sorted((raw / "fMRI-Objaverse" / "sub-0001" / "npy_data").glob("*.npy"))[0]


def refused(functions, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_means_of_the_planted_frames(made):
    _, truth, out, counts = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert counts.trials == {KEY: 6} and counts.n_stimuli == 6
    assert np.allclose(trials.responses[:], truth.responses[KEY], atol=1e-6)
    assert np.array_equal(trials.table["stimulus_id"], truth.tables[KEY]["stimulus_id"])
    layout.verify(out)


def test_features_are_the_pixels_that_vary(made):
    dataset = NeuralDataset.read(made[2])
    mask = dataset.trials[KEY].space.mask
    assert mask.shape == (256, 256, 1) and np.array_equal(np.flatnonzero(mask), made[1].details["inside"])
    assert dataset.about["voxels_left_out"] == {KEY: {"not_finite": 0, "constant": 65536 - 60}}


def test_each_frame_is_a_trial_when_asked(functions, made, tmp_path):
    functions["prepare"](made[0], tmp_path / "out", sets=("frames=each",))
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert np.array_equal(trials.responses[:].reshape(6, 10, 60), made[1].details["frames"][1])
    assert trials.table["frame"][:11].tolist() == [*range(10), 0]
    assert set(trials.table["repeat"].tolist()) == {0}


def test_frames_side_by_side_are_the_features_of_an_object(functions, made, tmp_path):
    functions["prepare"](made[0], tmp_path / "out", frames="joined")
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert trials.space.mask.shape == (256, 256, 10) and trials.responses.shape == (6, 600)
    by_pixel = trials.responses[:].reshape(6, 60, 10)  # a pixel's frames lie beside each other
    assert np.array_equal(by_pixel, made[1].details["frames"][1].transpose(0, 2, 1))


def test_responses_to_generated_objects_come_with_their_grids(functions, tmp_path):
    told = {"solids": True, "part": "objaverse", "n_objects": 6, "n_others": 2, "side": 10, "n_pixels": 9}
    truth = functions["synthetic"](tmp_path / "raw", **told)
    grids = {p.stem: np.load(p) for p in (tmp_path / "raw" / "solids").rglob("*.npy")}
    assert set(grids) == {uid for _, uid in truth.details["objects"]}
    assert all(g.shape == (10, 10, 10) and 0 < g.mean() < 0.7 for g in grids.values())
    assert len(list((tmp_path / "raw" / "other_solids").rglob("*.npy"))) == 2
    counts = functions["prepare"](tmp_path / "raw", tmp_path / "out")
    assert counts.trials == {KEY: 6}


def test_the_lists_are_the_split_and_name_the_categories(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    objects = made[1].details["objects"]
    assert set(test.stimulus_ids) == {uid for _, uid in objects[4:]} and train.n_trials == 4
    synset = dict(zip(dataset.stimuli.ids, dataset.stimuli.table["synset"].tolist(), strict=True))
    assert synset == {uid: c for c, uid in objects}
    assert "airplane" in dataset.stimuli.table["category"].tolist()


def test_objaverse_has_captions_and_eight_frames(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", part="objaverse", subjects=(6, 15))
    counts = functions["prepare"](tmp_path / "raw" / "fMRI-Objaverse", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    for key, values in truth.responses.items():
        assert np.allclose(dataset.trials[key].responses[:], values, atol=1e-6)
    assert all(text.startswith("a turning 0") for text in dataset.stimuli.table["text"].tolist())
    assert dataset.about["part"] == "objaverse" and "subjects 1, 7, 8 of 5" in counts.missing[0]
    assert list(dataset.splits) == ["default"]


def test_both_parts_side_by_side_ask_for_a_choice(functions, made, raw, tmp_path):
    functions["synthetic"](raw, part="shape")
    with pytest.raises(checks.ConfigError, match="part=shape"):
        functions["prepare"](raw, tmp_path / "out")
    assert functions["prepare"](raw, tmp_path / "none", part="objaverse", dry_run=True).trials == {KEY: 3}


def test_a_dry_run_counts_and_writes_nothing(functions, made, tmp_path):
    assert functions["prepare"](made[0], tmp_path / "none", dry_run=True) == made[3]
    assert not list(tmp_path.iterdir())


def test_missing_objects_and_lists_are_said(functions, raw, tmp_path):
    first(raw).unlink()
    (raw / "fMRI-Objaverse" / "annotations" / "test_list.txt").unlink()
    said = functions["prepare"](raw, tmp_path / "out").missing
    assert said[0] == "Not there, so not prepared: subjects 6, 7, 8, 15 of 5."
    assert said[1].startswith("the list test_list.txt") and "1 of 2 listed objects" in said[2]
    assert not NeuralDataset.read(tmp_path / "out").splits


def test_arrays_of_another_shape_are_refused(functions, raw):
    path = first(raw)
    np.save(path, np.zeros((10, 256, 256), dtype=np.float32))
    assert "(10, 256, 256), expected numbers (8, 256, 256)" in refused(functions, raw, path)


def test_a_truncated_array_and_an_empty_list_are_refused(functions, raw):
    path = first(raw)
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    assert "its header asks for" in refused(functions, raw, path)
    path.write_bytes(content)
    listed = raw / "fMRI-Objaverse" / "annotations" / "train_list.txt"
    listed.write_text("one\ntwo\n")
    assert "is no list" in refused(functions, raw, listed)


def test_pixels_with_nan_are_counted_or_refused(functions, raw, tmp_path):
    path = first(raw)
    array = np.load(path)
    array[0, 3, 4] = np.nan
    np.save(path, array)
    assert "1 voxels with NaN" in refused(functions, raw, path, invalid="refuse")
    functions["prepare"](raw, tmp_path / "out")
    assert NeuralDataset.read(tmp_path / "out").about["voxels_left_out"][KEY]["not_finite"] == 1


def test_absent_subjects_are_refused_and_fetch_says_where_they_are(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"subject 7 in .*fMRI-Objaverse"):
        functions["prepare"](raw, tmp_path / "none", subjects=[7])
    with pytest.raises(FileNotFoundError, match="fMRI-Shape"):
        functions["prepare"](tmp_path, tmp_path / "none")
    with pytest.raises(checks.DownloadError, match="hf download Fudan-fMRI/fMRI-Shape"):
        functions["fetch"](tmp_path / "x")
    assert len(functions["fetch"](tmp_path / "x", dry_run=True, part="objaverse")) == 7
