"""Simulated EEG: sensors, latencies, noise of the announced covariance, and unmixing of the sources."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated import meeg, meeg_config, meeg_noise, sensors


@pytest.fixture(scope="module")
def brain(banks):
    fitted, features = banks
    return meeg.draw_meeg(
        sensors.eeg_cap(), fitted, features, n_sessions=2, noise_level=1.0,
        config=meeg_config.MeegConfig(n_times=30, tmin=0.0, n_sources=6), generator=np.random.default_rng(0),
    )  # fmt: skip


def test_sensors_lie_on_the_head_with_left_and_right_mirrored():
    space = sensors.eeg_cap().space
    where = dict(zip(space.names, space.positions, strict=True))
    assert np.linalg.norm(space.positions, axis=1) == pytest.approx(sensors.HEAD_M)
    for left, right in (("O1", "O2"), ("PO7", "PO8"), ("T7", "T8"), ("F3", "F4"), ("CP1", "CP2")):
        assert where[left] == pytest.approx(where[right] * [-1, 1, 1], abs=1e-9)
        assert where[left][0] < 0
    assert where["O1"][1] < -0.08 < 0.08 < where["Fp1"][1]


def test_epochs_have_the_average_reference(brain, banks):
    epochs, _ = brain.measure(brain.respond(banks[1][:20]), np.zeros(20, int), np.random.default_rng(0))
    assert np.abs(epochs.mean(1)).max() < 1e-3 * epochs.std()


def test_levels_respond_at_their_latencies(brain):
    power = [(brain.waveform[:, brain.level == level] ** 2).mean(1) for level in meeg.LATENCY_S]
    times = brain.config.times
    centres = [(p * times).sum() / p.sum() for p in power]
    assert centres == sorted(centres)
    assert centres == pytest.approx(list(meeg.LATENCY_S.values()), abs=0.05)


@pytest.mark.parametrize("helmet", [sensors.eeg_cap(), sensors.meg_helmet()], ids=["eeg", "meg"])
def test_what_each_level_adds_to_the_epochs_peaks_at_its_latency(banks, helmet):
    """Epochs of almost no noise, regressed on what drives the sources; the null exchanges the pictures."""
    fitted, features = banks
    drawn = meeg.draw_meeg(
        helmet, fitted, features, n_sessions=1, noise_level=0.01,
        config=meeg_config.MeegConfig(n_times=60, n_sources=20), generator=np.random.default_rng(1),
    )  # fmt: skip
    sources = drawn.respond(features[:600])
    epochs, seen = drawn.measure(sources, np.zeros(600, int), np.random.default_rng(2))
    drives = sources * seen[:, None]

    def power(design: np.ndarray) -> np.ndarray:
        centred = design - design.mean(0)
        maps = np.linalg.lstsq(centred, epochs.reshape(600, -1) * 1e6, rcond=None)[0]
        summed = (maps.reshape(60, -1, 60) ** 2).mean(1)
        return np.stack([summed[drawn.level == level].sum(0) for level in meeg.LATENCY_S])

    times, found = drawn.config.times, power(drives)
    centres = (found @ times) / found.sum(1)
    assert centres == pytest.approx(list(meeg.LATENCY_S.values()), abs=0.02)
    assert found[:, times < 0.0].max() < 0.01 * found.max()
    null = power(drives[np.random.default_rng(0).permutation(600)])
    assert np.ptp((null @ times) / null.sum(1)) < 0.3 * np.ptp(centres)


def test_the_hearts_beat_is_in_the_noise_of_magnetometers_alone():
    config, both = meeg_config.MeegConfig(), (sensors.eeg_cap(), sensors.meg_helmet())
    names = [{part.name for part in meeg_noise.noise_parts(s, config, 1.0)} for s in both]
    assert names[1] - names[0] == {"heart"} and names[0] < names[1]


def test_magnetometers_lie_outside_the_head_and_look_away_from_it():
    helmet = sensors.meg_helmet()
    where = helmet.space.positions
    assert np.linalg.norm(where, axis=1).min() > sensors.HEAD_M
    outwards = where / np.linalg.norm(where, axis=1, keepdims=True)
    assert (
        0.9 < (outwards * helmet.normals).sum(1).min() and (outwards * helmet.normals).sum(1).max() < 0.9999
    )
    assert (
        where[where[:, 1].argmin(), 2] < where[where[:, 1].argmax(), 2]
    )  # further down at the back than in front
    gaps = np.linalg.norm(where[:, None] - where[None], axis=2) + np.eye(len(where))
    assert gaps.min(1).min() > 0.5 * gaps.min(1).max()


def test_no_source_responds_before_the_picture(banks):
    waves = meeg._waveforms(np.arange(-20, 40) / 100, "early", 5, np.random.default_rng(0))
    assert not waves[:21].any() and waves[21:].any()


def test_early_sources_show_at_the_back_of_the_head(brain):
    space = brain.space
    back = space.positions[:, 1] < -0.05
    power = (brain.topography**2)[:, brain.level == "early"].mean(1)
    assert power[back].mean() > 3 * power[~back].mean()


def test_sampled_noise_has_the_announced_covariance(brain):
    n = 6000
    epochs, _ = brain.measure(np.zeros((n, 18)), np.arange(n) % 2, np.random.default_rng(1))
    measured, announced = np.cov(epochs.reshape(n, -1).T), brain.noise_covariance()
    assert np.linalg.norm(measured - announced) < 0.15 * np.linalg.norm(announced)
    assert np.trace(measured) == pytest.approx(np.trace(announced), rel=0.03)


def test_alpha_waves_oscillate_at_ten_hertz():
    config = meeg_config.MeegConfig(n_times=100, tmin=0.0)
    part = next(p for p in meeg_noise.noise_parts(sensors.eeg_cap(), config, 1.0) if p.name == "alpha")
    waves = part.sample(200, np.random.default_rng(0))
    power = (np.abs(np.fft.rfft(waves, axis=2)) ** 2).mean((0, 1))
    assert np.fft.rfftfreq(100, 0.01)[power.argmax()] == pytest.approx(10.0, abs=1.0)


def test_blinks_are_frontal_and_as_frequent_as_announced():
    config = meeg_config.MeegConfig(blink_rate=0.25)
    part = next(p for p in meeg_noise.noise_parts(sensors.eeg_cap(), config, 1.0) if p.name == "blink")
    waves = part.sample(2000, np.random.default_rng(0))
    assert (np.abs(waves).max((1, 2)) > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert np.abs(part.spatial[:, 0]).argsort()[-2:].tolist() in ([0, 1], [1, 0])


def test_muscle_bursts_are_temporal_brief_and_have_no_favourite_frequency():
    config = meeg_config.MeegConfig(n_times=100, tmin=0.0, muscle_rate=0.3)
    for helmet in (sensors.eeg_cap(), sensors.meg_helmet()):
        part = next(p for p in meeg_noise.noise_parts(helmet, config, 1.0) if p.name == "muscle")
        waves = part.sample(1500, np.random.default_rng(0))
        assert (np.abs(waves).max((1, 2)) > 0).mean() == pytest.approx(0.3, abs=0.04)
        side = np.abs(helmet.space.positions[:, 0])
        assert side[np.abs(part.spatial).max(1).argsort()[-4:]].min() > 0.8 * side.max()
        power = (np.abs(np.fft.rfft(waves, axis=2)) ** 2).mean((0, 1))[5:-5]
        assert power.max() < 1.5 * power.min()


def test_unmixing_recovers_the_sources_with_the_announced_error(brain, banks):
    sources = brain.respond(banks[1][:1500])
    epochs, seen = brain.measure(sources, np.arange(1500) % 2, np.random.default_rng(2))
    filters, covariance = brain.unmixing()
    assert filters @ brain.mixing == pytest.approx(np.eye(18), abs=1e-6)
    error = (epochs.reshape(1500, -1) @ filters.T - sources)[seen]
    gain = 0.1**2 * np.diag(sources.T @ sources) / 1500
    assert error.var(0) == pytest.approx(np.diag(covariance) + gain, rel=0.25)


def test_planted_ncsnr_is_that_of_repeated_epochs(brain, banks):
    sources = brain.respond(banks[1][:1000])
    rng = np.random.default_rng(3)
    first, second = (brain.measure(sources, np.arange(1000) % 2, rng)[0].reshape(1000, -1) for _ in range(2))
    planted = brain.ncsnr(sources).ravel()
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    assert r.mean() == pytest.approx((planted**2 / (1 + planted**2)).mean(), abs=0.01)
