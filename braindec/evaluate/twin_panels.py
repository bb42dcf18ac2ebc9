"""A twin as a report: what to expect, in sentences, a table, and how the score grows with the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindec import config
from braindec.data import NeuralDataset
from braindec.decoder import versions
from braindec.evaluate import twin_pretraining
from braindec.evaluate.twin_pretraining import Pretraining
from braindec.evaluate.twin_result import Expectation, TwinResult
from braindec.evaluate.twin_subject_panels import of_subjects, subject_panels
from braindec.evaluate.twin_subjects import Goal, needed_subjects
from braindec.types import Report

LIMITS = (
    "A copy's signal is what a linear encoding model on the recipe's own embeddings explains; its gain is what a plain "
    "ridge decoder gets on the recording. What both are blind to can honestly lift a score above the band.",
    "A leak that is in the responses themselves (features chosen with all labels, one run copied into another) is in "
    "the copies too: braindec audit looks for those.",
    "Larger data are the same design recorded again by the same person; new stimuli would help more.",
    "Needed subjects are of studies with people like those at hand. A few subjects know their own spread badly: that "
    "is in the numbers, but subjects who were lucky promise too small a study all the same.",
)


def report(
    found: TwinResult,
    recipe: Any,
    dataset: NeuralDataset,
    *,
    target: float | None = None,
    score: float | None = None,
    goal: Goal | None = None,
    known_before: Pretraining | None = None,
) -> Report:
    """The report of a twin; it has no scores of its own, because copies are not data.

    Parameters
    ----------
    found : TwinResult
    recipe : Recipe
    dataset : NeuralDataset
    target : float, optional
        Of the protocol's first metric: how many trials it needs is said.
    score : float, optional
        Of the same metric, judged elsewhere: whether it is possible is said.
    goal : Goal, optional
        Of the group's mean of the same metric: how many subjects it needs is said.
    known_before : Pretraining, optional
        How new subjects fare by the number of subjects that a decoder knows before.
    """
    first = found.expectations[0].metric
    said = [line for e in found.expectations for line in sentences(e)]
    for e in (e for e in found.expectations if e.metric == first):
        said += [*needed(e, target, dataset.trials[e.key].n_trials), *judged(e, score)]
    subjects = needed_subjects(found, first, goal)
    said += [line for group in subjects for line in of_subjects(group)]
    if known_before is not None:
        said += twin_pretraining.sentences(known_before, target)
    panels = [
        ("What to expect of this recording", "text", {"text": [f"- {line}" for line in said]}),
        ("Copies beside the recording", "table", _table(found)),
        *_curves(found),
        *subject_panels(subjects),
        *([] if known_before is None else twin_pretraining.panels(known_before)),
        *_histograms(found),
        ("What this does not show", "text", {"text": [f"- {line}" for line in LIMITS], "section": "limits"}),
    ]
    run = {
        "title": f"Twin of {dataset.name}", "summary": said[0], "said": said, "twin": found.to_json(), "target": target,
        "pretraining": None if known_before is None else known_before.to_json(),
        "needed_subjects": [group.to_json() for group in subjects],
        "dataset": dataset.identity(), "protocol": recipe.protocol, "seed": recipe.seed, "versions": versions(),
        "settings": config.to_json(found.settings),
    }  # fmt: skip
    return Report((), run, tuple(panels))


def sentences(e: Expectation) -> list[str]:
    """What a metric is expected to be, and what the recording's own value means beside it."""
    low, high = e.band
    meaning = {
        "inside": "as expected",
        "above": "more than stimuli can have told: suspect a leak (braindec audit)",
        "below": "less than a plain decoder of this signal reaches: look at the recipe",
    }[e.verdict]
    name = f"{e.metric.replace('_', ' ')}, {e.key.replace('_', ' ')}"
    return [
        f"{name}: expect {e.copies.mean():.3f}, band [{low:.3f}, {high:.3f}]; got {e.value:.3f}, {meaning}."
    ]


def needed(e: Expectation, target: float | None, n_trials: int) -> list[str]:
    """How many trials a target score needs."""
    if target is None:
        return []
    size = e.size_for(target)
    name = f"{e.metric.replace('_', ' ')} of {target:g}, {e.key.replace('_', ' ')}"
    if size is None:
        most = max(e.growth)
        return [f"{name}: not reached with {most:g} times the training trials (about {most * n_trials:.0f})."]
    if size <= min(e.growth):
        return [f"{name}: {size:g} of the training trials are enough."]
    return [f"{name}: about {size:.2g} times the training trials ({size * n_trials:.0f})."]


def judged(e: Expectation, score: float | None) -> list[str]:
    """Whether a score from elsewhere is possible."""
    if score is None:
        return []
    low, high = e.band
    where = "above" if score > high else "below" if score < low else "inside"
    return [f"{e.metric.replace('_', ' ')} of {score:g}, {e.key.replace('_', ' ')}: {where} the band."]


def _table(found: TwinResult) -> dict[str, Any]:
    rows = [
        [
            e.metric.replace("_", " "), e.key.replace("_", " "), f"{e.value:.3f}", f"{e.copies.mean():.3f}",
            f"[{e.band[0]:.3f}, {e.band[1]:.3f}]", e.verdict, str(len(e.copies)),
        ]
        for e in found.expectations
    ]  # fmt: skip
    columns = [
        "metric",
        "subject",
        "recording",
        "copies",
        f"{found.settings.level:.0%} band",
        "verdict",
        "n copies",
    ]
    caption = (
        "The band is where one more recording like this one would lie. Copies are calibrated by ridge on folds that "
        f"share no evidence: {found.honest_folds}."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def _curves(found: TwinResult) -> list[tuple[str, str, dict[str, Any]]]:
    out = []
    for e in found.expectations:
        sizes = sorted(e.growth)
        if len(sizes) > 1:
            means = np.array([e.growth[s].mean() for s in sizes])
            payload = {
                "step": np.array(sizes), "series": {"mean of copies": means}, "log": False, "section": "scores",
                "xlabel": "training trials over those there are", "ylabel": e.metric.replace("_", " "),
            }  # fmt: skip
            out.append(
                (
                    f"How the score grows, {e.metric.replace('_', ' ')}, {e.key.replace('_', ' ')}",
                    "curve",
                    payload,
                )
            )
    return out


def _histograms(found: TwinResult) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (
            f"The recording among its copies, {e.metric.replace('_', ' ')}, {e.key.replace('_', ' ')}",
            "histogram",
            {
                "null": e.copies, "value": e.value, "xlabel": e.metric.replace("_", " "), "section": "scores",
                "caption": "Bars are copies of the recording, not a null.",
            },
        )
        for e in found.expectations
    ]  # fmt: skip
