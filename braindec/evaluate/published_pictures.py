"""What papers did otherwise with pictures, computed from the same reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from braindec import seeding
from braindec.evaluate.measures import Measured, identification_interval, metric_table
from braindec.evaluate.pictures import inputs_of, measured_pictures, metrics_here, shown_as
from braindec.evaluate.published import FROM_PICTURES, Published, variants
from braindec.maths.correlation import standardise
from braindec.metrics import Metric
from braindec.protocols import Protocol

Pictures = Mapping[str, np.ndarray]


def published_pictures(
    protocol: Protocol, presented: Pictures, decoded: Pictures, low_level: Pictures | None = None
) -> Published:
    """The numbers that papers would have printed for these reconstructions, by as-published protocol, key and metric.

    Parameters
    ----------
    protocol : Protocol
        The corrected one.
    presented, decoded : mapping of signal key to uint8 array, shape (n, height, width, 3)
    low_level : mapping of signal key to uint8 array, shape (n, height, width, 3), optional
        Decoded low-level pictures, which some papers mix in; without them that departure is only said.
    """
    found: dict[str, dict[str, dict[str, Measured]]] = {}
    for variant in variants(protocol):
        if not metrics_here(variant):
            continue
        found[variant.name] = {
            key: _measured(
                variant, presented[key], decoded[key], None if low_level is None else low_level[key]
            )
            for key in presented
        }
    return found


def _measured(
    variant: Protocol, presented: np.ndarray, decoded: np.ndarray, low_level: np.ndarray | None
) -> dict[str, Measured]:
    shown, made = (shown_as(p, variant.pictures) for p in (presented, decoded))
    computed = [*FROM_PICTURES]
    if variant.follows("low_level_blend") and low_level is not None:
        computed.append("low_level_blend")
        made = blended(made, shown_as(low_level, variant.pictures), variant.pictures.low_level_share)
    out = {}
    for name in metrics_here(variant):
        metric = metric_table()[name]
        true, seen = inputs_of(metric, shown), inputs_of(metric, made)
        generator = seeding.numpy_generator(variant.seed or 0, "as published", name)
        ours = measured_pictures(metric, true, seen, generator)
        found = _two_way(variant, metric, true, seen, ours) if metric.pairwise else ours
        out[name] = replace(found, details={"computed": computed})
    return out


def blended(decoded: np.ndarray, low_level: np.ndarray, share: float) -> np.ndarray:
    """`share` of the low-level picture and the rest of the other, both uint8 (n, height, width, 3)."""
    mixed = (1 - share) * decoded.astype(np.float64) + share * low_level.astype(np.float64)
    return np.clip(mixed.round(), 0, 255).astype(np.uint8)


def _two_way(variant: Protocol, metric: Metric, true: Tensor, made: Tensor, ours: Measured) -> Measured:
    if variant.follows("one_distractor"):
        won = one_distractor_wins(true, made, variant.seed or 0)
        error = 1.96 * float(won.std() / np.sqrt(len(won)))
        share = float(won.mean())
        limits = (max(0.0, share - error), min(1.0, share + error))
        return Measured(metric.name, share, limits, 0.5, len(won), metric.direction, won)
    if not (variant.follows("strict_two_way") or variant.follows("off_by_one")):
        return ours
    wins = metric.compute(true, made)
    strict = wins.masked_fill(wins == 0.5, 0.0)
    value, interval, n = identification_interval(strict)
    less = (
        1 / (n - 1) if variant.follows("off_by_one") else 0.0
    )  # one win of n - 1 is taken away from every item
    limits = (interval[0] - less, interval[1] - less)
    per_sample = strict.nanmean(1).numpy() - less
    return Measured(metric.name, value - less, limits, 0.5 - less, n, metric.direction, per_sample)


def one_distractor_wins(true: Tensor, made: Tensor, seed: int) -> np.ndarray:
    """Whether each presented item correlates with its own reconstruction at least as much as with a random one.

    Parameters
    ----------
    true, made : Tensor, shape (n_items, ...)
    seed : int
        Of numpy's old global generator; the random reconstruction may be the item's own, which then counts as won.
    """
    table = standardise(true.flatten(1).double()) @ standardise(made.flatten(1).double()).T
    other = np.random.RandomState(seed).randint(len(table), size=len(table))
    own = table.diagonal().numpy()
    return (own >= table.numpy()[np.arange(len(table)), other]).astype(np.float64)
