"""EEG of four dry electrodes while pictures were shown, foretold: what follows from the past, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from braindec.data import meeg
from braindec.decoder.forecast_linear import Config
from braindec.evaluate.forecasts import Settings, eeg_forecast
from braindec.train import Config as Train
from braindec.types import Recording, Report

CHANNELS, CODES = ("TP9", "AF7", "AF8", "TP10"), {1: "house", 2: "face"}
SETTINGS = Settings(
    band_hz=(1.0, 30.0), settle_s=4.0, n_null=1,
    model=Config(
        context=80, width=16, n_layers=5, orders=(5, 20), span=75,
        train=Train(n_steps=60, batch_size=16, lr=3e-3, validate_every=20, validation_fraction=0.25),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def recordings(real_data) -> list[Recording]:
    paths = sorted(Path(real_data).rglob("data_2017-09-13-*.csv"))
    return [
        meeg.read_csv(
            p, channels=CHANNELS, marker="Marker0", codes=CODES, sfreq=256.0, subject=1, run=str(i + 1)
        )
        for i, p in enumerate(paths)
    ]


@pytest.fixture(scope="module")
def report(recordings) -> Report:
    return eeg_forecast(recordings, SETTINGS)


def test_runs_that_were_not_learnt_from_are_foretold_better_than_by_shuffled_futures(report):
    ours = report.score("forecast_r2")
    assert ours.n == 2
    assert ours.value > max(ours.null + 0.1, report.score("forecast_r2", "nuisance").value)
    assert report.score("forecast_correlation").value > 0.3


def test_near_samples_are_foretold_better_than_far_ones(report):
    values = [row[0] for row in report.run["by_horizon"]["forecast_r2"]["braindec"]]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.35


def test_the_network_is_not_below_the_closed_form_that_it_begins_as(report):
    assert report.score("forecast_r2").value > report.score("forecast_r2", "ridge").value - 0.02


def test_one_run_is_parted_with_a_gap_and_its_end_foretold(recordings):
    told = eeg_forecast(recordings[:1], replace(SETTINGS, n_stretches=3))
    assert told.score("forecast_r2").n == 3
    assert told.score("forecast_r2").value > told.score("forecast_r2", "mean").value
