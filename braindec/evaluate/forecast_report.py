"""The page of forecasts: what came beside what was said, how far ahead, and how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import config
from braindec.evaluate import forecast_scores, study
from braindec.evaluate.forecast_scores import AMPLITUDE, CORRELATION, PHASE, R2, Judged
from braindec.types import Report, Score

if TYPE_CHECKING:
    from braindec.evaluate.forecasts import Settings

WORDS = {
    "braindec": "network that begins as vector autoregression",
    "scratch": "the same network alone",
    "contender": "the same network alone, a sample at a time",
    "ridge": "vector autoregression, every horizon by itself",
    "nuisance": "the last sample goes on",
    "mean": "the mean of training runs",
    "oracle": "Kalman filter that knows what was planted",
    "shuffled": "the network fitted on futures of other windows",
}
LINES = {  # shown over horizons
    "braindec": "network", "scratch": "network alone", "contender": "a sample at a time", "ridge": "autoregression",
    "oracle": "best there is", "shuffled": "shuffled futures",
}  # fmt: skip
BEFORE_S, SHOWN = 0.4, 3  # seconds before a forecast, and channels, in figures
ALIKE = 0.005  # of the variance: what nobody would notice
WIDTH = 1.6449  # SDs about the mean that hold 90 % of a Gaussian
LIMITS = (
    "Everything is fitted and tested on one person. The forecast is of what sensors record: muscles, blinks and line "
    "noise that go on are foretold as brain waves are. Intervals are over test runs, few as they are, with fitted "
    "models held as they are. A filter in the recorder or in what was prepared that looks both ways lets the future "
    "into the past, and forecasts look better than they could be while someone is recorded."
)


def report(
    scores: Sequence[Score], judged: Judged, settings: Settings, order: int, bound: np.ndarray | None
) -> Report:
    """Scores, sentences and panels."""
    horizons = forecast_scores.by_horizon(judged, settings)
    panels = [
        *_beside(judged),
        ("How far ahead", "rsa_time_course", _by_horizon(judged, bound)),
        ("By horizon", "table", _table(horizons, settings)),
        (f"Phase of {_band(settings)} {1e3 * settings.phase_ahead_s:g} ms ahead", "regions", _phase(scores)),
        ("How sure it is", "table", _sure(judged, settings)),
    ]
    run = {
        "settings": config.to_json(settings),
        "order": order,
        "by_horizon": {"seconds": list(settings.horizons_s), **horizons},
        "runs": {
            "train": len(judged.parts.train),
            "test": list(judged.parts.names),
            "sfreq": judged.parts.sfreq,
        },
        "words": {
            "systems": WORDS,
            "null": "futures exchanged among training windows, the network fitted again",
        },
    }
    said = _said(scores, judged, settings, order, bound, horizons)
    return study.report("EEG foretold", said, scores, panels, LIMITS, **run)


def _said(
    scores: Sequence[Score], judged: Judged, settings: Settings, order: int, bound: np.ndarray | None,
    horizons: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
) -> list[str]:  # fmt: skip
    found = {(s.name, s.system): s for s in scores}

    def value(name: str, system: str = "braindec") -> str:
        return f"{found[name, system].value:.3f}"

    def with_interval(name: str, system: str = "braindec") -> str:
        low, high = found[name, system].interval
        return f"{value(name, system)} [{low:.3f}, {high:.3f}]"

    def others(name: str, systems: Sequence[str]) -> str:
        there = [s for s in systems if (name, s) in found]
        return ", ".join(f"{WORDS[s]} {value(name, s)}" for s in there)

    ours = found[R2, "braindec"]
    apart = {o: _difference(d) for o, d in ours.details["difference_from"].items()}
    lines = [
        f"Of {len(judged.parts.test)} test runs ({judged.parts.apart} were learnt from) the network foretells "
        f"{with_interval(R2)} of the variance, mean over {len(settings.horizons_s)} horizons up to "
        f"{1e3 * max(settings.horizons_s):g} ms (shuffled futures {ours.null:.3f}); "
        f"{others(R2, ('ridge', 'oracle', 'scratch', 'contender', 'nuisance', 'mean'))}.",
        f"Less vector autoregression of order {order}: {apart['ridge']}; less the same network alone: "
        f"{apart['scratch']}. {_verdict(ours.details['difference_from']['ridge'])}",
        f"At {1e3 * max(settings.horizons_s):g} ms it explains {_cell(horizons[R2]['braindec'][-1])}, vector "
        f"autoregression {_cell(horizons[R2]['ridge'][-1])}; at {1e3 * min(settings.horizons_s):g} ms "
        f"{_cell(horizons[R2]['braindec'][0])} and {_cell(horizons[R2]['ridge'][0])}.",
        f"Phase of {_band(settings)} at {judged.parts.channels[judged.rhythm]} {1e3 * settings.phase_ahead_s:g} ms "
        f"ahead is {with_interval(PHASE)} rad off (chance {np.pi / 2:.2f}; "
        f"{others(PHASE, ('ridge', 'oracle', 'mean'))}), "
        f"amplitudes correlate with r {with_interval(AMPLITUDE)} ({others(AMPLITUDE, ('ridge', 'oracle'))}).",
    ]
    if bound is not None:
        steps = [round(h * judged.parts.sfreq) - 1 for h in settings.horizons_s]
        lines.append(
            f"No forecast of what was planted can explain more than {float(bound[steps].mean()):.3f}."
        )
    return lines


def _verdict(difference: Sequence[float]) -> str:
    if abs(difference[0]) < ALIKE or difference[1] <= 0 <= difference[2]:
        return "The closed form does as well."
    return "The network adds to the closed form." if difference[0] > 0 else "The closed form does better."


def _difference(values: Sequence[float]) -> str:
    return f"{values[0]:+.3f} [{values[1]:+.3f}, {values[2]:+.3f}]"


def _band(settings: Settings) -> str:
    return f"{settings.rhythm_hz[0]:g}-{settings.rhythm_hz[1]:g} Hz"


def _beside(judged: Judged) -> list[study.Panel]:
    """What came and what was said after the one sample of the first test run that is foretold as well as most are."""
    run, sfreq = judged.parts.test[0], judged.parts.sfreq
    ours = judged.told["braindec"][0]
    steps, past = len(ours.mean), round(BEFORE_S * sfreq)
    origins = np.arange(max(judged.first, past), run.shape[1] - steps - 1)
    scale = judged.scale.sd[:, 0].numpy()
    errors = [
        float(
            np.square(
                (run[:, t + 1 : t + 1 + steps].numpy() - ours.mean[:, :, t].T.numpy()) / scale[:, None]
            ).mean()
        )
        for t in origins
    ]
    t = int(origins[np.argsort(errors)[len(errors) // 2]])
    times = np.arange(-past, steps + 1) / sfreq
    channels = dict.fromkeys([judged.rhythm, *range(len(run))])
    panels = []
    for c in list(channels)[:SHOWN]:
        series: dict[str, Any] = {"recorded": run[c, t - past : t + 1 + steps].numpy()}
        for system in ("braindec", "ridge", "oracle"):
            if system in judged.told:
                series[LINES[system]] = _after(judged.told[system][0].mean[:, c, t].numpy(), past)
        band = None
        if ours.sd is not None:
            mean, sd = (_after(x[:, c, t].numpy(), past) for x in (ours.mean, ours.sd))
            band = {LINES["braindec"]: np.stack([mean - WIDTH * sd, mean + WIDTH * sd], 1)}
        payload = {
            "time_s": times, "series": series, "intervals": band,
            "xlabel": "time from the last sample seen (s)", "section": "scores",
            "ylabel": f"{judged.parts.unit} at {judged.parts.channels[c]}",
            "caption": "From 0 on nothing was seen. Of all forecasts of the first test run the one with the median "
            "error; the band is where the network expects nine samples of ten.",
        }  # fmt: skip
        panels.append(
            (f"What came, and what was said: {judged.parts.channels[c]}", "rsa_time_course", payload)
        )
    return panels


def _after(values: np.ndarray, past: int) -> np.ndarray:
    """A forecast in a figure that begins before it."""
    return np.concatenate([np.full(past + 1, np.nan), values])


def _by_horizon(judged: Judged, bound: np.ndarray | None) -> dict[str, Any]:
    """Explained variance at every step, with intervals over test runs."""
    runs, steps = judged.parts.test, len(judged.told["braindec"][0].mean)
    series, bands = {}, {}
    for system, label in LINES.items():
        told = judged.nulls[0] if system == "shuffled" else judged.told.get(system)
        if told is None or (system == "oracle" and bound is not None):
            continue
        rows = [
            forecast_scores.mean_over_runs(
                np.array(
                    [forecast_scores.r2(f, run, h + 1, judged) for f, run in zip(told, runs, strict=True)]
                )
            )
            for h in range(steps)
        ]
        series[label] = np.array([row[0] for row in rows])
        if system in ("braindec", "ridge"):
            bands[label] = np.array([row[1:] for row in rows])
    if bound is not None:
        series[LINES["oracle"]] = bound
    return {
        "time_s": (1 + np.arange(steps)) / judged.parts.sfreq, "series": series, "intervals": bands,
        "ylabel": "explained variance", "xlabel": "time from the last sample seen (s)", "section": "scores",
        "caption": "Bands are 95 % intervals over test runs"
        + ("; the best there is, in closed form from what was planted." if bound is not None else "."),
    }  # fmt: skip


def _table(horizons: Mapping[str, Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    rows = [
        [f"{1e3 * h:g} ms", LINES[system], *(_cell(horizons[name][system][i]) for name in (R2, CORRELATION))]
        for i, h in enumerate(settings.horizons_s)
        for system in LINES
        if system in horizons[R2]
    ]
    return {
        "columns": ["ahead", "system", "explained variance", "correlation"],
        "rows": rows,
        "caption": "Means over channels and 95 % intervals over test runs; of shuffled futures the first network's.",
    }


def _cell(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"


def _phase(scores: Sequence[Score]) -> dict[str, Any]:
    found = [s for s in scores if s.name == PHASE]
    return study.bars(
        [WORDS[s.system] for s in found], {"error (rad)": np.array([s.value for s in found])},
        "mean absolute error of the phase (rad)",
        intervals={"error (rad)": np.array([s.interval for s in found])}, chance=float(np.pi / 2),
        caption="Less is better; intervals over test runs, of shuffled futures over networks. The filter that phases "
        "are read by rings on from the past: that alone is worth what the mean of training runs has.",
    )  # fmt: skip


def _sure(judged: Judged, settings: Settings) -> dict[str, Any]:
    rows = []
    pairs = list(zip(judged.told["braindec"], judged.parts.test, strict=True))
    for horizon in settings.horizons_s:
        h = round(horizon * judged.parts.sfreq)
        inside = np.mean([forecast_scores.coverage(f, run, h, judged, WIDTH) for f, run in pairs])
        every = np.mean([forecast_scores.r2(f, run, h, judged) for f, run in pairs])
        half = np.mean([forecast_scores.surest_half(f, run, h, judged) for f, run in pairs])
        rows.append([f"{1e3 * horizon:g} ms", float(inside), float(every), float(half)])
    return {
        "columns": [
            "ahead",
            "inside 90 % bands",
            "explained, all",
            "squared error of the surest half, of all",
        ],
        "rows": rows,
        "caption": "The network says a spread with each forecast. The last column is 1 where it cannot tell when it "
        "errs, as of what is planted, whose noise is always as large.",
    }
