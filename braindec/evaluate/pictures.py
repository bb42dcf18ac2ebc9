"""Reconstructed pictures: drawn in one order with one noise, and judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import registry, seeding
from braindec.decoder import Prediction
from braindec.evaluate.measures import Measured, identification_interval, metric_table
from braindec.metrics import Metric, mismatched
from braindec.protocols import Protocol
from braindec.stats.scoring import summarise


def first(prediction: Prediction, n: int) -> Prediction:
    """The rows of the `n` first stimuli by sorted id, so that every system draws the same ones."""
    order = np.argsort(np.array(prediction.ids))[:n]
    return Prediction(
        tuple(prediction.ids[i] for i in order), prediction.values[order], prediction.table.take(order),
        prediction.n_repeats[order], prediction.key,
    )  # fmt: skip


def render(generator: Any, embeddings: np.ndarray, seed: int, n_steps: int | None = None) -> np.ndarray:
    """Pictures of image embeddings; the generator's noise depends on the seed alone, not on the system."""
    return generator.generate(embeddings, generator=seeding.torch_generator(seed, "picture"), n_steps=n_steps)


def measure_pictures(
    presented: np.ndarray, decoded: np.ndarray, protocol: Protocol, generator: np.random.Generator
) -> dict[str, Measured]:
    """All picture metrics of a protocol.

    Parameters
    ----------
    presented, decoded : uint8 array, shape (n, height, width, 3)
    """
    out = {}
    for name in protocol.picture_metrics:
        metric = metric_table()[name]
        true, made = _inputs(metric, presented), _inputs(metric, decoded)
        out[name] = _measured(metric, true, made, generator)
    return out


def picture_values(presented: np.ndarray, decoded: np.ndarray, protocol: Protocol) -> dict[str, float]:
    """The bare values of a protocol's picture metrics, for nulls; pictures as in `measure_pictures`."""
    found = {}
    for name in protocol.picture_metrics:
        metric = metric_table()[name]
        true, made = _inputs(metric, presented), _inputs(metric, decoded)
        pairs = identification_interval(metric.compute(true, made))[0] if metric.pairwise else None
        found[name] = float(metric.per_sample(true, made).mean()) if pairs is None else pairs
    return found


def _measured(metric: Metric, true: Tensor, made: Tensor, generator: np.random.Generator) -> Measured:
    per_sample = metric.per_sample(true, made).numpy()
    if metric.pairwise:
        value, interval, n = identification_interval(metric.compute(true, made))
        return Measured(
            metric.name, value, interval, metric.chance_of(n) or 0.5, n, metric.direction, per_sample
        )
    chance = mismatched(metric, true, made)
    found = summarise(per_sample, chance, generator=generator, kind="mean", direction=metric.direction)
    interval = (float(found.interval.low), float(found.interval.high))
    return Measured(metric.name, found.value, interval, chance, found.n, metric.direction, per_sample)


_FEATURES: dict[
    tuple[str, bytes], Tensor
] = {}  # presented pictures recur for every system; a handful of entries


def _inputs(metric: Metric, pictures: np.ndarray) -> Tensor:
    if metric.needs == "images":
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    network = metric.needs.partition(":")[2].partition(".")[0]
    key = (network, pictures.tobytes())
    if key not in _FEATURES:
        module = registry.load("targets", network)
        values = module.build(module.Config()).embed_images(pictures)
        while len(_FEATURES) >= 8:
            _FEATURES.pop(next(iter(_FEATURES)))
        _FEATURES[key] = torch.from_numpy(values).flatten(1)
    return _FEATURES[key]
