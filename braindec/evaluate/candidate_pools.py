"""The same decoded trials identified among other candidates: fewer of them, those of one class, those of all folds."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch

from braindec import checks
from braindec.evaluate.decoded import Decoded
from braindec.evaluate.measures import Measured, class_scores, measure, metric_table, units_of
from braindec.maths.nearest import ranks_in
from braindec.protocols import Protocol
from braindec.stats.pools import expected_hits
from braindec.stats.scoring import summarise

OF_PROTOCOL, OF_CLASS, ALL_FOLDS, IN_POOLS = "of the protocol", "of its class", "of all folds", "pools of N"
OPTIONS = (OF_PROTOCOL, OF_CLASS, ALL_FOLDS, IN_POOLS)
WITHIN_CLASS = {"pairwise_identification": "pairwise_identification_within_class"}
TOP = {
    "category_accuracy": 1,
    "image_retrieval_top1": 1,
    "image_retrieval_top5": 5,
}  # hits among the k nearest


def means(option: str, metric: str) -> bool:
    """Whether an option is another way to measure this metric; an option that there is not is refused."""
    if _size(option) is not None:
        return metric in TOP
    checks.one_of("candidates", option, OPTIONS[:-1])
    return {OF_CLASS: metric in WITHIN_CLASS, ALL_FOLDS: metric == "roc_auc"}.get(option, True)


def measured_among(
    option: str,
    metric: str,
    decoded: Decoded,
    protocol: Protocol,
    labels: np.ndarray | None,
    generator: np.random.Generator,
) -> Measured:
    """A metric of trials that are decoded already, among the candidates of an option.

    Parameters
    ----------
    option : str
        ``"of the protocol"``; ``"of its class"``: distractors of the item's own class; ``"of all folds"``: trials of
        all folds are ranked together; ``"pools of 50"``: the exact expectation over all such pools that hold the truth.
    metric : str
        One of the protocol's.
    labels : text array, shape (n,), or None
        Class of each row.
    generator : numpy Generator
        Resamples units for intervals.
    """
    if not means(option, metric):
        raise checks.ConfigError(
            f"candidates {option!r} mean nothing for {metric!r}: {OF_CLASS!r} is for {sorted(WITHIN_CLASS)}, "
            f"{ALL_FOLDS!r} for ['roc_auc'], {IN_POOLS!r} for {sorted(TOP)}."
        )
    if (size := _size(option)) is not None:
        return _in_pools(size, metric, decoded, labels, generator)
    name = WITHIN_CLASS[metric] if option == OF_CLASS else metric
    if option == ALL_FOLDS:
        decoded = replace(decoded, fold=torch.zeros_like(decoded.fold))
    return measure(decoded, protocol, labels, generator, (name,))[name]


def _size(option: str) -> int | None:
    found = re.fullmatch(r"pools of (\d+)", option)
    return int(found[1]) if found else None


def _in_pools(
    size: int, metric: str, decoded: Decoded, labels: np.ndarray | None, generator: np.random.Generator
) -> Measured:
    n, k = len(decoded.candidates), TOP[metric]
    checks.in_range("size of a pool", size, k + 1, n)
    if metric == "category_accuracy":
        if labels is None:
            raise ValueError("this metric compares classes; name the column that holds them (label_column).")
        similarity, truth = class_scores(decoded, labels)
    else:
        row = {name: i for i, name in enumerate(decoded.candidates)}
        similarity, truth = decoded.similarity, torch.tensor([row[i] for i in decoded.ids])
    hits = expected_hits(k, *ranks_in(similarity, truth), n, size)
    units = units_of(metric_table()[metric], decoded)
    found = summarise(hits, k / size, generator=generator, kind="proportion", units=units)
    interval = (float(found.interval.low), float(found.interval.high))
    return Measured(metric, found.value, interval, k / size, found.n, "higher", hits)
