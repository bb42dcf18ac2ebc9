"""Scaling, resampling and components do what their names say, from the rows that their scope says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from braindec import checks
from braindec.data.preprocessing import (
    FittedPreprocessing,
    Pca,
    PercentSignalChange,
    Preprocessing,
    Resample,
    RobustScale,
    Standardise,
    steps_from,
)


def fitted(step, trials):
    return Preprocessing((step,)).fit(trials)


def raw(voxels):
    """Voxels of a scanner: means of 500 to 5,000, changes of a few percent, runs of other means."""
    mean = np.linspace(500.0, 5000.0, 24)
    run = 1 + 0.1 * voxels.table["run"].astype(int)
    change = 0.02 * np.random.default_rng(4).standard_normal((40, 24))
    return replace(voxels, responses=(run[:, None] * mean * (1 + change)).astype(np.float32))


def test_percent_signal_change_is_the_ratio_to_the_runs_mean(voxels):
    trials = raw(voxels)
    x = fitted(PercentSignalChange("run", "unit_train_rows"), trials).apply(trials)
    for run in "1234":
        rows = trials.table["run"] == run
        values = trials.responses[rows].astype(float)
        assert x[rows] == pytest.approx(100 * (values / values.mean(0) - 1), abs=1e-3)


def test_percent_signal_change_does_not_see_a_runs_gain(voxels):
    trials = raw(voxels)
    gain = np.where(trials.table["run"] == "3", 7.0, 1.0)[:, None].astype(np.float32)
    louder = replace(trials, responses=trials.responses * gain)
    step = PercentSignalChange("run", "unit_unlabelled")
    assert np.allclose(fitted(step, trials).apply(louder), fitted(step, trials).apply(trials), atol=1e-3)


def test_percent_of_a_mean_of_zero_is_refused(voxels):
    centred = Preprocessing((Standardise(),)).fit_apply(voxels)[1]
    with pytest.raises(ValueError, match="raw signals"):
        fitted(PercentSignalChange(), replace(voxels, responses=centred))


def test_the_causal_percentage_is_of_earlier_rows_alone(voxels):
    trials = raw(voxels)
    chain = fitted(PercentSignalChange("run", "causal"), trials)
    later = np.where((np.arange(40) > 15)[:, None], 1.5 * trials.responses, trials.responses)
    changed = chain.apply(replace(trials, responses=later.astype(np.float32)))
    assert np.array_equal(changed[:16], chain.apply(trials)[:16])


def test_a_few_wild_trials_do_not_move_the_robust_scale(voxels, epochs):
    for trials in (voxels, epochs):
        wild = trials.responses.copy()
        wild[[3, 17]] = 1e6 * trials.responses.std()
        x = fitted(RobustScale(), replace(trials, responses=wild)).apply(trials)
        assert np.abs(np.median(x, (0, *range(2, x.ndim)))).max() < 0.2
        assert x.std() == pytest.approx(1.0, abs=0.15)
    assert (
        fitted(RobustScale(), voxels).apply(replace(voxels, responses=0 * voxels.responses + 1e9)).max() == 20
    )


def test_gaussian_noise_gets_standard_deviation_one_from_its_median_deviation(voxels, rng):
    tall = voxels.take(np.tile(np.arange(40), 250))
    x = rng.normal(5.0, 3.0, (10_000, 24)).astype(np.float32)
    scaled = fitted(RobustScale(clamp=None), replace(tall, responses=x)).apply(replace(tall, responses=x))
    assert scaled.std(0) == pytest.approx(np.ones(24), abs=0.04)


def test_a_feature_that_is_mostly_one_value_has_no_robust_scale(voxels):
    values = voxels.responses.copy()
    values[:30, 3] = 0.0
    with pytest.raises(ValueError, match="1 of 24 features"):
        fitted(RobustScale(), replace(voxels, responses=values))
    values[:, 3] = 4.0
    assert (fitted(RobustScale(), replace(voxels, responses=values)).apply(voxels)[:, 3] < 20).any()


def sines(epochs, frequency, sfreq, n_times):
    time = -0.1 + np.arange(n_times) / sfreq
    values = np.sin(2 * np.pi * frequency * time)[None, None] * np.ones((40, 3, 1))
    return replace(epochs, responses=values.astype(np.float32), sfreq=sfreq)


@pytest.mark.parametrize(("sfreq", "wanted"), [(1000.0, 250.0), (512.0, 100.0), (250.0, 600.0)])
def test_a_slow_wave_keeps_its_values_at_another_rate(epochs, sfreq, wanted):
    trials = sines(epochs, 9.0, sfreq, int(1.2 * sfreq))
    chain = fitted(Resample(wanted), trials)
    x, signal = chain.apply(trials), chain.signal
    assert signal.sfreq == wanted and signal.tmin == -0.1 and x.shape[1:] == signal.shape
    time = signal.tmin + np.arange(x.shape[2]) / signal.sfreq
    inside = slice(x.shape[2] // 5, -x.shape[2] // 5)
    assert x[0, 0, inside] == pytest.approx(np.sin(2 * np.pi * 9.0 * time)[inside], abs=0.01)


def test_what_lies_above_half_the_new_rate_does_not_fold_back(epochs):
    trials = sines(epochs, 190.0, 1000.0, 1200)  # every fourth sample alone would show it at 60 Hz
    x = fitted(Resample(250.0), trials).apply(trials)
    assert np.abs(trials.responses[0, 0, ::4]).max() > 0.9
    assert np.abs(x[:, :, 60:-60]).max() < 0.01


def test_constants_keep_their_value_and_voxels_have_no_rate(epochs, voxels):
    flat = replace(epochs, responses=np.full((40, 3, 60), 7.0, np.float32))
    assert fitted(Resample(37.0), flat).apply(flat) == pytest.approx(7.0, abs=2e-3)  # the filter's ripple
    with pytest.raises(ValueError, match="no time axis"):
        fitted(Resample(50.0), voxels)
    with pytest.raises(ValueError, match="no ratio of whole numbers"):
        fitted(Resample(100 / 1.41421356), epochs)


def test_components_are_scikit_learns_with_the_largest_loading_positive(voxels):
    train = voxels.take(np.arange(30))
    chain = fitted(Pca(6), train)
    expected = PCA(6, svd_solver="full").fit(train.responses.astype(float))
    signs = np.sign([row[np.abs(row).argmax()] for row in expected.components_])
    assert chain.apply(voxels) == pytest.approx(
        expected.transform(voxels.responses.astype(float)) * signs, abs=1e-3
    )
    assert chain.states[0]["explained"] == pytest.approx(expected.explained_variance_ratio_, rel=1e-4)
    whitened = fitted(Pca(6, whiten=True), train).apply(train)
    assert np.cov(whitened.T) == pytest.approx(np.eye(6), abs=1e-3)


def test_a_share_of_variance_keeps_the_fewest_components_that_reach_it(voxels):
    chain = fitted(Pca(0.5), voxels)
    share = np.cumsum(PCA().fit(voxels.responses.astype(float)).explained_variance_ratio_)
    n = chain.signal.shape[0]
    assert share[n - 1] >= 0.5 > share[n - 2]
    assert chain.sized.steps == (Pca(n),)


def test_more_features_than_rows_give_the_components_of_the_other_gram_matrix(voxels):
    wide = voxels.take(np.arange(10))
    expected = PCA(9, svd_solver="full").fit(wide.responses.astype(float))
    x = fitted(Pca(9), wide).apply(wide)
    assert np.abs(x) == pytest.approx(np.abs(expected.transform(wide.responses.astype(float))), abs=1e-3)
    with pytest.raises(ValueError, match="the rows have 9"):
        fitted(Pca(10), wide)


def test_channels_become_components_of_channels_with_their_time(epochs):
    chain = fitted(Pca(2), epochs)
    assert chain.signal.shape == (2, 60) and chain.signal.sfreq == 100.0
    flat = np.moveaxis(epochs.responses, 1, -1).reshape(-1, 3).astype(float)
    expected = np.abs(PCA(2, svd_solver="full").fit(flat).transform(flat)).reshape(40, 60, 2)
    assert np.abs(chain.apply(epochs)) == pytest.approx(np.moveaxis(expected, -1, 1), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(
    "steps",
    [(PercentSignalChange("run", "unit_unlabelled"), RobustScale(clamp=3.0)), (Pca(0.7), Standardise())],
)
def test_chains_are_saved_bit_for_bit(voxels, steps):
    trials = raw(voxels)
    chain = Preprocessing(steps).fit(trials)
    again = FittedPreprocessing.from_arrays(chain.config, chain.to_arrays())
    assert np.array_equal(again.apply(trials), chain.apply(trials))
    assert again.signal.shape == chain.signal.shape and again.steps == chain.steps


def test_steps_are_written_as_json_or_by_name():
    written = steps_from(["Standardise", {"name": "Pca", "n_components": 4}])
    assert written == (Standardise(), Pca(4))
    assert steps_from({"eeg": [{"name": "Resample", "sfreq": 100}]}) == {"eeg": (Resample(100.0),)}
    with pytest.raises(checks.ConfigError, match="Did you mean 'Pca'"):
        steps_from(["Pcaa"])
    with pytest.raises(checks.ConfigError, match="list of steps"):
        steps_from("Pca")
