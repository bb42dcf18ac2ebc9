"""When classes can be told apart: a planted window is found, nothing else is, and the limit holds under the null."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Standardise
from braindec.evaluate import auc_of_averages, temporal_generalisation, time_course
from braindec.evaluate.measures import auc_over_folds
from braindec.evaluate.time_course import areas_by_draw, windows_of
from braindec.types import ArraySpace, StimulusSet, Table, Trials

SFREQ, TMIN = 100.0, -0.1
N_RUNS, N_A_RUN = 5, 40


def epochs(strength: float, seed: int = 0) -> NeuralDataset:
    """Five runs of noise epochs, -0.1 to 0.39 s; class b adds `strength` to two channels at 0.2 to 0.25 s."""
    rng = np.random.default_rng(seed)
    n = N_RUNS * N_A_RUN
    category = np.array(["a", "b"])[rng.integers(0, 2, n)]
    responses = rng.standard_normal((n, 3, 50))
    responses[category == "b", :2, 30:35] += strength
    ids = np.array([f"trial-{i:03d}" for i in range(n)])
    run = (np.arange(n) // N_A_RUN).astype(str)
    table = Table({"stimulus_id": ids, "session": np.full(n, "1"), "run": run, "repeat": np.zeros(n, int),
                   "onset_s": np.arange(n) % N_A_RUN * 1.0, "acquisition_order": np.arange(n),
                   "exchangeability_block": run})  # fmt: skip
    trials = Trials(responses.astype(np.float32), table, ArraySpace(3), "V", 1, "eeg", SFREQ, TMIN)
    stimuli = StimulusSet(tuple(ids.tolist()), "none", table=Table({"category": category}))
    return NeuralDataset.from_trials([trials], stimuli, name="epochs")


def found(dataset, **settings):
    folds = splits.leave_one_out(dataset, "run")
    return time_course(
        dataset, folds, label_column="category", preprocessing=(Standardise(),), **({"n_null": 99} | settings)
    )


def test_the_planted_window_is_found_and_the_baseline_stays_inside_the_null():
    course = found(epochs(0.8))
    inside = (course.windows[:, 0] >= 0.195) & (course.windows[:, 1] <= 0.245)
    apart = (course.windows[:, 1] < 0.2) | (course.windows[:, 0] > 0.245)
    assert (course.p[inside] == 0.01).all() and inside.any()
    assert course.values[inside].min() > course.null_limit > course.values[apart].max()
    assert course.baseline.sum() >= 2
    assert (course.p[course.baseline] > 0.05).all()


def test_few_of_many_worlds_without_a_difference_have_a_significant_window():
    hits = [
        bool((found(epochs(0.0, seed), n_null=19, seed=seed, step_s=0.1).p <= 0.05).any())
        for seed in range(20)
    ]
    assert sum(hits) <= 4  # one expected; five or more by chance once in 400


def test_windows_touch_at_onset_and_never_leave_the_epoch():
    course = found(epochs(0.0), n_null=19, width_s=0.05, step_s=0.05)
    np.testing.assert_allclose(course.windows[0], [-0.1, -0.06], atol=1e-9)
    assert np.isclose(course.windows[:, 0], 0.0).sum() == 1
    assert course.windows.min() >= TMIN - 1e-9 and course.windows.max() <= TMIN + 49 / SFREQ + 1e-9
    assert course.n == N_RUNS * N_A_RUN


def test_all_areas_at_once_are_scikit_learns_fold_by_fold(rng):
    margins = rng.integers(0, 6, (2, 60, 3)).astype(float)  # with ties
    positive, fold = rng.random(60) < 0.4, np.arange(60) % 4
    for w, d in np.ndindex(2, 3):
        areas = [roc_auc_score(positive[fold == f], margins[w, fold == f, d]) for f in range(4)]
        assert areas_by_draw(margins, positive, fold)[w, d] == pytest.approx(np.mean(areas))
        assert auc_over_folds(margins[w, :, d], positive, fold)[0] == pytest.approx(np.mean(areas))


def test_means_of_trials_are_told_apart_better_than_trials(rng):
    positive, fold = rng.random(400) < 0.5, np.arange(400) // 100
    margin = 0.5 * positive + rng.standard_normal(400)
    single = auc_of_averages(margin, positive, fold, 1, rng)
    assert single == pytest.approx(auc_over_folds(margin, positive, fold)[0])
    # A difference of 0.5 SD becomes one of 0.5 sqrt(10): the area is Phi(0.5 sqrt(10) / sqrt(2)) = 0.87.
    assert auc_of_averages(margin, positive, fold, 10, rng) == pytest.approx(0.87, abs=0.06)


def test_more_classes_and_trials_that_are_never_held_out_are_refused():
    dataset = epochs(0.0)
    with pytest.raises(ValueError, match="never held out"):
        time_course(dataset, splits.leave_one_out(dataset, "run")[:2], label_column="category")
    many = replace(dataset.stimuli, table=Table({"category": np.array(dataset.stimuli.ids)}))
    with pytest.raises(ValueError, match="two classes"):
        found(replace(dataset, stimuli=many))


def test_windows_of_epochs_that_begin_after_onset_or_end_before_it_lie_inside_them():
    dataset = epochs(0.0)
    (trials,) = dataset.trials.values()
    for tmin, first in ((0.105, 0.125), (-0.6, -0.6)):  # samples 0.1 s and more from onset
        found = windows_of(replace(trials, tmin=tmin), 0.05, 0.05)
        assert found.min() >= tmin - 1e-9 and found.max() <= tmin + 49 / SFREQ + 1e-9
        assert len(found) >= 8 and found[0, 0] < first + 0.05


def test_folds_that_hold_out_a_trial_twice_are_refused():
    dataset = epochs(0.0)
    folds = splits.leave_one_out(dataset, "run")
    for course in (time_course, temporal_generalisation):
        with pytest.raises(ValueError, match="40 trials are held out by fold"):
            course(dataset, [folds[0], *folds], label_column="category", n_null=19, step_s=0.2)
