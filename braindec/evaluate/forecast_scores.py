"""Scores of forecasts: explained variance and correlation by horizon, and a rhythm's phase and amplitude to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from braindec.decoder.forecast_linear import Forecast, Scale
from braindec.evaluate.forecast_runs import Parts
from braindec.stats.intervals import subject_interval
from braindec.stats.permutation import p_value
from braindec.types import Score

if TYPE_CHECKING:
    from braindec.evaluate.forecasts import Settings

R2, CORRELATION, PHASE, AMPLITUDE = (
    "forecast_r2",
    "forecast_correlation",
    "phase_error",
    "amplitude_correlation",
)
ORDER = 2  # of the band's Butterworth filter, run both ways
PAST_S, EVERY_S = 1.0, 0.1  # seen by that filter; between forecasts whose phase is judged
WELCH_S = 2.0


@dataclass(frozen=True, eq=False)
class Judged:
    """What each system said of the test runs.

    Parameters
    ----------
    parts : Parts
    scale : Scale
        Of training runs.
    told : mapping of str to list of Forecast
        By system, one a test run.
    nulls : list of list of Forecast
        Of networks fitted on shuffled futures.
    first : int
        Samples of a run that are only looked at.
    rhythm : int
        The channel whose phase is judged.
    """

    parts: Parts
    scale: Scale
    told: Mapping[str, list[Forecast]]
    nulls: list[list[Forecast]]
    first: int
    rhythm: int


Measure = Callable[[Forecast, Tensor], float]  # of one run


def shortest(sfreq: float, first: int, steps: int) -> int:
    """Samples of a run with three forecasts whose phase is judged: amplitudes of fewer have no correlation."""
    return max(first, round(PAST_S * sfreq)) + steps + 2 * max(1, round(EVERY_S * sfreq))


def judge(judged: Judged, settings: Settings, protocol: str) -> list[Score]:
    """Explained variance and correlation, means over horizons, and a rhythm's phase and amplitude."""
    steps = [round(h * judged.parts.sfreq) for h in settings.horizons_s]

    def over_horizons(measure: Callable[[Forecast, Tensor, int, Judged], float]) -> Measure:
        return lambda told, run: float(np.mean([measure(told, run, h, judged) for h in steps]))

    def rhythm(which: int) -> Measure:
        return lambda told, run: rhythm_ahead(told, run, judged, settings)[which]

    right_angle = float(np.pi / 2)
    return [
        *_scores(R2, over_horizons(r2), judged, protocol),
        *_scores(CORRELATION, over_horizons(correlation), judged, protocol),
        *_scores(PHASE, rhythm(0), judged, protocol, chance=right_angle, lower=True),
        *_scores(AMPLITUDE, rhythm(1), judged, protocol),
    ]


def by_horizon(judged: Judged, settings: Settings) -> dict[str, dict[str, list[list[float]]]]:
    """Of every system, mean and 95 % interval over test runs at each horizon, of explained variance and correlation."""
    steps = [round(h * judged.parts.sfreq) for h in settings.horizons_s]
    measures = {R2: r2, CORRELATION: correlation}
    return {
        name: {
            system: [mean_over_runs(_by_run(_at(measure, h, judged), told, judged.parts.test)) for h in steps]
            for system, told in {**judged.told, "shuffled": judged.nulls[0]}.items()
        }
        for name, measure in measures.items()
    }


def _at(measure: Callable[[Forecast, Tensor, int, Judged], float], h: int, judged: Judged) -> Measure:
    return lambda told, run: measure(told, run, h, judged)


def r2(told: Forecast, run: Tensor, h: int, judged: Judged) -> float:
    """Share of a run's variance about the training mean that is foretold h samples ahead, mean over channels."""
    wanted, said = ahead(run, told.mean, h, judged.first)
    left = (wanted - said).square().sum(1)
    return float((1 - left / (wanted - judged.scale.mean).square().sum(1)).mean())


def correlation(told: Forecast, run: Tensor, h: int, judged: Judged) -> float:
    """Pearson's r over time of what came and what was said h samples before, mean over channels; 0 of a constant."""
    wanted, said = (
        x.double() - x.double().mean(1, keepdim=True) for x in ahead(run, told.mean, h, judged.first)
    )
    size = (wanted.square().sum(1) * said.square().sum(1)).sqrt()
    product = (wanted * said).sum(1)
    return float(
        torch.where(size > 1e-6 * wanted.square().sum(1), product / size.clamp_min(1e-30), 0.0).mean()
    )


def ahead(run: Tensor, said: Tensor, h: int, first: int) -> tuple[Tensor, Tensor]:
    """What came and what was said of it h samples before, both (n_channels, n); equally many for every h."""
    stop = run.shape[1] - len(said)
    return run[:, first - 1 + h : stop + h], said[h - 1, :, first - 1 : stop]


def loudest(runs: Sequence[Tensor], sfreq: float, band: tuple[float, float]) -> int:
    """The channel in which a band has most of the power up to three times its upper end, in training runs."""
    from scipy.signal import welch

    shares = []
    for run in runs:
        hz, power = welch(run.numpy(), sfreq, nperseg=min(run.shape[1], round(WELCH_S * sfreq)))
        inside = (hz >= band[0]) & (hz <= band[1])
        shares.append(power[:, inside].sum(1) / power[:, (hz > 1) & (hz < 3 * band[1])].sum(1))
    return int(np.mean(shares, axis=0).argmax())


def rhythm_ahead(told: Forecast, run: Tensor, judged: Judged, settings: Settings) -> tuple[float, float]:
    """Mean absolute error of a rhythm's phase (rad, chance pi / 2) and correlation of its amplitude, ahead.

    What is said is hung on to the past and filtered both ways; phase and amplitude are those of its analytic signal.
    The truth is the same of the whole run, which no forecast has seen.
    """
    said, came = analytic_ahead(told, run, judged, settings)
    away = np.abs(np.angle(said * came.conj())).mean()
    pair = np.abs(said), np.abs(came)
    flat = min(one.std() for one in pair) < 1e-9 * pair[1].mean()
    return float(away), 0.0 if flat else float(np.corrcoef(*pair)[0, 1])


def analytic_ahead(told: Forecast, run: Tensor, judged: Judged, settings: Settings) -> tuple[Any, Any]:
    """The rhythm as said and as it came, complex (n,), at forecasts a tenth of a second apart."""
    sfreq, steps = judged.parts.sfreq, len(told.mean)
    past, h = round(PAST_S * sfreq), round(settings.phase_ahead_s * sfreq)
    begin = max(judged.first, past)
    at = torch.arange(begin - 1, run.shape[1] - steps, max(1, round(EVERY_S * sfreq)))
    seen = run[judged.rhythm].unfold(0, past, 1)[at - past + 1]
    hung = torch.cat([seen, told.mean[:, judged.rhythm, at].T], 1).double().numpy()
    whole = _analytic(run[judged.rhythm].double().numpy(), sfreq, settings.rhythm_hz)
    return _analytic(hung, sfreq, settings.rhythm_hz)[:, past - 1 + h], whole[(at + h).numpy()]


def _analytic(x: np.ndarray, sfreq: float, band: tuple[float, float]) -> np.ndarray:
    from scipy.signal import butter, hilbert, sosfiltfilt

    sections = butter(ORDER, band, "bandpass", fs=sfreq, output="sos")
    return np.asarray(hilbert(sosfiltfilt(sections, x, axis=-1), axis=-1))


def coverage(told: Forecast, run: Tensor, h: int, judged: Judged, width: float) -> float:
    """Share of samples within so many SDs of what was said h samples before."""
    if told.sd is None:
        raise ValueError("this forecast has no spread.")
    wanted, said = ahead(run, told.mean, h, judged.first)
    _, sd = ahead(run, told.sd, h, judged.first)
    return float(((wanted - said).abs() <= width * sd).double().mean())


def surest_half(told: Forecast, run: Tensor, h: int, judged: Judged) -> float:
    """Squared error of the half of each channel's forecasts with the least spread, as a share of that of all."""
    if told.sd is None:
        raise ValueError("this forecast has no spread.")
    wanted, said = ahead(run, told.mean, h, judged.first)
    _, sd = ahead(run, told.sd, h, judged.first)
    left = (wanted - said).square()
    sure = left.gather(1, sd.argsort(1)[:, : sd.shape[1] // 2])
    return float((sure.mean(1) / left.mean(1)).mean())


def _scores(
    name: str, measure: Measure, judged: Judged, protocol: str, *, chance: float = 0.0, lower: bool = False
) -> list[Score]:
    """Of every system, the mean over test runs with an interval over them; and of the null's networks."""
    runs = judged.parts.test
    null = np.array([np.mean(_by_run(measure, one, runs)) for one in judged.nulls])
    common: dict[str, Any] = {
        "chance": chance, "null": float(null.mean()), "null_n": len(null), "n": len(runs), "protocol": protocol,
        "subject": judged.parts.subject, "modality": judged.parts.modality, "direction": "lower" if lower else "higher",
    }  # fmt: skip
    values = {system: _by_run(measure, told, runs) for system, told in judged.told.items()}
    scores = []
    for system, found in values.items():
        details, p = {}, None
        if system == "braindec":
            p = p_value(float(found.mean()), null, "less" if lower else "greater")
            details = {
                "difference_from": {o: mean_over_runs(found - v) for o, v in values.items() if o != system}
            }
        value, *ends = mean_over_runs(found)
        scores.append(
            Score(
                name=name, system=system, value=value, interval=(ends[0], ends[1]), p=p, per_sample=found,
                sample_ids=tuple(judged.parts.names), details=details, **common,
            )
        )  # fmt: skip
    ends = np.quantile(null, [0.025, 0.975]).tolist()
    return [
        *scores,
        Score(name=name, system="shuffled", value=float(null.mean()), interval=tuple(ends), **common),
    ]


def _by_run(measure: Measure, told: Sequence[Forecast], runs: Sequence[Tensor]) -> np.ndarray:
    return np.array([measure(one, run) for one, run in zip(told, runs, strict=True)])


def mean_over_runs(values: np.ndarray) -> list[float]:
    """Mean and its 95 % interval over runs."""
    found = subject_interval(values)
    return [float(found.mean), float(found.interval.low), float(found.interval.high)]
