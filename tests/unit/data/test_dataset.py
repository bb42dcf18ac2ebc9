"""A dataset shows the rows that its split says, and reads them only when asked."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, Split
from braindec.types import UNKNOWN


def test_parts_hold_exactly_the_trials_of_their_units(prepared, voxels):
    dataset = NeuralDataset.read(prepared)
    train, test = dataset.part("train"), dataset.part("test")
    shown = voxels.table["stimulus_id"]
    rows = np.isin(shown, [f"s{i:03d}" for i in range(15, 20)])
    assert np.array_equal(test.trials["sub-01_fmri"].responses[:], voxels.responses[rows])
    assert train.n_trials + test.n_trials == dataset.n_trials == 80
    assert not set(train.stimulus_ids) & set(test.stimulus_ids)


def test_a_region_cuts_voxels_and_leaves_sensors_alone(prepared, voxels):
    dataset = NeuralDataset.read(prepared, region="early")
    early = voxels.space.regions["early"]
    trials = dataset.trials["sub-01_fmri"]
    assert np.array_equal(trials.responses[5:9], voxels.responses[5:9][:, early])
    assert trials.space.n_features == 10 and trials.space.regions["early"].all()
    assert np.array_equal(np.argwhere(trials.space.mask), np.argwhere(voxels.space.mask)[early])
    assert dataset.info.of("sub-02_eeg").shape == (3, 60)
    test = dataset.part("test").trials["sub-01_fmri"]
    assert test.responses[0].shape == (10,)


def test_several_regions_are_joined_and_an_unknown_one_is_suggested(prepared):
    both = NeuralDataset.read(prepared, region=("early", "late"))
    assert both.info.of("sub-01_fmri").shape == (16,)
    with pytest.raises(checks.ConfigError, match="Did you mean 'early'"):
        NeuralDataset.read(prepared, region="erly")


def test_subjects_modalities_and_splits_are_chosen_by_name(prepared):
    assert NeuralDataset.read(prepared, subjects=[2]).keys == ("sub-02_eeg",)
    assert NeuralDataset.read(prepared, modalities="fmri").keys == ("sub-01_fmri",)
    assert NeuralDataset.read(prepared, split="runs").part("test").n_trials == 20
    with pytest.raises(checks.ConfigError, match="subjects"):
        NeuralDataset.read(prepared, subjects=[3])
    with pytest.raises(checks.ConfigError, match="split"):
        NeuralDataset.read(prepared, split="run")


def test_a_part_is_not_split_again(prepared):
    train = NeuralDataset.read(prepared).part("train")
    with pytest.raises(ValueError, match="already the part"):
        train.part("test")
    with pytest.raises(ValueError, match="already the part"):
        train.with_split("runs")


def test_a_limit_keeps_whole_stimuli(prepared, rng):
    limited = NeuralDataset.read(prepared).limit(0.25, rng)
    for trials in limited.trials.values():
        ids, counts = np.unique(trials.table["stimulus_id"], return_counts=True)
        assert len(ids) == 5 and (counts == 2).all()


def test_selected_rows_may_be_a_mask_a_function_or_positions(prepared, voxels):
    dataset = NeuralDataset.read(prepared)
    first = dataset.select(rows=lambda trials: trials.table["repeat"] == 0)
    assert first.n_trials == 40
    two = dataset.select(["sub-01_fmri"], {"sub-01_fmri": np.array([7, 3])})
    assert two.trials["sub-01_fmri"].table["acquisition_order"].tolist() == [7, 3]
    assert np.array_equal(two.trials["sub-01_fmri"].responses[:], voxels.responses[[7, 3]])
    again = two.select(rows={"sub-01_fmri": np.array([1, 0, 1])}).trials["sub-01_fmri"]
    assert np.array_equal(again.responses[:], voxels.responses[[3, 7, 3]])


def test_identity_depends_on_content_rows_region_and_split(prepared):
    dataset = NeuralDataset.read(prepared)
    others = [
        dataset.part("train"),
        dataset.with_split("runs"),
        NeuralDataset.read(prepared, region="early"),
        dataset.select(["sub-01_fmri"]),
        dataset.select(rows=lambda t: t.table["repeat"] == 0),
    ]
    seen = [str(d.identity()) for d in [dataset, *others]]
    assert len(set(seen)) == len(seen)
    assert NeuralDataset.read(prepared).identity() == dataset.identity()


def test_arrays_need_no_files(voxels, epochs, stimuli):
    split = Split("mine", "concept", {"train": ("c0", "c1"), "test": ("c4",)})
    dataset = NeuralDataset.from_trials([voxels, epochs], stimuli, split)
    assert dataset.part("test").stimulus_ids == ("s016", "s017", "s018", "s019")
    assert dataset.identity()["recordings"].keys() == {"sub-01_fmri", "sub-02_eeg"}


def test_trials_of_unknown_stimuli_cannot_be_split_by_stimulus(voxels, stimuli):
    table = voxels.table.replace(stimulus_id=np.full(40, UNKNOWN))
    trials = type(voxels)(voxels.responses, table, voxels.space, "z", 1, "fmri")
    dataset = NeuralDataset.from_trials(
        [trials], stimuli, Split("a", "stimulus", {"train": ("s000",), "test": ("s001",)})
    )
    with pytest.raises(ValueError, match="unknown stimulus"):
        dataset.part("train")


def test_a_dataset_can_be_sent_to_another_process(prepared):
    dataset = NeuralDataset.read(prepared, region="early").part("test")
    before = dataset.trials["sub-01_fmri"].responses[:]
    again = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(again.trials["sub-01_fmri"].responses[:], before)
    assert again.stimuli.images(["s003"]).shape == (1, 6, 5, 3)
