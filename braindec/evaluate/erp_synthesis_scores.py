"""Scores of made epochs: every measure by subject, with intervals over held-out trials, the null and the ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.evaluate import study
from braindec.evaluate.erp_recordings import Recording
from braindec.evaluate.measures import auc_over_folds
from braindec.stats.auc import roc_auc
from braindec.stats.permutation import p_value
from braindec.synthesis import EpochDiffusion, Epochs, measures
from braindec.synthesis.measures import Component
from braindec.types import Score

if TYPE_CHECKING:
    from braindec.evaluate.erp_synthesis import Settings

TAUGHT, FEW, COPIED = "trained_on_made_auc", "few_trials_auc", "copied_auc"
CHANCE = {"erp_correlation": 0.0, "difference_correlation": 0.0, "covariance_distance": 1.0}
HIGHER = ("erp_correlation", "difference_correlation")
SYSTEMS = ("braindec", "contender", "mean", "oracle")


@dataclass(frozen=True, eq=False)
class Fold:
    """What was fitted on one training part and made by it.

    Parameters
    ----------
    number : int
    recording : Recording
    model : EpochDiffusion
    made : mapping of str to Epochs
        By system: ``"braindec"`` (diffusion), ``"contender"`` (Gaussian), ``"mean"`` (ERPs without noise), ``"oracle"``
        (the training trials themselves).
    nulls : sequence of Epochs
        Of diffusions fitted on shuffled classes.
    augmented : mapping of str to Epochs
        Few trials alone (``"scratch"``), and with made ones.
    few_nulls : sequence of Epochs
        Few trials whose classes were shuffled, with made ones.
    guided : mapping of str to list of float
        What each guidance gave on the last training unit.
    guidance : float
        The chosen one.
    null_guidances : sequence of float
        Chosen again with each shuffling.
    """

    number: int
    recording: Recording
    model: EpochDiffusion
    made: Mapping[str, Epochs]
    nulls: Sequence[Epochs]
    augmented: Mapping[str, Epochs]
    few_nulls: Sequence[Epochs]
    guided: Mapping[str, list[float]]
    guidance: float
    null_guidances: Sequence[float]


Measure = Callable[[Epochs, Epochs, Fold], float]  # recorded and made epochs of one subject


def judge(folds: Sequence[Fold], settings: Settings, protocol: str) -> tuple[list[Score], dict[str, Any]]:
    """All scores, and by subject what peaks were found."""
    recording = folds[0].recording
    scores: list[Score] = []
    rows: list[dict[str, Any]] = []
    for subject, number in enumerate(recording.subjects):
        common = {"protocol": protocol, "subject": number, "modality": recording.modality}
        scores += _areas(folds, subject, settings, common)
        for name, measure in _measures(settings, subject).items():
            scores += _distances(name, measure, folds, subject, settings, common)
        scores += _copies(folds, subject, common)
        rows += _peaks(folds, subject, settings)
    order = [TAUGHT, FEW, *_measures(settings, 0), COPIED]
    scores.sort(key=lambda s: order.index(s.name))
    return scores, {"peaks": rows}


def mean_auc(taught: Epochs, held: Epochs, recording: Recording, bin_s: float) -> float:
    """Area under the ROC of classifiers, one a subject, taught by some epochs and tested on others; mean."""
    areas = []
    for subject in range(len(recording.subjects)):
        test = of_subject(held, subject)
        margin = _margins(of_subject(taught, subject), test, recording, bin_s)
        areas.append(roc_auc(margin, test.codes[:, 2].numpy()).value)
    return float(np.mean(areas))


def of_subject(epochs: Epochs, subject: int) -> Epochs:
    """The epochs of one subject, by code."""
    return epochs.take(epochs.codes[:, 0] == subject)


def spread_of(values: Tensor) -> Tensor:
    """Standard deviation of each channel of epochs (n, n_channels, n_times); 1 of a flat one, a reference say."""
    found = values.std((0, 2), keepdim=True)
    return torch.where(found > 0, found, torch.ones_like(found))


def channel_of(recording: Recording, component: Component, subject: int) -> int:
    """Where a component is largest in a subject's training trials."""
    wave = _waves(of_subject(recording.train, subject), component).mean(0)
    height, _ = measures.peak(wave, recording.times_s, component)
    return int((component.sign * height if component.sign else height.abs()).argmax())


def _waves(epochs: Epochs, component: Component) -> Tensor:
    """Of every session (n_sessions, n_channels, n_times): the difference of the classes' ERPs, or their mean."""
    out = []
    for session in epochs.codes[:, 1].unique().tolist():
        rows = epochs.take(epochs.codes[:, 1] == session)
        for kind in (0, 1):
            checks.at_least(
                f"trials of class {kind} in session {session}", int((rows.codes[:, 2] == kind).sum()), 1
            )
        one, other = (rows.values[rows.codes[:, 2] == kind].mean(0) for kind in (1, 0))
        out.append(one - other if component.difference else (one + other) / 2)
    return torch.stack(out)


def _measures(settings: Settings, subject: int) -> dict[str, Measure]:
    whole = Component("difference", (0.0, 0.0), difference=True)

    def difference(a: Epochs, b: Epochs, fold: Fold) -> float:
        pair = (w.flatten(1)[:, None] for w in (_waves(a, whole), _waves(b, whole)))
        return float(
            measures.erp_correlation(*(Epochs(w, torch.arange(len(w))[:, None]) for w in pair)).mean()
        )

    def standard(a: Epochs, b: Epochs, fold: Fold) -> float:
        scale = spread_of(of_subject(fold.recording.train, subject).values)
        along = seeding.torch_generator(settings.seed, "slices")
        return measures.sliced_wasserstein(a.values / scale, b.values / scale, along)

    def peaks(which: int) -> Measure:
        def measure(a: Epochs, b: Epochs, fold: Fold) -> float:
            errors = []
            for component in settings.components:
                channel = channel_of(fold.recording, component, subject)
                found = [
                    measures.peak(_waves(e, component)[:, channel], fold.recording.times_s, component)
                    for e in (a, b)
                ]
                errors.append((found[0][which] - found[1][which]).abs().mean())
            return float(torch.stack(errors).mean()) * (1.0, 1e3)[which]

        return measure

    return {
        "difference_correlation": difference,
        "erp_correlation": lambda a, b, fold: float(measures.erp_correlation(a, b).mean()),
        "erp_error": lambda a, b, fold: float(measures.erp_error(a, b).mean()),
        "peak_latency_error_ms": peaks(1),
        "peak_height_error": peaks(0),
        "spectrum_distance_db": lambda a, b, fold: measures.spectrum_distance(
            a.values, b.values, fold.recording.sfreq, settings.band_hz
        ),
        "covariance_distance": lambda a, b, fold: measures.covariance_distance(a, b),
        "sliced_wasserstein": standard,
    }


def _distances(
    name: str, measure: Measure, folds: Sequence[Fold], subject: int, settings: Settings, common: Mapping[str, Any]
) -> list[Score]:  # fmt: skip
    """One measure of every system, with the interval that leaving out tenths of each condition gives."""
    held = [of_subject(fold.recording.test, subject) for fold in folds]
    number = torch.cat([torch.full((len(h.values),), i) for i, h in enumerate(held)])
    values, codes = torch.cat([h.values for h in held]), torch.cat([h.codes for h in held])
    cells = torch.cat([codes, number[:, None]], 1).unique(dim=0, return_inverse=True)[1]

    def over_folds(made: Sequence[Epochs]) -> Callable[..., float]:
        own = [of_subject(m, subject) for m in made]

        def statistic(values: Tensor, codes: Tensor, number: Tensor) -> float:
            each = [
                measure(Epochs(values[number == i], codes[number == i]), own[i], fold)
                for i, fold in enumerate(folds)
            ]
            return float(np.mean(each))

        return statistic

    null = np.array(
        [over_folds([fold.nulls[i] for fold in folds])(values, codes, number) for i in range(settings.n_null)]
    )
    found = {}
    for system in SYSTEMS:
        statistic = over_folds([fold.made[system] for fold in folds])
        value = statistic(values, codes, number)
        ends = study.jackknife(statistic, values, codes, number, seed=settings.seed, strata=cells)
        found[system] = value, ends
    better = "higher" if name in HIGHER else "lower"
    if better == "lower":  # a distance is 0 at least
        found = {s: (v, (max(0.0, low), high)) for s, (v, (low, high)) in found.items()}
    further: dict[str, Any] = {
        "chance": CHANCE.get(name, float(null.mean())), "null": float(null.mean()), "null_n": len(null),
        "n": len(values), "direction": better, "ceiling": found["oracle"][0], "ceiling_kind": "repeatability",
    }  # fmt: skip
    p = p_value(found["braindec"][0], null, "greater" if better == "higher" else "less")
    rows = [
        Score(
            name=name, system=s, value=v, interval=ends, p=p if s == "braindec" else None, **further, **common
        )
        for s, (v, ends) in found.items()
    ]
    ends = (float(null.min()), float(null.max()))
    return [
        *rows,
        Score(name=name, system="shuffled", value=float(null.mean()), interval=ends, **further, **common),
    ]


def _areas(folds: Sequence[Fold], subject: int, settings: Settings, common: Mapping[str, Any]) -> list[Score]:
    """Classifiers of one subject: taught by made epochs alone, and by few recorded ones with and without made ones."""
    held = [of_subject(fold.recording.test, subject) for fold in folds]
    positive = np.concatenate([h.codes[:, 2].numpy() == 1 for h in held])
    number = np.concatenate([np.full(len(h.values), i) for i, h in enumerate(held)])

    def area(taught: Sequence[Epochs]) -> tuple[np.ndarray, float, tuple[float, float]]:
        margin = np.concatenate(
            [
                _margins(of_subject(t, subject), h, fold.recording, settings.bin_s)
                for t, h, fold in zip(taught, held, folds, strict=True)
            ]
        )
        return margin, *auc_over_folds(margin, positive, number)

    rows = []
    wanted = {
        TAUGHT: ({s: [f.made[s] for f in folds] for s in SYSTEMS if s != "mean"}, [f.nulls for f in folds]),
        FEW: (
            {s: [f.augmented[s] for f in folds] for s in ("braindec", "contender", "scratch")},
            [f.few_nulls for f in folds],
        ),
    }
    best = area([fold.made["oracle"] for fold in folds])[1]
    for name, (systems, nulls) in wanted.items():
        null = np.array([area([each[i] for each in nulls])[1] for i in range(settings.n_null)])
        further: dict[str, Any] = {
            "chance": 0.5, "null": float(null.mean()), "null_n": len(null), "n": len(positive), "ceiling": best,
            "ceiling_kind": "repeatability",
        }  # fmt: skip
        areas = {system: area(taught) for system, taught in systems.items()}
        for system, (margin, value, ends) in areas.items():
            more: dict[str, Any] = {}
            if system == "braindec":
                more["p"] = p_value(value, null)
                rest = {
                    other: [round(v, 3) for v in _difference(margin, m, positive, number)]
                    for other, (m, _, _) in areas.items() if other != "braindec"
                }  # fmt: skip
                more["details"] = {"difference_from": rest}
            rows.append(
                Score(name=name, system=system, value=value, interval=ends, **further, **more, **common)
            )
        ends = (float(null.min()), float(null.max()))
        rows.append(
            Score(name=name, system="shuffled", value=float(null.mean()), interval=ends, **further, **common)
        )
    return rows


def _difference(
    one: np.ndarray, other: np.ndarray, positive: np.ndarray, number: np.ndarray
) -> tuple[float, float, float]:
    """How much larger one area is than another on the same trials, and its interval."""

    def statistic(a: Tensor, b: Tensor, kind: Tensor, fold: Tensor) -> float:
        areas = [auc_over_folds(m.numpy(), kind.numpy(), fold.numpy())[0] for m in (a, b)]
        return areas[0] - areas[1]

    rows = [torch.from_numpy(x) for x in (one, other, positive, number)]
    strata = 2 * rows[3].long() + rows[2].long()
    return statistic(*rows), *study.jackknife(statistic, *rows, strata=strata)


def _margins(taught: Epochs, held: Epochs, recording: Recording, bin_s: float) -> np.ndarray:
    """How much like the target class a discriminant of these epochs finds others, (n,)."""
    weights, threshold = measures.discriminant(_features(taught, recording, bin_s), taught.codes[:, 2] == 1)
    return (_features(held, recording, bin_s) @ weights - threshold).double().numpy()


def _features(epochs: Epochs, recording: Recording, bin_s: float) -> Tensor:
    """Means of consecutive samples of every channel, (n, n_channels * n_bins)."""
    size = max(1, round(bin_s * recording.sfreq))
    n = max(1, epochs.values.shape[2] // size)
    return epochs.values[:, :, : n * size].unflatten(2, (n, -1)).mean(3).flatten(1)


def _copies(folds: Sequence[Fold], subject: int, common: Mapping[str, Any]) -> list[Score]:
    """Chance that a made epoch lies nearer to a training epoch than a held-out recorded one does."""
    systems: dict[str, list[Epochs]] = {s: [f.made[s] for f in folds] for s in SYSTEMS}
    systems["shuffled"] = [fold.nulls[0] for fold in folds]
    found = {}
    for system, made in systems.items():
        near, is_made, number = [], [], []
        for i, fold in enumerate(folds):
            train = of_subject(fold.recording.train, subject).values
            scale = spread_of(train)
            both = of_subject(made[i], subject).values, of_subject(fold.recording.test, subject).values
            near.append(
                torch.cat([-measures.nearest(v / scale, train / scale) for v in both]).double().numpy()
            )
            is_made.append(np.repeat([True, False], [len(v) for v in both]))
            number.append(np.full(len(near[-1]), i))
        found[system] = auc_over_folds(*(np.concatenate(x) for x in (near, is_made, number)))
    n = sum(len(of_subject(fold.recording.test, subject).values) for fold in folds)
    further: dict[str, Any] = {
        "chance": 0.5,
        "null": found["shuffled"][0],
        "null_n": 1,
        "n": n,
        "direction": "lower",
    }
    return [
        Score(name=COPIED, system=s, value=value, interval=ends, **further, **common)
        for s, (value, ends) in found.items()
    ]


def _peaks(folds: Sequence[Fold], subject: int, settings: Settings) -> list[dict[str, Any]]:
    """Height and latency of every component, mean over sessions and folds: of held-out trials and of every system."""
    rows = []
    for component in settings.components:
        found: dict[str, list[tuple[float, float]]] = {}
        for fold in folds:
            channel = channel_of(fold.recording, component, subject)
            sets = {"held out": fold.recording.test, **fold.made, "shuffled": fold.nulls[0]}
            for name, epochs in sets.items():
                wave = _waves(of_subject(epochs, subject), component)[:, channel].mean(0, keepdim=True)
                height, latency = measures.peak(wave, fold.recording.times_s, component)
                found.setdefault(name, []).append((float(height), float(latency)))
        means = {name: np.mean(values, axis=0).tolist() for name, values in found.items()}
        channel = channel_of(folds[0].recording, component, subject)
        rows.append(
            {
                "subject": folds[0].recording.subjects[subject], "component": component.name,
                "channel": folds[0].recording.channel(channel),
                **{name: {"height": h, "latency_s": late} for name, (h, late) in means.items()},
            }
        )  # fmt: skip
    return rows
