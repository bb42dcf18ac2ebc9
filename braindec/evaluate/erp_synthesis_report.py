"""The page of made epochs: ERPs, heads, spectra and single trials as recorded and as made, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from braindec import config
from braindec.evaluate import study
from braindec.evaluate.erp_synthesis_scores import COPIED, FEW, TAUGHT, Fold, channel_of, of_subject
from braindec.synthesis import Epochs, measures
from braindec.types import Report, Score, SensorSpace

if TYPE_CHECKING:
    from braindec.evaluate.erp_synthesis import Settings

WORDS = {
    "braindec": "diffusion",
    "contender": "Gaussian: means of conditions and covariance",
    "mean": "means of conditions, without noise",
    "oracle": "recorded training trials",
    "scratch": "few recorded trials alone",
    "shuffled": "diffusion fitted on shuffled classes",
}
MADE = {"recorded": "held out", "diffusion": "braindec", "Gaussian": "contender"}
LIMITS = (
    "Epochs are made for people, sessions and classes that were trained on: nothing is made of a new person. A "
    "classifier that is taught by made epochs learns nothing that the training trials did not hold. Errors that "
    "trials share (a drift, an artefact of one run) are made again as if they were the brain's. That made epochs lie "
    "no nearer to training epochs than others do is no proof of privacy."
)


def report(
    scores: Sequence[Score], found: Mapping[str, Any], folds: Sequence[Fold], settings: Settings
) -> Report:
    """Scores, sentences and panels."""
    panels = [
        *_erps(folds),
        *_heads(folds, settings),
        ("Peaks, as recorded and as made", "table", _table(found["peaks"], folds)),
        *_spectra(folds, settings),
        ("Largest values of single trials", "curve", _extremes(folds, settings)),
        ("How strongly conditions are followed", "curve", _guidance(folds, settings)),
    ]
    run = {
        "settings": config.to_json(settings),
        "guidance": {
            "chosen": [fold.guidance for fold in folds],
            "chosen_with_classes_shuffled": [list(fold.null_guidances) for fold in folds],
            "with_few_trials": 1.0,
            "tried": list(settings.guidances),
            "by_fold": [dict(fold.guided) for fold in folds],
        },
        "peaks": found["peaks"],
        "classes": list(folds[0].recording.classes),
        "words": {
            "systems": WORDS,
            "null": "classes shuffled within each subject's sessions among training trials; guidance chosen and "
            "everything fitted again",
        },
    }
    return study.report("Epochs made to order", _said(scores, found, folds), scores, panels, LIMITS, **run)


def _said(scores: Sequence[Score], found: Mapping[str, Any], folds: Sequence[Fold]) -> list[str]:
    def mean(name: str, system: str = "braindec") -> float:
        return float(np.mean([s.value for s in scores if s.name == name and s.system == system]))

    def gain(other: str) -> str:
        parts = [
            s.details["difference_from"][other] for s in scores if s.name == FEW and s.system == "braindec"
        ]
        return ", ".join(f"{value:+.3f} [{low:.3f}, {high:.3f}]" for value, low, high in parts)

    n = sum(s.n for s in scores if s.name == TAUGHT and s.system == "braindec")
    peaks = [
        f"{row['component']} of subject {row['subject']} at {row['channel']}: held out "
        f"{1e3 * row['held out']['latency_s']:.0f} ms, made {1e3 * row['braindec']['latency_s']:.0f} ms"
        for row in found["peaks"]
    ]
    return [
        f"A classifier that met made epochs alone tells {' and '.join(folds[0].recording.classes)} of held-out trials "
        f"apart with an area of {mean(TAUGHT):.3f} (n {n}, chance 0.5, classes shuffled "
        f"{mean(TAUGHT, 'shuffled'):.3f}), taught by recorded trials {mean(TAUGHT, 'oracle'):.3f}, by a Gaussian's "
        f"{mean(TAUGHT, 'contender'):.3f}.",
        f"Where it has few recorded trials: {mean(FEW, 'scratch'):.3f} alone, {mean(FEW):.3f} with made ones beside "
        f"them (by subject {gain('scratch')}), {mean(FEW, 'contender'):.3f} with a Gaussian's.",
        f"ERPs of single conditions correlate with held-out ones with r {mean('erp_correlation'):.3f} (training ERPs "
        f"{mean('erp_correlation', 'oracle'):.3f}, shuffled {mean('erp_correlation', 'shuffled'):.3f}), differences of "
        f"classes with r {mean('difference_correlation'):.3f} ({mean('difference_correlation', 'oracle'):.3f}, "
        f"{mean('difference_correlation', 'shuffled'):.3f}).",
        f"Trial-to-trial covariances lie {mean('covariance_distance'):.2f} of the recorded ones apart (training trials "
        f"{mean('covariance_distance', 'oracle'):.2f}, Gaussian {mean('covariance_distance', 'contender'):.2f}, ERPs "
        f"without noise {mean('covariance_distance', 'mean'):.2f}), distributions "
        f"{mean('sliced_wasserstein'):.3f} (training {mean('sliced_wasserstein', 'oracle'):.3f}, Gaussian "
        f"{mean('sliced_wasserstein', 'contender'):.3f}).",
        f"A made epoch lies nearer to a training epoch than a held-out one does with a chance of {mean(COPIED):.3f} "
        f"(0.5: as near; a Gaussian's {mean(COPIED, 'contender'):.3f}; copies 1).",
        "; ".join(peaks) + ".",
        f"Guidance {', '.join(f'{fold.guidance:g}' for fold in folds)}, the least that teaches a classifier as well "
        "as any, on each subject's last training unit; 1 where there are few trials.",
    ]


def _pooled(folds: Sequence[Fold], name: str, subject: int) -> Epochs:
    """Epochs of one subject over all folds: held out, or of a system."""
    sets = [of_subject(f.recording.test if name == "held out" else f.made[name], subject) for f in folds]
    return Epochs(torch.cat([s.values for s in sets]), torch.cat([s.codes for s in sets]))


def _erps(folds: Sequence[Fold]) -> list[study.Panel]:
    """Both classes as recorded and as made, where the first training trials say that they differ most."""
    recording, panels = folds[0].recording, []
    for subject, number in enumerate(recording.subjects):
        own = of_subject(recording.train, subject)
        apart = own.values[own.codes[:, 2] == 1].mean(0) - own.values[own.codes[:, 2] == 0].mean(0)
        channel = int(apart.square().mean(1).argmax())
        series, bands = {}, {}
        for label, name in (("recorded", "held out"), ("made", "braindec")):
            epochs = _pooled(folds, name, subject)
            for kind in (1, 0):
                rows = epochs.values[epochs.codes[:, 2] == kind, channel].double()
                mean, error = rows.mean(0), rows.std(0) / np.sqrt(len(rows))
                words = f"{recording.classes[kind]}, {label}"
                series[words] = mean.numpy()
                bands[words] = torch.stack([mean - 1.96 * error, mean + 1.96 * error], 1).numpy()
        payload = {
            "time_s": recording.times_s.double().numpy(), "series": series, "intervals": bands,
            "ylabel": f"{recording.unit} at {recording.channel(channel)}",
            "caption": "Means over sessions with 95 % bands of trials; more epochs are made than were recorded.",
        }  # fmt: skip
        panels.append((f"ERPs of subject {number}", "rsa_time_course", payload))
    return panels


def _heads(folds: Sequence[Fold], settings: Settings) -> list[study.Panel]:
    """Difference of the classes over the head when the first component peaks in training."""
    recording = folds[0].recording
    space = recording.space
    if not isinstance(space, SensorSpace) or not np.isfinite(space.positions).all() or len(space.names) < 4:
        return []
    component = settings.components[0]
    maps, titles, times = [], [], []
    for subject, number in enumerate(recording.subjects):
        own = of_subject(recording.train, subject)
        channel = channel_of(recording, component, subject)
        _, late = measures.peak(_apart(own)[channel][None], recording.times_s, component)
        at = int((recording.times_s - late).abs().argmin())
        for label, name in MADE.items():
            maps.append(_apart(_pooled(folds, name, subject))[:, at].double().numpy())
            titles.append(f"{number} {label}")
        times.append(f"{1e3 * float(recording.times_s[at]):.0f} ms of subject {number}")
    payload = {
        "positions": space.positions, "values": np.stack(maps), "titles": titles, "symmetric": True,
        "label": recording.unit,
        "caption": f"{recording.classes[1]} less {recording.classes[0]}, at {', '.join(times)}.",
    }  # fmt: skip
    return [("Difference of the classes over the head", "topography", payload)]


def _apart(epochs: Epochs) -> Tensor:
    """Target less the other class, (n_channels, n_times)."""
    one, other = (epochs.values[epochs.codes[:, 2] == kind].mean(0) for kind in (1, 0))
    return one - other


def _table(peaks: Sequence[Mapping[str, Any]], folds: Sequence[Fold]) -> dict[str, Any]:
    shown = {**MADE, "training": "oracle", "shuffled": "shuffled"}
    heads = [f"{label}: ms, {folds[0].recording.unit}" for label in shown]
    rows = [
        [
            row["subject"], row["component"], row["channel"],
            *(f"{1e3 * row[name]['latency_s']:.0f}, {row[name]['height']:+.1f}" for name in shown.values()),
        ]
        for row in peaks
    ]  # fmt: skip
    return {
        "columns": ["subject", "component", "channel", *heads],
        "rows": rows,
        "caption": "Latency and height, at the channel where training trials have the component largest.",
    }


def _spectra(folds: Sequence[Fold], settings: Settings) -> list[study.Panel]:
    recording, panels = folds[0].recording, []
    low, high = settings.band_hz
    for subject, number in enumerate(recording.subjects):
        series, floor = {}, 0.0
        for label, name in {**MADE, "without noise": "mean"}.items():
            power, hz = measures.spectra(_pooled(folds, name, subject).values.double(), recording.sfreq)
            floor = floor or measures.FLAT * float(power.max())  # of the recorded ones, whatever their unit
            kept = (hz >= low) & (hz <= high)
            series[label] = 10 * power[:, kept].mean(0).clamp_min(floor).log10().numpy()
        payload = study.lines(
            hz[kept].numpy(), series, "frequency (Hz)", f"power (dB, {recording.unit}²/Hz)",
            "Of single trials, mean over channels.", "brain",
        )  # fmt: skip
        panels.append((f"Spectra of subject {number}", "curve", payload))
    return panels


def _extremes(folds: Sequence[Fold], settings: Settings) -> dict[str, Any]:
    """Quantiles of the largest absolute value of a trial: artefacts are rare and large, which a Gaussian has not."""
    at = np.linspace(0.02, 0.98, 25)
    series = {}
    for label, name in MADE.items():
        all_ = torch.cat([_pooled(folds, name, s).values for s in range(len(folds[0].recording.subjects))])
        series[label] = np.quantile(all_.abs().amax((1, 2)).numpy(), at)
    return study.lines(
        100 * at, series, "percent of trials below", f"largest value ({folds[0].recording.unit})",
        "Rare and large values, as blinks make them, are no Gaussian's.", "brain",
    )  # fmt: skip


def _guidance(folds: Sequence[Fold], settings: Settings) -> dict[str, Any]:
    labels = {
        "erp_error": "error of ERPs",
        "sliced_wasserstein": "Wasserstein distance",
        "auc": "area of a classifier",
    }
    series = {}
    for name, label in labels.items():
        values = np.mean([fold.guided[name] for fold in folds], axis=0)
        series[label] = values if name == "auc" else values / values.min()
    return study.lines(
        settings.guidances, series, "guidance", "on the last training unit",
        "0: conditions are not looked at; 1: as learnt; above: exaggerated. Errors and distances are in units of their "
        "least; the classifier is taught by made epochs. Mean over folds.", "controls",
    )  # fmt: skip
