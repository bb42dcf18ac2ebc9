"""Runs are parted without a leak, and measures of forecasts are what their definitions give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.checks import LeakageError
from braindec.decoder.forecast_linear import Forecast, Scale
from braindec.evaluate import forecast_scores
from braindec.evaluate.forecast_runs import parted, runs_of
from braindec.evaluate.forecast_scores import Judged
from braindec.evaluate.forecasts import Planted, Settings, eeg_forecast
from braindec.recipe import NO_DATA, NeuralData

PLANTED = Planted(n_runs=6, n_channels=2, run_s=10.0)
SETTINGS = Settings()
FIRST, STEPS = 20, 20


@pytest.fixture(scope="module")
def recordings():
    return runs_of(NeuralData(NO_DATA), "nowhere", PLANTED)[0]


@pytest.fixture(scope="module")
def judged(recordings) -> Judged:
    parts = parted(recordings, SETTINGS)
    return Judged(parts, Scale(torch.zeros(2, 1), torch.ones(2, 1)), {}, [], FIRST, 0)


def future(run: torch.Tensor) -> torch.Tensor:
    """What truly comes: (STEPS, n_channels, n_times), zero beyond the end."""
    padded = torch.nn.functional.pad(run, (0, STEPS))
    return torch.stack([padded[:, h : h + run.shape[1]] for h in range(1, STEPS + 1)])


def test_the_last_runs_are_tested_and_the_end_of_a_lone_run_after_a_gap(recordings):
    many, one = parted(recordings, SETTINGS), parted(recordings[:1], SETTINGS)
    assert many.names == ["session 1 run 5", "session 1 run 6"]
    assert torch.equal(many.test[1], torch.from_numpy(recordings[5].signal).float())
    assert (len(many.train), len(one.train), len(one.test)) == (4, 1, 4)
    n_test = sum(stretch.shape[1] for stretch in one.test)
    assert n_test == 340
    assert one.train[0].shape[1] == 1000 - n_test - 200  # two seconds lie between


def test_a_filter_gives_no_sample_of_the_past_anything_of_the_future(recordings):
    told = replace(SETTINGS, band_hz=(1.0, 15.0))
    signal = np.array(recordings[0].signal)
    signal[:, 500:] = 0.0
    before, after = (parted([one], told) for one in (recordings[0], replace(recordings[0], signal=signal)))
    assert before.sfreq == 50.0  # every other sample
    assert torch.equal(before.train[0][:, :220], after.train[0][:, :220])


def test_a_run_that_is_in_both_parts_is_refused(recordings):
    with pytest.raises(LeakageError, match="a second of a test run is in a training run"):
        parted([*recordings[:5], replace(recordings[0], run="6")], SETTINGS)


def test_runs_that_do_not_belong_together_are_refused(recordings):
    with pytest.raises(ValueError, match="run '2' has another subject, sfreq or other channels than run '1'"):
        parted([recordings[0], replace(recordings[1], sfreq=50.0)], SETTINGS)


def test_who_knows_the_future_explains_all_and_who_says_the_mean_nothing(judged):
    run = judged.parts.test[0]
    known, mean = Forecast(future(run), None), Forecast(torch.zeros(STEPS, *run.shape), None)
    for h in (1, STEPS):
        assert forecast_scores.r2(known, run, h, judged) == pytest.approx(1.0)
        assert forecast_scores.r2(mean, run, h, judged) == pytest.approx(0.0)
        assert forecast_scores.correlation(known, run, h, judged) == pytest.approx(1.0)
        assert forecast_scores.correlation(mean, run, h, judged) == 0.0
    error, amplitude = forecast_scores.rhythm_ahead(known, run, judged, SETTINGS)
    assert error < 0.45 and amplitude > 0.85  # the window's end is filtered otherwise than the whole run
    opposite = Forecast(-future(run), None)
    assert forecast_scores.rhythm_ahead(opposite, run, judged, SETTINGS)[0] > error + 0.5


def test_explained_variance_is_that_of_another_library(judged, rng):
    from sklearn.metrics import r2_score

    run, h = judged.parts.test[0], 4
    said = future(run) + 0.5 * torch.from_numpy(rng.standard_normal((STEPS, *run.shape))).float()
    centred = replace(
        judged, scale=Scale(run[:, FIRST - 1 + h : run.shape[1] - STEPS + h].mean(1, keepdim=True), 1.0)
    )
    wanted, own = forecast_scores.ahead(run, said, h, FIRST)
    expected = r2_score(wanted.T.numpy(), own.T.numpy())
    assert forecast_scores.r2(Forecast(said, None), run, h, centred) == pytest.approx(expected, abs=1e-5)


def test_bands_hold_what_they_say_and_the_surest_half_errs_as_little_as_planted(judged, rng):
    run = judged.parts.test[0]
    sd = torch.where(torch.arange(run.shape[1]) % 2 == 0, 0.1, 1.0).expand(STEPS, *run.shape)
    noise = torch.from_numpy(rng.standard_normal((STEPS, *run.shape))).float()
    told = Forecast(future(run) + sd * noise, sd)
    assert forecast_scores.coverage(told, run, 3, judged, 1.645) == pytest.approx(0.9, abs=0.03)
    assert forecast_scores.surest_half(told, run, 3, judged) == pytest.approx(0.01 / 0.505, abs=0.01)


def test_the_channel_with_most_alpha_is_chosen():
    times = torch.arange(1000) / 100
    run = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    run[1] += 2 * torch.sin(2 * torch.pi * 10 * times)
    run[2] += 3 * torch.sin(2 * torch.pi * 20 * times)
    assert forecast_scores.loudest([run], 100.0, (8.0, 13.0)) == 1


def test_test_runs_too_short_for_a_phase_are_refused_before_anything_is_fitted():
    short = runs_of(NeuralData(NO_DATA), "nowhere", Planted(n_runs=1, n_channels=2, run_s=12.0))[0]
    with pytest.raises(ValueError, match="samples of the shortest test run must be at least 140, got 102"):
        eeg_forecast(short, SETTINGS)
