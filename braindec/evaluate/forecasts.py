"""EEG foretold: a network's samples to come, beside closed form, what is seen last, and the best forecast there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data.simulated.oscillators import Oscillators
from braindec.decoder import forecast_linear, forecasting
from braindec.decoder.forecast_linear import Config, Forecast, LinearForecast, Scale
from braindec.decoder.forecasting import Forecaster
from braindec.evaluate import forecast_report, forecast_scores
from braindec.evaluate.forecast_runs import Parts, Planted, parted, runs_of
from braindec.types import Recording, Report

__all__ = ["Planted", "Settings", "eeg_forecast", "runs_of"]


@dataclass(frozen=True)
class Settings:
    """What is foretold and how it is judged.

    Parameters
    ----------
    horizons_s : tuple of float
        How far ahead it is judged, seconds; as far as the last one everything is foretold.
    rhythm_hz : (float, float)
        Phase and amplitude of this band are judged.
    phase_ahead_s : float
        How far ahead, at most half of the last horizon, so that the band's filter has something to look at.
    band_hz : (float, float) or None
        Pass band of a filter that looks back alone; None where recordings are left as they are.
    oversampling : float
        Samples are left out as long as the rate stays this many times the band's upper end.
    settle_s : float
        Left out at the begin of each run, where the filter settles.
    share : float
        Of runs that are tested, two at least; of one or two runs the share of their end.
    gap_s : float
        Left out between both parts where these are of one run.
    n_stretches : int
        That the end of such a run is judged in.
    n_null : int
        Networks fitted on pasts with the futures of other windows.
    model : decoder.forecast_linear.Config
        Its `steps` follow from `horizons_s`.
    seed : int
    """

    horizons_s: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    rhythm_hz: tuple[float, float] = (8.0, 13.0)
    phase_ahead_s: float = 0.1
    band_hz: tuple[float, float] | None = None
    oversampling: float = 2.5
    settle_s: float = 0.0
    share: float = 0.34
    gap_s: float = 2.0
    n_stretches: int = 4
    n_null: int = 9
    model: Config = field(default_factory=Config)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("number of horizons", len(self.horizons_s), 1)
        checks.at_least("smallest horizon", min(self.horizons_s), 1e-3, unit="s")
        checks.in_range("phase_ahead_s", self.phase_ahead_s, 1e-3, max(self.horizons_s) / 2, unit="s")
        checks.in_range("share", self.share, 0.05, 0.9)
        checks.at_least("gap_s", self.gap_s, 0.0)
        checks.at_least("n_stretches", self.n_stretches, 2)
        checks.at_least("n_null", self.n_null, 1)


SETTINGS = Settings()


def eeg_forecast(
    recordings: Sequence[Recording],
    settings: Settings = SETTINGS,
    *,
    planted: Oscillators | None = None,
    protocol: str = "heldout_runs",
    out_dir: Path | None = None,
) -> Report:
    """Fits forecasters on the first runs and judges what they say of the last ones.

    Parameters
    ----------
    recordings : sequence of Recording
        Whole runs of one subject.
    settings : Settings
    planted : Oscillators, optional
        What made the recordings: the oracle, where they are not filtered.
    protocol : str
        Name that the scores carry.
    out_dir : path, optional
        Where the network is saved, in a folder ``forecaster``.

    Returns
    -------
    Report
        Of a network, the same without the closed form that it begins as, one that says a sample at a time, vector
        autoregression, the last sample, the mean, the oracle, and networks of shuffled futures.

    Raises
    ------
    LeakageError
        If a second of a test run is also in a training run.
    ValueError
        If runs differ in channels or rate, are too short, or a channel is silent.
    """
    parts = parted(recordings, settings)
    steps = [round(h * parts.sfreq) for h in settings.horizons_s]
    checks.at_least("samples of the smallest horizon", min(steps), 1)
    checks.at_least("number of test runs", len(parts.test), 2)
    model = replace(settings.model, steps=max(steps))
    checks.at_least(
        "samples of the shortest test run", min(run.shape[1] for run in parts.test),
        forecast_scores.shortest(parts.sfreq, model.context, model.steps),
        way_out="Give longer runs, or lower n_stretches.",
    )  # fmt: skip
    scale = forecast_linear.scale_of(parts.train)
    data = forecast_linear.windows([scale(run) for run in parts.train], model)
    linear = forecast_linear.fit_linear(data, model, settings.seed)
    ours = forecasting.fit(data, scale, model, linear=linear, seed=settings.seed)
    alone = replace(model, linear=False)
    scratch = forecasting.fit(data, scale, alone, seed=settings.seed)
    rolled = forecasting.fit(data, scale, replace(alone, ahead="one"), seed=settings.seed)
    nulls = []
    for i in range(settings.n_null):
        wrong = data.shuffled(seeding.torch_generator(settings.seed, "shuffled futures", i))
        nulls.append(forecasting.fit(wrong, scale, model, seed=settings.seed + 1 + i))
    if out_dir is not None:
        forecasting.save(ours, out_dir / "forecaster")
    told = {
        "braindec": [ours.predict(run) for run in parts.test],
        "ridge": [_of_linear(linear, scale, run) for run in parts.test],
        "scratch": [scratch.predict(run) for run in parts.test],
        "contender": [rolled.predict(run) for run in parts.test],
        "nuisance": [Forecast(run.expand(max(steps), *run.shape), None) for run in parts.test],
        "mean": [Forecast(scale.mean.expand(max(steps), *run.shape), None) for run in parts.test],
    }
    known = planted if settings.band_hz is None else None
    if known is not None:
        best = [
            torch.from_numpy(known.forecast(run.double().numpy(), max(steps))).float() for run in parts.test
        ]
        told["oracle"] = [Forecast(one, None) for one in best]
    rhythm = forecast_scores.loudest(parts.train, parts.sfreq, settings.rhythm_hz)
    judged = forecast_scores.Judged(
        parts, scale, told, [_all(n, parts) for n in nulls], model.context, rhythm
    )
    scores = forecast_scores.judge(judged, settings, protocol)
    bound = None if known is None else known.r2(max(steps)).mean(1)
    return forecast_report.report(scores, judged, settings, linear.order, bound)


def _all(model: Forecaster, parts: Parts) -> list[Forecast]:
    return [model.predict(run) for run in parts.test]


def _of_linear(linear: LinearForecast, scale: Scale, run: Tensor) -> Forecast:
    """What vector autoregression says after every sample, in the run's units."""
    return Forecast(linear(scale(run)[None])[0] * scale.sd + scale.mean, None)
