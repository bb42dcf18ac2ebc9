"""Panels of what was decoded trial by trial: classes confused, nulls, time courses, decoded pixels beside the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.evaluate.exam import row_labels
from braindec.evaluate.measures import class_scores
from braindec.evaluate.scoring import Judged
from braindec.evaluate.temporal_generalisation import TemporalGeneralisation
from braindec.evaluate.time_course import TimeCourse
from braindec.generators import Generator
from braindec.metrics.identification import correlations
from braindec.types import Embeddings

Panel = tuple[str, str, Mapping[str, Any]]


def confusion(judged: Judged, dataset: NeuralDataset, label_column: str) -> Panel:
    """Which class was decoded as which, over all held-out trials of all subjects."""
    labels = row_labels(judged.decoded, dataset, label_column)
    names = next(iter(judged.decoded.values())).candidates
    matrix = np.zeros((len(names), len(names)), dtype=int)
    for key, decoded in judged.decoded.items():
        found = labels[key]
        if found is None:
            raise ValueError("a confusion needs label_column, the column with each trial's class.")
        scores, true = class_scores(decoded, found)
        np.add.at(matrix, (true.numpy(), scores.argmax(1).numpy()), 1)
    right = f"{matrix.trace()} of {matrix.sum()} right"
    caption = f"Counts of held-out trials, {right}; no decoder saw the trial's own run."
    return (
        "Decoded against presented class",
        "confusion",
        {"matrix": matrix, "labels": list(names), "caption": caption},
    )


def nulls(judged: Judged, metric: str) -> list[Panel]:
    """Where each subject's score lies among those of refits with a permuted pairing."""
    return [
        (
            f"{judged.system} against its own null, {metric.replace('_', ' ')}, {key.replace('_', ' ')}",
            "histogram",
            {
                "null": drawn[metric],
                "value": judged.measured[key][metric].value,
                "xlabel": metric.replace("_", " "),
            },
        )
        for key, drawn in judged.null.items()
    ]


def over_time(course: TimeCourse) -> Panel:
    """The area under the ROC in windows after onset, beside what the null reaches anywhere."""
    before = course.values[course.baseline]
    said = f" Before onset it reaches {before.max():.3f} at most." if len(before) else ""
    payload = {
        "time_s": course.centre_s,
        "values": course.values,
        "interval": course.interval,
        "chance": 0.5,
        "null_limit": course.null_limit,
        "significant": course.p < 0.05,
        "baseline": (float(course.windows[0, 0]), 0.0),
        "ylabel": "ROC AUC",
        "caption": f"A ridge on each window of {np.ptp(course.windows[0]) * 1000:.0f} ms, placed at its middle. The "
        f"dotted line is what the largest of all {len(course.values)} windows, those before onset included, stays "
        f"below in 95 % of {len(course.null)} refits with classes permuted within runs.{said}",
    }
    return "When the classes can be told apart", "time_course", payload


def over_two_times(found: TemporalGeneralisation) -> Panel:
    """The area under the ROC for each time of training and time of testing, with what the null does not reach."""
    payload = {
        "time_s": found.centre_s,
        "values": found.values,
        "chance": 0.5,
        "significant": found.p < 0.05,
        "ylabel": "ROC AUC",
        "caption": f"A ridge on each window of {np.ptp(found.windows[0]) * 1000:.0f} ms, tried on every other one of "
        f"held-out trials. Inside the line, areas above {found.null_limit:.3f}: the largest of all {found.values.size} "
        f"pairs stays below in 95 % of {len(found.null)} refits with classes permuted within blocks. Before onset the "
        f"largest is {found.values[found.before].max(initial=0.0):.3f}.",
    }
    return "Whether what tells the classes apart stays the same", "time_by_time", payload


def decoded_pictures(
    judged: Judged,
    embeddings: Embeddings,
    generator: Generator,
    dataset: NeuralDataset,
    n_best: int = 6,
    n_worst: int = 6,
) -> Panel:
    """Presented pictures above what each was decoded as, best and worst by correlation of the embedding."""
    (decoded,) = judged.decoded.values()
    true = embeddings.of(decoded.ids)
    made = decoded.prediction.numpy() + (
        true.reshape(len(true), -1) - decoded.truth.numpy()
    )  # the fold's mean again
    fit = correlations(decoded.truth, decoded.prediction).diagonal().numpy()
    order = np.argsort(-fit, kind="stable")
    chosen = np.concatenate([order[:n_best], order[len(order) - n_worst :]])
    drawn = generator.generate(
        made[chosen].reshape(-1, *true.shape[1:]), generator=seeding.torch_generator(0, "picture")
    )
    payload = {
        "rows": {
            "presented": np.stack(list(dataset.stimuli.images([decoded.ids[i] for i in chosen]))),
            "reconstructed": drawn,
        },
        "captions": [f"r {fit[i]:.2f}" for i in chosen],
        "groups": [(f"best {n_best} of {len(order)}", n_best), (f"worst {n_worst}", n_worst)],
        "caption": "Each picture is the decoded embedding itself, of a decoder that never saw the stimulus; r is the "
        "correlation of its pixels with the presented ones, the training stimuli's mean removed from both.",
    }
    return "Presented and decoded", "image_grid", payload


def said(title: str, *paragraphs: str, section: str = "limits") -> Panel:
    """Words for the reader, in a section of the page."""
    return title, "text", {"text": list(paragraphs), "section": section}
