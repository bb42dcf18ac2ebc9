"""Decoders that answer through held-out runs as if these were happening, person by person, beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braindec import checks, config
from braindec.data import NeuralDataset, continuous
from braindec.data.causal import CausalFilter
from braindec.decoder import versions
from braindec.evaluate.audit import audited_split
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.online import Online, WindowFitter, compared, pseudo_online
from braindec.evaluate.online_decoders import ChosenFeatures, FeatureAnswer, always_idle
from braindec.evaluate.scoring import group_scores
from braindec.types import Recording, Score, SensorSpace

Panel = tuple[str, str, Mapping[str, Any]]
OURS, MEAN, SHUFFLED = "braindec", "mean", "shuffled"
ALL = 1_000_000  # features: more than there are


@dataclass(frozen=True, eq=False)
class Studied:
    """What came of it.

    Parameters
    ----------
    scores : tuple of Score
    online : dict of str to dict of str to Online
        By subject's key, then system.
    comparisons : tuple of dict
        Rows of `panels.comparisons`.
    record : dict
        For the report's record of the run.
    """

    scores: tuple[Score, ...]
    online: dict[str, dict[str, Online]]
    comparisons: tuple[dict[str, Any], ...]
    record: dict[str, Any]


def online_study(
    recipe: Any,
    dataset: NeuralDataset,
    decoders: Mapping[str, WindowFitter],
    *,
    band_hz: Sequence[float | None],
    event_s: float | None = None,
) -> Studied:
    """Fits decoders on the training runs of each subject and lets them answer through the others.

    Parameters
    ----------
    recipe : Recipe
        Its protocol, seed, and `plan.n_null` refits of the first decoder.
    dataset : NeuralDataset
        Of whole runs (`data.continuous`), with the split in use.
    decoders : mapping of str to WindowFitter
        By system, ``"braindec"`` and what it is compared with. Beside them answer the first one fitted to shuffled
        classes, and one that always says idle. What the first one's answer says it has `chosen` is recorded.
    band_hz : (low, high)
        Of a filter that looks back only (`data.causal`), run over each whole run; None leaves a side open.
    event_s : float, optional
        How long events last; None: as recorded.

    Raises
    ------
    ConfigError
        If the dataset has no split, or holds windows around events.
    LeakageError
        If training and test share what the split's unit names, or responses.
    """
    checks.one_of("first decoder", next(iter(decoders)), (OURS,))
    if dataset.split is None:
        raise checks.ConfigError(
            "the dataset has no split of runs or sessions; give it one with with_split(...)."
        )
    train, test = dataset.part("train"), dataset.part("test")
    audited_split(dataset)
    low, high = band_hz
    online: dict[str, dict[str, Online]] = {}
    for key in sorted(test.trials):
        shown, asked = (
            [_filtered(run, low, high) for run in continuous.runs(part.trials[key], duration_s=event_s)]
            for part in (train, test)
        )
        online[key] = _answered(recipe, decoders, shown, asked)
    scores = [s for of in online.values() for one in of.values() for s in one.scores]
    rows = tuple(
        {"a": OURS, "b": name, "key": key} | compared(of[OURS], of[name])
        for key, of in online.items()
        for name in (*list(decoders)[1:], SHUFFLED)
    )
    record = {
        "protocol": config.to_json(protocol_named(recipe.protocol)), "dataset": dataset.identity(),
        "split": dataset.split.name, "seed": recipe.seed, "versions": versions(), "band_hz": [low, high],
        "classes": list(next(iter(online.values()))[OURS].classes),
        "chosen": {key: getattr(of[OURS].answer, "chosen", {}) for key, of in online.items()},
    }  # fmt: skip
    return Studied((*scores, *group_scores(scores)), online, rows, record)


def _filtered(run: Recording, low: float | None, high: float | None) -> Recording:
    return replace(run, signal=CausalFilter(run.sfreq, low, high)(run.signal).astype(np.float32))


def _answered(
    recipe: Any, decoders: Mapping[str, WindowFitter], train: Sequence[Recording], test: Sequence[Recording]
) -> dict[str, Online]:
    """Every system's answers through the same runs of one subject; the shuffled one has the first one's null."""
    told: dict[str, Any] = {"protocol": recipe.protocol, "seed": recipe.seed}
    n_null = {OURS: recipe.plan.n_null}
    found = {
        name: pseudo_online(fit, train, test, system=name, n_null=n_null.get(name, 0), **told)
        for name, fit in ({**decoders, MEAN: always_idle}).items()
    }
    twin = pseudo_online(decoders[OURS], train, test, system=SHUFFLED, shuffle=True, **told)
    null = found[OURS].scores[0].null
    scores = (replace(twin.scores[0], null=null), *twin.scores[1:])
    return found | {SHUFFLED: replace(twin, scores=scores)}


def confusions(found: Studied) -> list[Panel]:
    """Which class was answered in windows of which, a matrix a subject."""
    made: list[Panel] = []
    for key, of in found.online.items():
        classes, table = of[OURS].classes, of[OURS].answers
        number = {name: i for i, name in enumerate(classes)}
        matrix = np.zeros((len(classes), len(classes)), dtype=int)
        places = [[number[n] for n in table[column].tolist()] for column in ("true", "answered")]
        np.add.at(matrix, tuple(places), 1)
        caption = (
            f"Windows of runs that no decoder saw, each answered alone: {matrix.trace()} of {matrix.sum()} right. They "
            "overlap, and are no trials of their own."
        )
        payload = {"matrix": matrix, "labels": list(classes), "caption": caption}
        made.append((f"Answered against true class, {key.replace('_', ' ')}", "confusion", payload))
    return made


def rate_of(dataset: NeuralDataset) -> float:
    """Hz of the runs of all subjects.

    Raises
    ------
    ConfigError
        If they differ.
    """
    rates = sorted({float(t.sfreq or 0.0) for t in dataset.trials.values()})
    if len(rates) != 1:
        raise checks.ConfigError(
            f"subjects were recorded at {rates} Hz; choose some of one rate: data.subjects."
        )
    return rates[0]


def kept(found: Studied, dataset: NeuralDataset, features: ChosenFeatures) -> Panel:
    """Which features each subject's training runs chose."""
    rows = []
    for key, of in found.online.items():
        answer = checks.of_type("answer", of[OURS].answer, FeatureAnswer)
        names = features.names(checks.of_type("space", dataset.trials[key].space, SensorSpace).names)
        rows += [[key.replace("_", " "), names[i]] for i in answer.kept.tolist()]
    caption = "Chosen on training runs alone, by how much of a feature's variance classes explain."
    return (
        "Features that were kept",
        "table",
        {"columns": ["subject", "feature"], "rows": rows, "caption": caption},
    )


def reactions(found: Studied) -> Panel:
    """How many events each decoder noticed, how late, how often it spoke when idle, and how long an answer took."""
    rows = []
    for key, of in found.online.items():
        for name, one in of.items():
            told, idle = one.scores[0].details, one.answers["true"] == one.classes[0]
            late = told["detection_latency_s"]
            rows.append([
                key.replace("_", " "), name, told["events detected"], "-" if late is None else f"{late:.2f}",
                f"{float((one.answers['answered'][idle] != one.classes[0]).mean()):.2f}",
                f"{told['ms to compute an answer']:.1f}",
            ])  # fmt: skip
    columns = [
        "subject",
        "system",
        "events noticed",
        "s until then",
        "idle windows taken for events",
        "ms an answer",
    ]
    caption = (
        "Noticed: a window within the event was answered with its class, which guessing does too, the more often the "
        "less it is idle."
    )
    return "Events noticed", "table", {"columns": columns, "rows": rows, "caption": caption}
