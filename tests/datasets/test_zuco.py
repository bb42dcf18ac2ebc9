"""ZuCo: both containers give the planted band power word by word, and a sentence lies on one side alone."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage, mat5_stream


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("zuco")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("zuco")
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("zuco_small") / "raw"
    functions["synthetic"](raw, n_sentences=5)
    return raw


@pytest.fixture
def small(written, tmp_path):
    """Files of both containers, for a change."""
    return shutil.copytree(written, tmp_path / "raw")


@pytest.mark.parametrize("key", ["sub-01_eeg", "sub-13_eeg"])  # MATLAB 5 and 7.3
def test_words_are_the_planted_ones_trial_by_trial(made, key):
    _, truth, out, _ = made
    trials = NeuralDataset.read(out).trials[key]
    assert np.array_equal(trials.responses[:], truth.responses[key]) and trials.responses.shape[1] == 840
    for column, values in truth.tables[key].items():
        assert np.array_equal(trials.table[column], values), column
    assert trials.space.regions["t2"].tolist() == [False] * 105 + [True] * 105 + [False] * 630


def test_another_measure_is_another_field(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", subjects=[13], sets=["measure=TRT", 'tasks=["NR"]'])
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-13_eeg"]
    word = str(trials.table["word"][0])
    planted = np.concatenate([truth.details["pattern"][f"{word}/TRT/{b}"] for b in ("t1", "t2")])
    other = np.concatenate([truth.details["pattern"][f"{word}/GD/{b}"] for b in ("t1", "t2")])
    assert np.corrcoef(trials.responses[0][:210], planted)[0, 1] > 0.8
    assert abs(np.corrcoef(trials.responses[0][:210], other)[0, 1]) < 0.4
    assert set(trials.table["run"].tolist()) == {"NR"}


def test_a_sentence_lies_on_one_side_for_every_person_and_task(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    texts = [
        {str(dataset.stimuli.table["sentence"][row[i]]) for i in part.stimulus_ids} for part in (train, test)
    ]
    assert texts[0] and texts[1] and not texts[0] & texts[1]
    first, second = (set(t.table["concept"].tolist()) for t in dataset.trials.values())
    assert second < first  # 2.0 has no SR
    shared = dataset.trials["sub-13_eeg"].table
    both = set(shared["concept"][shared["run"] == "NR"]) & set(shared["concept"][shared["run"] == "TSR"])
    assert len(both) == 1 and shared["repeat"].max() == 1


def test_what_is_missing_is_counted_and_a_dry_run_writes_nothing(functions, made, tmp_path):
    raw, _, out, counts = made
    dry = functions["prepare"](raw, tmp_path / "none", dry_run=True)
    assert dry == counts == catalogue.counts(out) and not list(tmp_path.iterdir())
    said = " ".join(counts.missing)
    assert "resultsZAB_SR.mat: 9 of 400 sentences" in said and "resultsYAC_TSR.mat: 9 of 390" in said
    assert "sub-01: 3 sentences without data of words" in said
    assert "sub-13: 2 fixated words without finite EEG" in said
    assert NeuralDataset.read(out).about["people"] == {"sub-01": "ZAB", "sub-13": "YAC"}
    layout.verify(out)


def test_files_of_1_0_are_read_sentence_by_sentence_once_to_count_and_twice_to_prepare(
    functions, made, tmp_path, monkeypatch
):
    read, stream = [], mat5_stream.elements
    monkeypatch.setattr(mat5_stream, "elements", lambda path, *rest: read.append(path) or stream(path, *rest))
    functions["prepare"](made[0], tmp_path / "out", subjects=[1], dry_run=True)
    assert len(read) == len(set(read)) == 3
    functions["prepare"](made[0], tmp_path / "out", subjects=[1])
    assert len(read) == 9


def test_a_lacking_task_is_named(functions, small, tmp_path):
    next(small.rglob("resultsZAB_NR.mat")).unlink()
    said = functions["prepare"](small, tmp_path / "out", dry_run=True).missing
    assert "sub-01: no file of NR." in said


def refused(functions, raw, path, match):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, raw.parent / "out")
    assert caught.value.path == path and not (raw.parent / "out").exists()


@pytest.mark.parametrize("name", ["resultsZAB_SR.mat", "resultsYAC_NR.mat"])
def test_damaged_files_are_refused_by_name(functions, small, name):
    path = next(small.rglob(name))
    good = path.read_bytes()
    for content in (good[: len(good) // 2], good[:100], b""):
        path.write_bytes(content)
        refused(functions, small, path, None)


def test_missing_fields_and_doubled_files_are_refused(functions, small):
    path = next(small.rglob("resultsYAC_NR.mat"))
    with h5py.File(path, "r+") as file:
        del file["sentenceData/content"]
    refused(functions, small, path, "lacks the field 'content'")
    again = small / "resultsYAC_TSR.mat"
    again.write_bytes(next((small / "task-TSR").rglob("resultsYAC_TSR.mat")).read_bytes())
    with pytest.raises(checks.DataFileError, match="has the name of"):
        functions["prepare"](small, small.parent / "out")


def test_unknown_choices_and_missing_files_are_named(functions, small, tmp_path):
    with pytest.raises(checks.ConfigError, match="measure"):
        functions["prepare"](small, tmp_path / "out", measure="ABC")
    with pytest.raises(FileNotFoundError, match="subject 2"):
        functions["prepare"](small, tmp_path / "out", subjects=[2])
    assert len(functions["fetch"](tmp_path / "none", dry_run=True)) == 12 * 3 + 18 * 2
    with pytest.raises(checks.DownloadError, match=r"osf\.io"):
        functions["fetch"](tmp_path / "none")
