"""Each real dataset's miniature goes through its own prepare: counts and values trial by trial."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

NAMES = ("haxby2001", "digits69", "faces_houses_eeg")


@pytest.fixture(scope="module", params=NAMES)
def made(request, tmp_path_factory):
    """(name, functions, raw folder, truth, prepared folder, counts) of one dataset."""
    base = tmp_path_factory.mktemp(request.param)
    functions = catalogue.load(request.param)
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out")
    return request.param, functions, base / "raw", truth, base / "out", counts


def test_counts_are_those_of_the_truth_and_of_a_dry_run(made, tmp_path):
    _, functions, raw, truth, out, counts = made
    assert counts.trials == {key: len(values) for key, values in truth.responses.items()}
    assert functions["prepare"](raw, tmp_path / "none", dry_run=True) == counts == catalogue.counts(out)
    assert not (tmp_path / "none").exists()
    layout.verify(out)


def test_every_trial_has_the_planted_labels(made):
    _, _, _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    for key, table in truth.tables.items():
        for column in table:
            assert np.array_equal(dataset.trials[key].table[column], table[column]), column


def test_every_split_is_clean_and_tests_no_trial_twice(made):
    name, _, _, _, out, _ = made
    dataset = NeuralDataset.read(out)
    folds = [s for s in dataset.splits if s != "default"]
    assert len(folds) == {"haxby2001": 12, "digits69": 10, "faces_houses_eeg": 6}[name]
    tested = 0
    for split in dataset.splits:
        train, test = (dataset.with_split(split).part(part) for part in ("train", "test"))
        leakage.check(train, test)
        assert train.n_trials + test.n_trials == dataset.n_trials
        tested += test.n_trials if split != "default" else 0
    assert tested == dataset.n_trials


def test_the_same_seed_gives_the_same_data_and_another_one_does_not(made, tmp_path):
    _, functions, _, _, out, _ = made
    hashes = []
    for seed, folder in ((0, "same"), (1, "other")):
        functions["synthetic"](tmp_path / folder / "raw", seed=seed)
        functions["prepare"](tmp_path / folder / "raw", tmp_path / folder / "out")
        hashes.append(layout.read_manifest(tmp_path / folder / "out")["recordings"][0]["content"])
    original = layout.read_manifest(out)["recordings"][0]["content"]
    assert hashes[0] == original != hashes[1]


def test_other_subjects_and_empty_folders_are_refused(made, tmp_path):
    name, functions, raw, _, _, _ = made
    with pytest.raises(checks.ConfigError, match="subjects"):
        functions["prepare"](raw, tmp_path, subjects=[2])
    with pytest.raises(FileNotFoundError, match="--raw"):
        functions["prepare"](tmp_path, tmp_path / name)


@pytest.mark.parametrize("name", ["haxby2001", "digits69"])
def test_responses_are_the_planted_ones_trial_by_trial(name, tmp_path):
    functions = catalogue.load(name)
    truth = functions["synthetic"](tmp_path / "raw", seed=3)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"]
    assert trials.responses[:] == pytest.approx(truth.responses["sub-01_fmri"], rel=1e-5, abs=1e-6)


def test_pictures_are_turned_upright(tmp_path):
    functions = catalogue.load("digits69")
    truth = functions["synthetic"](tmp_path / "raw")
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    stimuli = NeuralDataset.read(tmp_path / "out").stimuli
    assert np.array_equal(stimuli.images(stimuli.ids)[..., 0], truth.details["pictures"])
    below = stimuli.images(stimuli.ids)[:, 15:].sum((1, 2, 3)) > stimuli.images(stimuli.ids)[:, :13].sum(
        (1, 2, 3)
    )
    assert np.array_equal(
        below, stimuli.table["category"] == "six"
    )  # a six's ring lies below, a nine's above


def test_epochs_without_noise_are_the_planted_waves_trial_by_trial(tmp_path):
    functions = catalogue.load("faces_houses_eeg")
    truth = functions["synthetic"](tmp_path / "raw", noise=0.0)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"]
    planted, found = truth.responses["sub-01_eeg"], trials.responses[:]
    assert found.shape == planted.shape == (240, 4, 155)
    r = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(planted, found, strict=True)]
    assert min(r) > 0.93  # the 1 Hz high-pass takes a little of each wave
    assert found.std() == pytest.approx(planted.std(), rel=0.1)
