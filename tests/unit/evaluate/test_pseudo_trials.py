"""Means of trials stay inside their part, are equally many for every class, and gain what averaging gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from braindec import checks
from braindec.data import NeuralDataset, splits
from braindec.evaluate import averaging_curve, pseudo_trials, time_course
from braindec.types import ArraySpace, StimulusSet, Table, Trials

N_RUNS, N_A_RUN = 4, 30


def labelled(rng, strength=0.0) -> NeuralDataset:
    """Epochs of two classes, in every run 12 to 18 of each; every response holds the number of its row."""
    n = N_RUNS * N_A_RUN
    category = np.concatenate(
        [np.repeat(["a", "b"], [k, N_A_RUN - k])[rng.permutation(N_A_RUN)] for k in (12, 14, 16, 18)]
    )
    x = rng.standard_normal((n, 2, 20))
    x[category == "b", :, 10:] += strength
    ids, run = np.array([f"t{i:03d}" for i in range(n)]), (np.arange(n) // N_A_RUN).astype(str)
    table = Table({"stimulus_id": ids, "session": np.full(n, "1"), "run": run, "repeat": np.zeros(n, int),
                   "onset_s": np.arange(n) * 1.0, "acquisition_order": np.arange(n), "exchangeability_block": run,
                   "row": np.arange(n) * 1.0})  # fmt: skip
    trials = Trials(x.astype(np.float32), table, ArraySpace(2), "V", 1, "eeg", 100.0, -0.1)
    stimuli = StimulusSet(tuple(ids.tolist()), "none", table=Table({"category": category}))
    return NeuralDataset.from_trials([trials], stimuli)


def of(dataset) -> Trials:
    (trials,) = dataset.trials.values()
    return trials


def test_every_mean_is_of_its_own_run_and_class_and_classes_are_equally_frequent(rng):
    dataset = labelled(rng)
    made = of(pseudo_trials(dataset, 4, rng, label_column="category", within="run"))
    classes, runs = made.table["category"], made.table["run"]
    for run in "0123":
        counts = [((runs == run) & (classes == c)).sum() for c in "ab"]
        assert counts == [3, 3]
    assert (made.table["n_averaged"] == 4).all() and (made.table["stimulus_id"] == "unknown").all()
    assert set(made.table["exchangeability_block"]) == set("0123")


def test_each_trial_is_used_once_at_most_and_the_mean_is_the_mean(rng):
    dataset = labelled(rng)
    (trials,) = dataset.trials.values()
    powers = replace(
        trials, responses=(2.0 ** (np.arange(120) % 20))[:, None, None] * np.ones((1, 2, 20), np.float32)
    )
    some = NeuralDataset.from_trials([powers.take(np.arange(20))], dataset.stimuli)
    made = of(pseudo_trials(some, 3, rng, label_column="category", within="session"))
    sums = np.round(made.responses[:, 0, 0] * 3).astype(int)
    bits = [{b for b in range(20) if s >> b & 1} for s in sums]
    assert all(len(b) == 3 for b in bits) and len(set.union(*bits)) == 3 * len(bits)
    category = dict(zip(dataset.stimuli.ids, dataset.stimuli.table["category"], strict=True))
    for members, label, row in zip(bits, made.table["category"], made.table["row"], strict=True):
        assert {category[f"t{i:03d}"] for i in members} == {label}
        assert row == pytest.approx(np.mean(list(members)))


def test_repeats_of_a_stimulus_are_averaged_by_default(rng):
    dataset = labelled(rng)
    (trials,) = dataset.trials.values()
    ids = np.array([f"t{i % 40:03d}" for i in range(120)])
    repeated = NeuralDataset.from_trials(
        [replace(trials, table=trials.table.replace(stimulus_id=ids))], dataset.stimuli
    )
    made = of(pseudo_trials(repeated, 3, rng, within="session"))
    assert sorted(made.table["stimulus_id"]) == sorted(set(ids)) and (made.table["repeat"] == 0).all()
    expected = np.stack([trials.responses[ids == i].mean(0) for i in made.table["stimulus_id"]])
    assert made.responses == pytest.approx(expected, abs=1e-6)


def test_a_whole_dataset_needs_the_unit_of_its_folds(rng):
    dataset = labelled(rng)
    with pytest.raises(checks.LeakageError, match="within='run'"):
        pseudo_trials(dataset, 4, rng, label_column="category")
    split = splits.leave_one_out(dataset, "run")[0]
    part = dataset.with_split(split).part("test")
    assert of(pseudo_trials(part, 4, rng, label_column="category")).n_trials > 0


def test_too_few_trials_of_a_class_are_refused_by_name(rng):
    with pytest.raises(ValueError, match=r"run '0' has 12 trials of 'a': too few for 1 means of 13"):
        pseudo_trials(labelled(rng), 13, rng, label_column="category", within="run")
    with pytest.raises(ValueError, match="too few for 5 means"):
        pseudo_trials(labelled(rng), 4, rng, label_column="category", within="run", n_each=5)


def test_classes_of_pseudo_trials_are_told_apart_better_in_held_out_runs(rng):
    dataset = labelled(rng, 0.35)
    averaged = pseudo_trials(dataset, 4, rng, label_column="category", within="run")
    course, better = (
        time_course(d, splits.leave_one_out(d, "run"), label_column="category", n_null=19, step_s=0.05)
        for d in (dataset, averaged)
    )
    after = course.windows[:, 0] >= -1e-9
    assert better.values[after].mean() > course.values[after].mean() + 0.05
    assert (better.values[~after] < better.null_limit).all()


def gaussian_margins(rng, difference, n=4000):
    """Margins of trials of two classes in two folds, noise of SD 1."""
    positive, fold = np.arange(n) % 2 == 0, np.arange(n) * 2 // n
    return difference * positive + rng.standard_normal(n), positive, fold


def test_independent_noise_follows_one_over_n_to_a_perfect_limit(rng):
    sizes = (1, 2, 4, 8, 16)
    curve = averaging_curve(*gaussian_margins(rng, 0.5), sizes, rng)
    expected = norm.cdf(0.5 * np.sqrt(sizes) / np.sqrt(2))
    assert curve.values == pytest.approx(expected, abs=0.02)
    assert curve.noise == pytest.approx(1 / 0.5**2, rel=0.2) and curve.limit > 0.99
    assert curve.predicted(np.array([32.0]))[0] == pytest.approx(norm.cdf(0.5 * np.sqrt(32 / 2)), abs=0.01)


def test_margins_that_know_nothing_gain_nothing_by_averaging(rng):
    margin, positive, fold = gaussian_margins(rng, 0.0)
    curve = averaging_curve(margin, positive, fold, (1, 4, 16), rng)
    assert np.abs(curve.values - 0.5).max() < 0.08
    reversed_classes = averaging_curve(-gaussian_margins(rng, 1.0)[0], positive, fold, (1, 4), rng)
    assert np.isnan(reversed_classes.noise) and reversed_classes.to_json()["limit"] is None


def test_what_stimuli_of_a_class_differ_in_stays_as_a_floor(rng):
    stimulus = np.repeat(np.arange(4000), 8)
    positive, fold = stimulus % 2 == 0, stimulus * 2 // 4000
    margin = 1.0 * positive + 0.8 * rng.standard_normal(4000)[stimulus] + rng.standard_normal(len(stimulus))
    curve = averaging_curve(margin, positive, fold, (1, 2, 4, 8), rng, stimulus=stimulus)
    assert curve.floor == pytest.approx(0.64, abs=0.12) and curve.noise == pytest.approx(1.0, rel=0.15)
    assert curve.limit == pytest.approx(norm.cdf(1 / 0.8 / np.sqrt(2)), abs=0.04)
