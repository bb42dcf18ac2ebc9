"""Splits deal every value of their unit into exactly one part."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, Split, splits


@pytest.fixture
def dataset(prepared):
    return NeuralDataset.read(prepared)


def test_parts_that_share_a_value_are_refused_by_name():
    with pytest.raises(checks.LeakageError, match="'b' lies in 'train' and in 'test'"):
        Split("bad", "stimulus", {"train": ("a", "b"), "test": ("b",)})
    with pytest.raises(ValueError, match="empty"):
        Split("bad", "run", {"train": ("1",), "test": ()})


def test_a_split_survives_json():
    split = Split("x", "run", {"train": ("1", "2"), "test": ("3",)})
    again = Split.from_json("x", split.to_json())
    assert again == split and again.hash == split.hash
    assert Split("y", "run", {"train": ("2", "1"), "test": ("3",)}).hash == split.hash


@pytest.mark.parametrize("unit", ["run", "session", "subject", "concept"])
def test_leaving_one_out_tests_every_value_once(dataset, unit):
    found = splits.leave_one_out(dataset, unit)
    assert [s.parts["test"][0] for s in found] == list(dataset.unit_values(unit))
    for split in found:
        whole = dataset.with_split(split)
        assert whole.part("train").n_trials + whole.part("test").n_trials == dataset.n_trials


def test_runs_are_ordered_as_numbers(voxels, stimuli):
    runs = np.array(["10", "9", "2", "rest"] * 10)
    trials = type(voxels)(voxels.responses, voxels.table.replace(run=runs), voxels.space, "z", 1, "fmri")
    dataset = NeuralDataset.from_trials([trials], stimuli)
    assert dataset.unit_values("run") == ("2", "9", "10", "rest")


@pytest.mark.parametrize("n_folds", [2, 5, 7, 20])
def test_folds_test_every_stimulus_once_in_about_equal_shares(dataset, n_folds, rng):
    found = splits.k_fold(dataset, "stimulus", n_folds, rng)
    tested = [v for s in found for v in s.parts["test"]]
    assert sorted(tested) == list(dataset.unit_values("stimulus"))
    sizes = [len(s.parts["test"]) for s in found]
    assert max(sizes) - min(sizes) <= 1


def test_folds_of_many_stimuli_are_dealt_at_once(rng):
    ids = [f"s{i:05d}" for i in range(30_000)]
    many = NeuralDataset.from_arrays(np.zeros((len(ids), 1)), ids, modality="fmri")
    start = time.process_time()
    found = splits.k_fold(many, "stimulus", 5, rng)
    assert time.process_time() - start < 5  # 0.2 s; a set for each value took 25 s
    assert sorted(v for s in found for v in s.parts["test"]) == ids
    assert all(
        len(s.parts["train"]) == 24_000 and not {*s.parts["train"]} & {*s.parts["test"]} for s in found
    )


def test_stratified_folds_hold_each_label_in_equal_shares(dataset, rng):
    category = dataset.unit_labels("stimulus", "category")
    for split in splits.k_fold(dataset, "stimulus", 5, rng, stratify="category"):
        assert sorted(category[v] for v in split.parts["test"]) == ["cat", "cat", "dog", "dog"]


def test_the_generator_decides_the_folds(dataset):
    first, again, other = (splits.k_fold(dataset, "stimulus", 4, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again != other


def test_holding_out_takes_the_asked_share(dataset, rng):
    split = splits.hold_out(dataset, "stimulus", 0.2, rng)
    assert len(split.parts["test"]) == 4 and len(split.parts["train"]) == 16
    assert len(splits.hold_out(dataset, "run", 0.0, rng).parts["test"]) == 1


def test_an_unknown_column_is_answered_with_those_there_are(dataset, rng):
    with pytest.raises(checks.ConfigError, match="Did you mean 'category'"):
        splits.k_fold(dataset, "stimulus", 2, rng, stratify="categry")


def test_named_splits_are_found_by_the_start_of_their_name(dataset):
    folds = splits.leave_one_out(dataset, "run")
    known = replace(
        dataset, splits={s.name: s for s in [*folds[::-1], Split("other", "run", folds[0].parts)]}
    )
    assert [s.name for s in splits.named(known, "leave_one_run_out/")] == sorted(s.name for s in folds)
    with pytest.raises(ValueError, match="leave_one_run_out"):
        splits.named(known, "leave_one_run_in/")


def test_a_part_may_keep_some_trials_of_its_units_only(dataset):
    runs = dataset.unit_values("run")
    first = dataset.unit_values("stimulus")[0]
    whole = Split("x", "run", {"train": runs[1:], "test": runs[:1]})
    some = replace(whole, only={"test": {"stimulus_id": (first,)}})
    test = dataset.with_split(some).part("test")
    assert test.stimulus_ids == (first,)
    assert dataset.with_split(some).part("train").n_trials == dataset.with_split(whole).part("train").n_trials
    again = Split.from_json("x", some.to_json())
    assert again.hash == some.hash != whole.hash and "only" not in whole.to_json()
    with pytest.raises(checks.ConfigError, match="part of `only`"):
        replace(whole, only={"tset": {"stimulus_id": (first,)}})


def of_runs(*runs):
    """A signal for each tuple of runs, of eight trials a run."""
    trials = []
    for subject, own in enumerate(runs, 1):
        told = np.repeat(own, 8).tolist()
        made = NeuralDataset.from_arrays(np.zeros((len(told), 2)), [f"s{i % 8}" for i in range(len(told))],
                                         modality="fmri", subject=subject, run=told)  # fmt: skip
        trials += made.trials.values()
    return NeuralDataset.from_trials(trials, made.stimuli)


@pytest.mark.parametrize(
    ("runs", "test"),
    [
        ((("1", "2", "10"), ("1", "2", "10")), ("10",)),
        ((("1", "2", "3", "4"), ("1", "2", "3")), ("3",)),  # run 4 would leave the second one out
        ((("01", "02", "12"), ("1", "6")), ("6", "12")),
        ((("1", "2", "3"), ("3",)), ("2",)),  # run 3 is all that the second one has
        ((("1",), ("1",)), ()),
        ((("1", "2"), ("1",), ("2",)), ("2",)),  # cannot be: the last, as ever
    ],
)
def test_the_last_run_is_one_that_every_signal_has(runs, test):
    own = splits.own_values(of_runs(*runs), "run")
    assert splits.last_of_each(own, int) == test


def test_what_is_drawn_leaves_no_signal_out_where_it_can(rng):
    dataset = of_runs(("1", "2", "3", "4", "5", "6"), ("1", "2"))
    for seed in range(20):
        test = dataset.hold_out("run", 1 / 6, seed=seed).part("test")
        assert test.keys == ("sub-01_fmri", "sub-02_fmri")


def test_a_signal_that_nothing_is_held_out_of_is_told():
    dataset = of_runs(("1", "2", "3", "4"), ("1", "2", "3"))
    with pytest.warns(
        UserWarning, match=r"run \['4'\] is held out, and sub-02_fmri has run \['1', '2', '3'\]"
    ) as told:
        held = dataset.hold_out("run", ["4"])
    assert "nothing of it is tested" in str(told[0].message) and told[0].filename == __file__
    with pytest.raises(ValueError, match=r"part 'test' \(run \['4'\]\) .* no trial of \['sub-02_fmri'\]"):
        held.select(["sub-02_fmri"]).part("test")
    with pytest.warns(UserWarning, match="nothing of it is left to train on"):
        dataset.hold_out("run", ["1", "2", "3"])
    assert of_runs(("1", "2"), ("1", "2")).hold_out("subject", [2]).part("test").keys == ("sub-02_fmri",)
