"""Metrics of decoded trials, each with its interval and chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, registry
from braindec.evaluate.decoded import BRAIN_RETRIEVAL, Decoded
from braindec.maths import nearest
from braindec.metrics import Metric, item_means
from braindec.metrics.collapse import collapse, unstructured_share
from braindec.protocols import MINIATURE, Protocol
from braindec.stats.auc import area_interval, roc_auc
from braindec.stats.identification import identify
from braindec.stats.scoring import summarise

# What is told beside every retrieval, so that galleries of all sizes share one axis, and how many entries that takes.
POOL_FREE, POOL_FREE_GALLERY = ("bits_per_trial", "top1_of_10000_predicted"), 20
COLLAPSE = "unique_nearest_share"  # beside every retrieval: do predictions vary as truths do?
MIN_ISOLATION = 0.75  # of a gallery's embeddings: independent draws have 0.95, pairs of look-alikes 0.5


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one subject's decoded trials: value, 95 % interval, chance, units, and a value a sample.

    `details` are what else is told beside it: JSON values.
    """

    name: str
    value: float
    interval: tuple[float, float]
    chance: float
    n: int
    direction: str
    per_sample: np.ndarray
    details: Mapping[str, Any] = field(default_factory=dict)


@cache
def metric_table() -> Mapping[str, Metric]:
    """Every metric of every member, by name."""
    return MappingProxyType(registry.tables("metrics", "METRICS"))


@cache
def protocol_table() -> Mapping[str, Protocol]:
    """Every protocol of every member, by name."""
    return MappingProxyType(registry.tables("protocols", "PROTOCOLS"))


def protocol_named(name: str) -> Protocol:
    """The protocol of this name, with ``_miniature`` after it that of its miniature; an unknown name is refused."""
    if name.endswith(MINIATURE):
        return checks.known_key("protocol", name.removesuffix(MINIATURE), protocol_table()).miniature()
    return checks.known_key("protocol", name, protocol_table())


def measure(
    decoded: Decoded, protocol: Protocol, labels: np.ndarray | None, generator: np.random.Generator,
    only: Sequence[str] | None = None,
) -> dict[str, Measured]:  # fmt: skip
    """All metrics of a protocol, or only some of them.

    Parameters
    ----------
    labels : text array, shape (n,), or None
        Class of each row, where the protocol compares classes.
    generator : numpy Generator
        Resamples units for intervals.
    only : sequence of str, optional
        Of the protocol's metrics, those that are asked for.
    """
    names = metrics_of(protocol, decoded) if only is None else only
    found = {name: _measure(_known_metric(name, protocol), decoded, labels, generator) for name in names}
    if COLLAPSE in found:
        told = collapse(decoded.prediction, decoded.truth)
        ranks = {"predictions": told.rank_predicted, "truths": told.rank_target}
        found[COLLAPSE] = replace(found[COLLAPSE], details={"effective rank": ranks})
    return found


def values(
    decoded: Decoded, protocol: Protocol, labels: np.ndarray | None, only: Sequence[str] | None = None
) -> dict[str, float]:
    """The bare values of a protocol's metrics, for nulls; `only` as in `measure`."""
    names = metrics_of(protocol, decoded) if only is None else only
    return {name: _value(_known_metric(name, protocol), decoded, labels) for name in names}


def _known_metric(name: str, protocol: Protocol) -> Metric:
    return checks.known_key(f"metric of protocol {protocol.name!r}", name, metric_table())


def metrics_of(protocol: Protocol, decoded: Decoded) -> tuple[str, ...]:
    """A protocol's metrics, and beside retrieval among enough candidates the two that know no gallery's size.

    So does how many truths the predictions point at. What was published stands alone: its variants keep their own
    numbers only. A gallery of look-alikes gets none of the two: they take other pictures for draws from one pool,
    which a picture's twin is not.
    """
    retrieves = any(name.startswith("image_retrieval") for name in protocol.metrics)
    enough = len(decoded.candidates) >= POOL_FREE_GALLERY and len(set(decoded.ids)) >= POOL_FREE_GALLERY
    if not retrieves or not enough or protocol.published_by is not None:
        return protocol.metrics
    first = np.unique(decoded.ids, return_index=True)[1]
    exchangeable = nearest.isolation(decoded.truth[torch.from_numpy(first)]) >= MIN_ISOLATION
    return protocol.metrics + (POOL_FREE if exchangeable else ()) + (COLLAPSE,)


def units_of(metric: Metric, decoded: Decoded) -> np.ndarray | None:
    """What was sampled independently, shape (n,): the stimulus where rows repeat it; None where each row is its own.

    Rows that are judged by their class count one by one.
    """
    if metric.needs == "labels" or len(set(decoded.ids)) == len(decoded.ids):
        return None
    return np.array(decoded.ids)


def _value(metric: Metric, decoded: Decoded, labels: np.ndarray | None) -> float:
    """The number that `_measure` gives: of pairwise metrics the share of all pairs, not the mean of items' shares."""
    if metric.pairwise:
        return identification_interval(_wins(metric, decoded, labels), units_of(metric, decoded))[0]
    return float(_per_sample(metric, decoded, labels).mean())


def _measure(
    metric: Metric, decoded: Decoded, labels: np.ndarray | None, generator: np.random.Generator
) -> Measured:
    per_sample = _per_sample(metric, decoded, labels).numpy()
    chance = metric.chance_of(len(decoded.candidates))
    if metric.name == COLLAPSE:
        chance = unstructured_share(len(decoded.ids))
    if chance is None:
        raise ValueError(f"metric {metric.name!r} has no theoretical chance; it belongs to pictures.")
    if metric.pairwise:
        wins = _wins(metric, decoded, labels)
        value, interval, n = identification_interval(wins, units_of(metric, decoded))
        return Measured(metric.name, value, interval, chance, n, metric.direction, per_sample)
    if metric.name == "roc_auc":
        scores, classes = class_scores(decoded, _known(labels))
        margin = (scores[:, 1] - scores[:, 0]).numpy()
        positive, fold = classes.numpy() == 1, decoded.fold.numpy()
        value, interval = auc_over_folds(margin, positive, fold)
        per_sample = _pseudo_values(per_sample, positive, fold)
        return Measured(metric.name, value, interval, chance, len(margin), metric.direction, per_sample)
    units = units_of(metric, decoded)
    kind = "proportion" if is_share(metric) else "mean"
    found = summarise(per_sample, chance, generator=generator, kind=kind, units=units)
    spread = found.interval
    if metric.interval is not None:
        spread = metric.interval(*_inputs(metric, decoded, labels), generator=generator)
    interval = (float(spread.low), float(spread.high))
    return Measured(metric.name, found.value, interval, chance, found.n, metric.direction, per_sample)


def identification_interval(
    wins: Tensor, units: np.ndarray | None = None
) -> tuple[float, tuple[float, float], int]:
    """(value, interval, n items) of a win matrix, items (or units) resampled with weights w_i w_j, no self pairs."""
    table = (
        1 - wins.T.numpy()
    )  # as a similarity of truths (rows) to predictions (columns): a lost pair lies above 0.5
    np.fill_diagonal(table, 0.5)
    pairs = ~np.isnan(table)
    found = identify(np.nan_to_num(table, nan=0.5), pairs=pairs, units=units)
    return found.value, (float(found.interval.low), float(found.interval.high)), found.n


def _wins(metric: Metric, decoded: Decoded, labels: np.ndarray | None) -> Tensor:
    """Wins (item, distractor) of a pairwise metric; a trial of the same stimulus is no distractor."""
    wins = metric.compute(*_inputs(metric, decoded, labels), **_options(metric, decoded, labels))
    number = torch.from_numpy(np.unique(decoded.ids, return_inverse=True)[1])
    return wins.masked_fill(number[:, None] == number[None], torch.nan)


def _per_sample(metric: Metric, decoded: Decoded, labels: np.ndarray | None) -> Tensor:
    if metric.pairwise:
        return item_means(_wins(metric, decoded, labels))
    found = metric.per_sample(*_inputs(metric, decoded, labels), **_options(metric, decoded, labels))
    return metric.sound(found, share=is_share(metric))


def is_share(metric: Metric) -> bool:
    """Whether its values lie in [0, 1], so that their mean is a rate: what has no largest value is none."""
    return math.isfinite(metric.best_value)


def _inputs(metric: Metric, decoded: Decoded, labels: np.ndarray | None) -> tuple[Tensor, ...]:
    if metric.needs == "similarity":
        row = {i: n for n, i in enumerate(decoded.candidates)}
        by_image = decoded.brain_similarity if metric.name.startswith(BRAIN_RETRIEVAL) else None
        return decoded.similarity if by_image is None else by_image, torch.tensor(
            [row[i] for i in decoded.ids]
        )
    if metric.needs == "vectors":
        return decoded.truth, decoded.prediction
    if metric.needs == "labels":
        scores, classes = class_scores(decoded, _known(labels))
        if metric.name == "roc_auc" and scores.shape[1] != 2:
            raise ValueError(f"roc_auc tells two classes apart, got {list(decoded.candidates)}.")
        return (scores[:, 1] - scores[:, 0] if metric.name == "roc_auc" else scores), classes
    raise ValueError(f"metric {metric.name!r} needs {metric.needs}, which predictions alone do not give.")


def _options(metric: Metric, decoded: Decoded, labels: np.ndarray | None) -> dict[str, Tensor]:
    options: dict[str, Tensor] = {}
    if metric.needs == "vectors" or metric.name == "roc_auc":
        options["groups"] = decoded.fold
    if metric.name.endswith("within_class"):
        options["labels"] = torch.from_numpy(np.unique(_known(labels), return_inverse=True)[1])
    return options


def class_scores(decoded: Decoded, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """(similarity of each row to every class (n, n_classes), class number of each row (n,)), classes as candidates."""
    row = {name: i for i, name in enumerate(decoded.candidates)}
    return decoded.similarity, torch.tensor(
        [checks.known_key("class", label, row) for label in labels.tolist()]
    )


def auc_over_folds(
    margin: np.ndarray, positive: np.ndarray, fold: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """Area under the ROC and its interval: folds' areas and DeLong errors combined, weighted by their trials.

    Parameters
    ----------
    margin : float array, shape (n,)
        Higher means positive; compared within folds only.
    positive : bool array, shape (n,)
    fold : int array, shape (n,)
    """
    found = [roc_auc(margin[fold == f], positive[fold == f]) for f in np.unique(fold)]
    share = np.array([(fold == f).mean() for f in np.unique(fold)])
    value = float((share * np.array([a.value for a in found])).sum())
    error = float(np.sqrt((share**2 * np.square([a.error for a in found])).sum()))
    interval = area_interval(value, error, len(margin), [a.sizes for a in found], share.tolist())
    return value, (float(interval.low), float(interval.high))


def _pseudo_values(placements: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Values a trial whose mean is the area and whose spread is DeLong's error, as paired differences need.

    A placement's distance from its fold's area counts n / n_class times: its class, not all trials, is its sample.
    """
    out = np.empty(len(placements))
    for f in np.unique(fold):
        rows = fold == f
        area = placements[rows].mean()
        for side in (positive, ~positive):
            out[rows & side] = area + (placements[rows & side] - area) * rows.sum() / (rows & side).sum()
    return out


def _known(labels: np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise ValueError("this protocol compares classes; name the column that holds them (label_column).")
    return labels
