"""Every step does what its name says, from the rows that its scope says, and is saved bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data.preprocessing import (
    AverageTime,
    Baseline,
    ClipMad,
    Crop,
    Detrend,
    FittedPreprocessing,
    Preprocessing,
    Standardise,
    Vectorise,
    Whiten,
)
from braindec.types import UNKNOWN, ArraySpace, Table

CHAINS = {
    "nothing": (),
    "train": (Standardise(),),
    "session": (Standardise("session", "unit_train_rows"),),
    "run": (Standardise("run", "unit_unlabelled", scale=False), Standardise()),
    "causal": (Standardise("session", "causal"),),
    "many": (Detrend("run"), ClipMad(2.5), Whiten()),
}
EPOCHS_ONLY = (ClipMad(), Baseline(-0.1, 0.0), Crop(0.0, 0.3), AverageTime(4), Standardise(), Vectorise())


def rows(trials, chosen):
    return trials.take(np.flatnonzero(chosen))


@pytest.mark.parametrize("kind", ["voxels", "epochs"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_saved_chain_gives_the_same_bits(chain, kind, request):
    trials = request.getfixturevalue(kind)
    train = rows(trials, trials.table["acquisition_order"] % 3 > 0)
    fitted = Preprocessing(CHAINS[chain]).fit(train)
    described = json.loads(json.dumps(fitted.config))
    again = FittedPreprocessing.from_arrays(described, fitted.to_arrays())
    expected = fitted.apply(trials)
    assert expected.dtype == np.float32 and expected.shape == (40, *fitted.signal.shape)
    assert np.array_equal(again.apply(trials), expected)
    assert again.signal.shape == fitted.signal.shape and again.fit_rows_hash == fitted.fit_rows_hash


def test_epoch_steps_keep_their_own_clock(epochs):
    fitted = Preprocessing(EPOCHS_ONLY[:-1]).fit(epochs)
    assert fitted.signal.shape == (3, 7)
    assert fitted.signal.sfreq == pytest.approx(25.0)
    assert fitted.signal.tmin == pytest.approx(0.015)
    again = FittedPreprocessing.from_arrays(fitted.config, fitted.to_arrays())
    assert np.array_equal(again.apply(epochs), fitted.apply(epochs))
    flat = Preprocessing(EPOCHS_ONLY).fit(epochs).apply(epochs)
    assert np.array_equal(flat, fitted.apply(epochs).reshape(40, 21))


def test_standardised_training_rows_have_mean_0_and_sd_1(voxels, epochs):
    x = Preprocessing((Standardise(),)).fit(voxels).apply(voxels)
    assert np.abs(x.mean(0)).max() < 1e-5 and np.abs(x.std(0) - 1).max() < 1e-5
    y = Preprocessing((Standardise(),)).fit(epochs).apply(epochs)
    assert np.abs(y.mean((0, 2))).max() < 1e-5 and np.abs(y.std((0, 2)) - 1).max() < 1e-5


def test_a_constant_feature_becomes_zero(voxels):
    voxels.responses[:, 4] = 1234.5
    x = Preprocessing((Standardise(),)).fit(voxels).apply(voxels)
    assert np.array_equal(x[:, 4], np.zeros(40))


def test_the_train_scope_never_sees_held_out_rows(voxels):
    train = rows(voxels, voxels.table["session"] == "1")
    spoiled = replace(
        voxels, responses=np.where((voxels.table["session"] == "2")[:, None], 1e6, voxels.responses)
    )
    for steps in ((Standardise(), ClipMad(3.0)), (Whiten(),)):
        before = Preprocessing(steps).fit(train)
        assert np.array_equal(
            before.apply(train), before.apply(rows(spoiled, voxels.table["session"] == "1"))
        )
        assert not before.transductive


def test_the_unlabelled_scope_uses_the_rows_it_is_given_and_says_so(voxels):
    train, test = (rows(voxels, voxels.table["session"] == s) for s in "12")
    fitted = Preprocessing((Standardise("run", "unit_unlabelled"),)).fit(train)
    assert fitted.transductive
    x = fitted.apply(test)
    for run in "34":
        assert np.abs(x[test.table["run"] == run].mean(0)).max() < 1e-5
    shifted = replace(test, responses=test.responses + 100 * (test.table["run"] == "4")[:, None])
    assert np.allclose(fitted.apply(shifted), x, atol=1e-3)


def test_a_unit_without_training_rows_is_refused_with_the_way_out(voxels):
    train, test = (rows(voxels, voxels.table["session"] == s) for s in "12")
    fitted = Preprocessing((Standardise("session", "unit_train_rows"),)).fit(train)
    with pytest.raises(ValueError, match=r"no training rows.*causal"):
        fitted.apply(test)


def test_the_causal_scope_does_not_look_ahead(voxels):
    steps = Preprocessing((Standardise("session", "causal"),))
    fitted = steps.fit(rows(voxels, voxels.table["session"] == "1"))
    x = fitted.apply(voxels)
    later = replace(voxels, responses=np.where((np.arange(40) > 25)[:, None], 50.0, voxels.responses))
    assert np.array_equal(fitted.apply(later)[:26], x[:26])
    backwards = fitted.apply(voxels.take(np.arange(40)[::-1]))[::-1]
    assert np.allclose(backwards, x, atol=1e-6)


def test_the_causal_scope_is_a_loop_over_earlier_rows(voxels):
    fitted = Preprocessing((Standardise("session", "causal", prior_trials=4),)).fit(voxels)
    x = fitted.apply(voxels)
    values = voxels.responses.astype(float)
    mean, square = values.mean(0), (values**2).mean(0)
    for row in (0, 1, 7, 20, 33):
        earlier = values[row // 20 * 20 : row]
        m = (4 * mean + earlier.sum(0)) / (4 + len(earlier))
        s = np.sqrt((4 * square + (earlier**2).sum(0)) / (4 + len(earlier)) - m**2)
        assert x[row] == pytest.approx((values[row] - m) / s, abs=1e-4)


def test_the_causal_scope_needs_a_known_order(voxels):
    table = voxels.table.replace(acquisition_order=np.full(40, -1))
    trials = replace(voxels, table=table)
    with pytest.raises(ValueError, match="order of acquisition is not known"):
        Preprocessing((Standardise("run", "causal"),)).fit(trials)


def test_detrending_removes_a_line_in_time_from_each_run(voxels):
    onset = voxels.table["onset_s"][:, None]
    run = voxels.table["run"].astype(int)[:, None]
    drifting = replace(
        voxels, responses=voxels.responses + (7.0 * run + 0.3 * run * onset).astype(np.float32)
    )
    fitted = Preprocessing((Detrend("run"),)).fit(voxels)
    assert np.allclose(fitted.apply(drifting), fitted.apply(voxels), atol=1e-3)
    assert np.abs(fitted.apply(voxels)[:10].mean(0)).max() < 1e-5


def test_clipping_keeps_every_trial_and_moves_only_outliers(epochs):
    values = epochs.responses.copy()
    values[5, 1, 10] = 1.0
    fitted = Preprocessing((ClipMad(3.0),)).fit(epochs)
    x = fitted.apply(replace(epochs, responses=values))
    median = np.median(epochs.responses[:, 1])
    limit = median + 3 * np.median(np.abs(epochs.responses[:, 1] - median))
    assert x.shape == values.shape and x[5, 1, 10] == pytest.approx(limit, rel=1e-5)
    assert x[:, 1].max() <= limit * 1.0001
    inside = np.abs(values - np.median(epochs.responses, axis=(0, 2))[:, None]) < 1e-6
    assert np.array_equal(x[inside], values[inside])


def test_clipping_does_not_silence_a_feature_that_is_mostly_one_value(voxels):
    values = voxels.responses.copy()
    values[:25, 0] = 7.0  # its median absolute deviation is 0
    values[:, 1] = 3.0
    fitted, x = Preprocessing((ClipMad(2.0),)).fit_apply(replace(voxels, responses=values))
    assert np.array_equal(x[:, :2], values[:, :2])
    further = values.copy()
    further[0, 0] = 1e6
    assert fitted.apply(replace(voxels, responses=further))[0, 0] == values[:, 0].max()


def test_whitened_noise_is_uncorrelated_with_unit_variance(epochs, rng):
    mixed = np.einsum("ij,njt->nit", rng.standard_normal((3, 3)), epochs.responses).astype(np.float32)
    evoked = 1e-4 * np.sin(np.arange(60) / 5)  # the same in every trial: signal, not noise
    trials = replace(epochs, responses=mixed + evoked.astype(np.float32))
    x = Preprocessing((Whiten(shrinkage=0.0),)).fit(trials).apply(trials)
    noise = np.moveaxis(x - x.mean(0), 1, -1).reshape(-1, 3)
    assert np.allclose(np.cov(noise.T, bias=True), np.eye(3), atol=1e-3)


def test_noise_between_repeats_leaves_out_what_the_stimuli_differ_in(voxels, rng):
    ids = np.repeat([f"s{i}" for i in range(4)], 10)
    signal = 30.0 * rng.standard_normal((4, 24))[np.repeat(np.arange(4), 10)]
    mixing = rng.standard_normal((24, 24))
    values = (signal + rng.standard_normal((40, 24)) @ mixing).astype(np.float32)
    trials = replace(voxels, responses=values, table=voxels.table.replace(stimulus_id=ids))
    x = Preprocessing((Whiten(noise="repeats", shrinkage=0.0),)).fit(trials).apply(trials).astype(float)
    within = x - np.stack([x[ids == i].mean(0) for i in ids])
    assert np.allclose(within.T @ within / 36, np.eye(24), atol=1e-3)
    with pytest.raises(ValueError, match="no stimulus is repeated"):
        Preprocessing((Whiten(noise="repeats"),)).fit(trials.take(np.array([0, 10, 20])))


def test_trials_of_unknown_stimuli_are_no_repeats_of_each_other(voxels, rng):
    ids = np.array([f"s{i % 10}" if i < 20 else UNKNOWN for i in range(40)])
    signal = 30.0 * rng.standard_normal((40, 24))
    signal[10:20] = signal[:10]  # the known ones were shown twice, of the others each another thing
    values = (signal + rng.standard_normal((40, 24))).astype(np.float32)
    trials = replace(voxels, responses=values, table=voxels.table.replace(stimulus_id=ids))
    step = Whiten(noise="repeats", shrinkage=0.5)
    matrix = Preprocessing((step,)).fit(trials).states[0]["matrix"]
    assert np.array_equal(matrix, Preprocessing((step,)).fit(trials.take(np.arange(20))).states[0]["matrix"])
    with pytest.raises(ValueError, match="no stimulus is repeated"):
        Preprocessing((step,)).fit(trials.take(np.arange(20, 40)))


def test_a_baseline_is_the_mean_of_its_own_window(epochs):
    x = Preprocessing((Baseline(-0.1, 0.0),)).fit(epochs).apply(epochs)
    assert np.abs(x[:, :, :11].mean(2)).max() < 1e-10
    expected = epochs.responses - epochs.responses[:, :, :11].mean(2, keepdims=True)
    assert np.allclose(x, expected, atol=1e-10)


def test_windows_include_both_ends_and_refuse_to_be_empty(epochs):
    assert Preprocessing((Crop(0.0, 0.1),)).fit(epochs).signal.shape == (3, 11)
    with pytest.raises(ValueError, match="no sample lies in"):
        Preprocessing((Crop(2.0, 3.0),)).fit(epochs)


def test_voxels_have_no_time_axis_to_crop(voxels):
    with pytest.raises(ValueError, match="no time axis"):
        Preprocessing((Crop(0.0, 0.1),)).fit(voxels)


def test_trials_of_another_space_or_clock_are_refused(voxels, epochs):
    fitted = Preprocessing((Standardise(),)).fit(voxels)
    moved = replace(voxels, space=replace(voxels.space, affine=np.eye(4)))
    for other in (moved, epochs):
        with pytest.raises(checks.SpaceMismatchError):
            fitted.apply(other)
    n = voxels.space.n_features
    for other, said in (
        (
            replace(voxels, responses=voxels.responses[:, :-1], space=ArraySpace(n - 1)),
            rf"fmri of shape \({n - 1},\)",
        ),
        (
            replace(voxels, space=ArraySpace(n)),
            rf"is array \({n} features\), expected voxels \({n} features\)",
        ),
        (moved, "is of other places or names than voxels"),
    ):
        with pytest.raises(checks.SpaceMismatchError, match=said) as error:
            fitted.apply(other)
        assert "with the same mask (or channels) and window" in str(error.value)
    fitted_epochs = Preprocessing(()).fit(epochs)
    with pytest.raises(checks.SpaceMismatchError, match="tmin"):
        fitted_epochs.apply(replace(epochs, tmin=0.0))


def test_values_that_are_not_finite_are_refused(voxels):
    voxels.responses[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        Preprocessing((Standardise(),)).fit(voxels)


def test_contradicting_settings_are_refused():
    with pytest.raises(checks.ConfigError, match="takes no unit"):
        Standardise("run")
    with pytest.raises(checks.ConfigError, match="unit of scope"):
        Standardise(scope="causal")
    with pytest.raises(checks.ConfigError, match="Did you mean 'Standardise'"):
        Preprocessing.from_json([{"name": "Standardize"}])


def test_the_hash_of_the_fitted_rows_names_the_rows(voxels):
    steps = Preprocessing((Standardise(),))
    first, second = (rows(voxels, voxels.table["session"] == s) for s in "12")
    assert steps.fit(first).fit_rows_hash == steps.fit(first).fit_rows_hash != steps.fit(second).fit_rows_hash


def test_noise_of_a_whole_epoch_is_whitened_over_channels_and_times_together():
    rng = np.random.default_rng(0)
    n_stimuli, n_repeats, shape = 150, 4, (3, 5)
    slow = rng.standard_normal((n_stimuli * n_repeats, 3, 1)) * np.ones(
        5
    )  # the same at all times: no channel shows it
    pattern = np.repeat(rng.standard_normal((n_stimuli, *shape)), n_repeats, axis=0)
    x = (pattern + 3 * slow + 0.5 * rng.standard_normal(slow.shape[:2] + (5,))).astype(np.float32)
    table = Table({"stimulus_id": np.repeat(np.arange(n_stimuli), n_repeats).astype(str)})

    def noise(over):
        step = Whiten(noise="repeats", over=over)
        white = step.apply(x, table, None, step.fit(x, table, None))
        assert white.shape == x.shape
        by = white.reshape(n_stimuli, n_repeats, -1)
        left = (by - by.mean(1, keepdims=True)).reshape(len(x), -1) * np.sqrt(n_repeats / (n_repeats - 1))
        return np.corrcoef(left.T) - np.eye(15)

    assert np.abs(noise("epoch")).max() < 0.1
    assert np.abs(noise("channels")).max() > 0.9
    with pytest.raises(ValueError, match="over"):
        Whiten(over="time")
