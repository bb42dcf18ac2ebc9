"""Simulated fMRI: noise of the announced covariance, voxels of the announced ncsnr, regions and lapses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data.simulated import brains, noise
from braindec.stats.ceilings import estimate_ncsnr, split_half_reliability


def draw(banks, *, n_voxels=150, n_sessions=3, level=1.0, seed=0, **config):
    fitted, features = banks
    return brains.draw_brain(
        fitted, features, n_voxels=n_voxels, n_sessions=n_sessions, noise_level=level,
        config=brains.BrainConfig(**config), generator=np.random.default_rng(seed),
    )  # fmt: skip


def repeated(brain, features, n_repeats=3, n_sessions=3, seed=1):
    """Responses (repeat, picture, voxel), each repeat in its own session."""
    n = len(features)
    session = np.repeat(np.arange(n_repeats) % n_sessions, n)
    noise_free = np.tile(brain.respond(features), (n_repeats, 1))
    trials, _ = brain.measure(noise_free, session, np.random.default_rng(seed))
    return trials.reshape(n_repeats, n, -1)


def test_pink_series_have_unit_variance_and_power_that_falls_as_one_over_f(rng):
    series = noise.pink_series(256, 4000, 1.0, rng)
    assert series.var() == pytest.approx(1.0, abs=0.02)
    assert np.abs(series.mean(0)).max() < 1e-9
    power = (np.abs(np.fft.rfft(series, axis=0)) ** 2).mean(1)
    slope = np.polyfit(np.log(np.arange(1, 128)), np.log(power[1:128]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.03)


def test_pink_autocovariance_is_that_of_the_series(rng):
    series = noise.pink_series(64, 20_000, 1.0, rng)
    measured = [(series[:32] * series[lag : 32 + lag]).mean() for lag in (0, 1, 5, 20)]
    assert measured == pytest.approx(noise.pink_autocovariance(64, 1.0)[[0, 1, 5, 20]], abs=0.02)


def test_covariance_of_a_mean_is_that_of_sampled_means_with_drift_within_a_session(rng):
    where = rng.uniform(0, 10, (6, 3))
    config = noise.NoiseConfig(tuned=0.1, shared=0.1, local=0.1, drift=0.6, white=0.1, rank=2)
    model = noise.draw_noise(where, rng.standard_normal((6, 4)), 2, config, rng)
    session = np.repeat([0, 1], 20)
    rows = np.array([3, 4, 30])
    means = np.stack([model.sample(session, rng)[rows].mean(0) for _ in range(6000)])
    expected = model.covariance_of_mean(session[rows], np.array([3, 4, 10]), np.array([20, 20, 20]))
    assert np.cov(means.T) == pytest.approx(expected, abs=0.03)
    without_drift = model.covariance_of_mean(session[rows], np.array([0, 13, 10]), np.array([20, 20, 20]))
    assert np.abs(without_drift - expected).max() > 0.03


def test_sessions_share_only_part_of_their_noise(rng):
    model = noise.draw_noise(
        rng.uniform(0, 20, (80, 3)), rng.standard_normal((80, 9)), 2, noise.NoiseConfig(), rng
    )
    first, second = (
        model.covariance_of_mean(np.array([s]), np.zeros(1, int), np.array([50])) for s in (0, 1)
    )
    above = np.triu_indices(80, 1)
    assert 0.5 < np.corrcoef(first[above], second[above])[0, 1] < 0.999


def test_noise_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(checks.ConfigError, match="sum to 1"):
        noise.NoiseConfig(white=0.9)


def test_regions_follow_each_other_and_fifteen_percent_see_nothing(banks):
    space = draw(banks, n_voxels=400).space
    assert space.n_features == 400
    assert np.stack(list(space.regions.values())).sum(0).tolist() == [1] * 400
    assert space.regions["silent"].mean() == pytest.approx(0.15, abs=0.005)
    along = [np.argwhere(space.mask)[members, 1].mean() for members in space.regions.values()]
    assert along == sorted(along)


def test_measured_ncsnr_agrees_with_the_planted_one_and_is_zero_where_nothing_is_seen(banks):
    brain = draw(banks)
    responses = repeated(brain, banks[1])
    scored = (responses - responses.mean(1, keepdims=True)) / responses.std(1, keepdims=True)
    measured = estimate_ncsnr(
        torch.from_numpy(scored.reshape(-1, 150)), np.tile(np.arange(2000), 3), total_variance=1.0
    ).numpy()
    silent = brain.space.regions["silent"]
    # 2,000 pictures x 3: sampling error of ncsnr is about 0.02; drift makes repeats in one session slightly alike
    assert measured[~silent] == pytest.approx(brain.ncsnr[~silent], abs=0.12)
    assert (measured[~silent] / brain.ncsnr[~silent]).mean() == pytest.approx(1.0, abs=0.03)
    assert measured[silent].max() < 0.2 and (brain.ncsnr[silent] == 0).all()


def test_split_half_reliability_is_what_the_planted_ncsnr_predicts(banks):
    brain = draw(banks)
    responses = torch.from_numpy(repeated(brain, banks[1], n_repeats=2))
    measured = split_half_reliability(responses, torch.Generator().manual_seed(0), n_splits=4).numpy()
    expected = brain.ncsnr**2 / (brain.ncsnr**2 + 1 / 2)
    assert measured == pytest.approx(
        expected, abs=0.13
    )  # the sampling error is about 0.04 in the noisiest voxels
    assert (measured - expected).mean() == pytest.approx(0.0, abs=0.02)


def test_noise_free_responses_vary_as_announced_and_saturate(banks):
    brain = draw(banks)
    responses = brain.respond(banks[1])
    awake = brain.ncsnr > 0
    assert responses[:, awake].std(0) == pytest.approx(brain.amplitude[awake], rel=0.06)
    limit = brain.config.saturation / brains.saturation_moments(brain.config.saturation)[0]
    extreme = brain.respond(50 * banks[1][:50])
    assert (np.abs(extreme - brain.baseline) <= limit * brain.amplitude + 1e-9).all()


def test_slope_of_the_saturation_is_the_linear_part_of_the_response(rng):
    drive = rng.standard_normal(400_000)
    values = brains.saturate(drive, 2.0)
    sd, slope = brains.saturation_moments(2.0)
    assert values.std() == pytest.approx(sd, rel=0.005)
    assert np.corrcoef(values, drive)[0, 1] == pytest.approx(slope, rel=0.002)


def test_lapses_come_as_often_as_announced_and_leave_only_noise(banks):
    brain = draw(banks, lapse=0.2)
    noise_free = 1000.0 + brain.respond(banks[1])
    responses, seen = brain.measure(noise_free, np.zeros(2000, int), np.random.default_rng(0))
    assert (~seen).mean() == pytest.approx(0.2, abs=0.03)
    assert np.abs(responses[~seen]).max() < 50 < responses[seen].min()


def test_the_gain_of_a_trial_multiplies_the_whole_response_and_varies_as_announced(banks):
    brain = draw(banks, lapse=0.0, gain_sd=0.2)
    responses, _ = brain.measure(np.full((2000, 150), 1000.0), np.zeros(2000, int), np.random.default_rng(0))
    gain = responses.mean(1) / 1000
    assert (gain.mean(), gain.std()) == pytest.approx((1.0, 0.2), abs=0.015)
    assert np.abs(responses / 1000 - gain[:, None]).max() < 0.05


def test_voxels_see_only_the_banks_of_their_region_and_all_of_those(banks):
    brain = draw(banks, n_voxels=300)
    names = banks[0].banks
    for region, members in brain.space.regions.items():
        seen = {str(n) for n in np.unique(names) if brain.weights[names == n][:, members].any()}
        assert seen == set(brains.REGION_BANKS.get(region, ()))
    assert set().union(*brains.REGION_BANKS.values()) == set(names.tolist())


def test_noise_is_shared_by_few_patterns_and_by_neighbours_and_what_is_left_is_white(banks, rng):
    where = brains.positions_mm(brains.draw_space(150))
    distance = np.linalg.norm(where[:, None] - where[None], axis=2)
    near, far = (distance > 0) & (distance < 2), distance > 15
    shares = dict.fromkeys(("tuned", "shared", "local", "drift", "white"), 0.0)
    found = {}
    for name in ("shared", "local", "white"):
        config = noise.NoiseConfig(**(shares | {name: 1.0}), rank=3)
        model = noise.draw_noise(where, rng.standard_normal((150, 5)), 1, config, rng)
        alike = np.corrcoef(model.sample(np.zeros(800, int), rng).T)
        found[name] = (
            alike[near].mean(),
            np.sqrt((alike[far] ** 2).mean()),
            np.linalg.eigvalsh(alike)[-3:].sum() / 150,
        )
    assert found["shared"][2] > 0.99 and found["shared"][1] > 0.2
    assert found["local"][0] > 0.5 and found["local"][1] < 0.1 and found["local"][2] < 0.6
    assert abs(found["white"][0]) < 0.05 and found["white"][1] < 0.1 and found["white"][2] < 0.1


def test_neighbouring_voxels_of_a_region_are_tuned_alike_and_distant_ones_are_not(banks):
    brain = draw(banks, n_voxels=400)
    members = np.flatnonzero(brain.space.regions["early"])
    where = brains.positions_mm(brain.space)[members]
    distance = np.linalg.norm(where[:, None] - where[None], axis=2)
    alike = np.corrcoef(brain.weights[:, members].T)
    assert alike[(distance > 0) & (distance < 2)].mean() > 0.3
    assert abs(alike[distance > 10].mean()) < 0.1


def test_an_ncsnr_beyond_what_gain_and_lapses_allow_is_refused(banks):
    with pytest.raises(ValueError, match="raise the noise level"):
        draw(banks, level=0.05)


def test_a_drift_that_is_partly_drawn_again_has_the_same_distribution(rng):
    series, other = (noise.pink_series(24, 20_000, 1.0, rng) for _ in range(2))
    rows = np.zeros(24, bool)
    rows[[3, 4, 10, 20]] = True
    drawn = noise.redraw_pink(series, other, rows, 1.0)
    assert np.array_equal(drawn[~rows], series[~rows])
    assert not np.isclose(drawn[rows], series[rows]).any(1).all()
    lags = np.abs(np.subtract.outer(np.arange(24), np.arange(24)))
    assert np.cov(drawn) == pytest.approx(noise.pink_autocovariance(24, 1.0)[lags], abs=0.04)
    mixed = np.where(
        rows[:, None], other, series
    )  # without correction neighbours would have nothing in common
    assert abs(np.cov(mixed)[3, 2]) < 0.04 < np.cov(drawn)[3, 2]
