"""Planted rhythms have the spectrum that was asked for, and their best forecast is Bayes' own."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated.oscillators import oscillators

STEPS = 5


@pytest.fixture
def process(rng):
    return oscillators(3, 100.0, rng)


def autocovariance(process, lag: int) -> np.ndarray:
    """Of channels at two times, by definition."""
    later = np.linalg.matrix_power(process.transition, lag) @ process.stationary()
    noise = process.sensor_noise**2 * np.eye(len(process.mixing)) if lag == 0 else 0.0
    return process.mixing @ later @ process.mixing.T + noise


def test_a_long_run_has_the_covariances_of_the_model(process, rng):
    run = process.draw(60_000, rng)
    for lag in (0, 3):
        found = run[:, lag:] @ run[:, : run.shape[1] - lag].T / (run.shape[1] - lag)
        np.testing.assert_allclose(found, autocovariance(process, lag), atol=0.08)


def test_an_alpha_rhythm_peaks_at_ten_hertz(rng):
    from scipy.signal import welch

    process = oscillators(2, 100.0, rng, rhythms=((10.0, 0.5, 3.0),))
    hz, power = welch(process.draw(20_000, rng), 100.0, nperseg=500)
    assert hz[power.mean(0)[hz > 3].argmax() + (hz <= 3).sum()] == pytest.approx(10.0, abs=0.5)


def test_the_forecast_is_the_conditional_mean_of_a_gaussian_given_the_past(process, rng):
    """By the covariance of a long past and of what follows it, without any filter."""
    n, run = 60, process.draw(60, rng)
    blocks = [autocovariance(process, lag) for lag in range(n + STEPS)]
    past = np.block([[blocks[i - j] if i >= j else blocks[j - i].T for j in range(n)] for i in range(n)])
    found = process.forecast(run, STEPS)
    for h in (1, STEPS):
        with_past = np.concatenate([blocks[n - 1 + h - j] for j in range(n)], 1)
        expected = with_past @ np.linalg.solve(past, run.T.ravel())
        np.testing.assert_allclose(found[h - 1, :, -1], expected, atol=0.02)


def test_what_the_best_forecast_explains_is_as_the_closed_form_says(process, rng):
    run = process.draw(40_000, rng)
    told = process.forecast(run, STEPS)
    for h in (1, STEPS):
        left = run[:, h:] - told[h - 1, :, : run.shape[1] - h]
        np.testing.assert_allclose(1 - left.var(1) / run.var(1), process.r2(STEPS)[h - 1], atol=0.03)


def test_a_rate_too_slow_for_a_rhythm_is_refused(rng):
    with pytest.raises(ValueError, match="sfreq"):
        oscillators(2, 30.0, rng)
