"""Reconstructed pictures: drawn in one order with one noise, and judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from braindec import checks, registry, seeding
from braindec.decoder import Prediction
from braindec.evaluate.measures import Measured, identification_interval, metric_table
from braindec.metrics import Metric, circular, mismatched
from braindec.protocols import Pictures, Protocol
from braindec.stats.scoring import summarise

# What made or chose the pictures, by the words of `metrics.circular`: target, reranker, generator. A metric whose
# network is of their family is left out and said to be circular.
Stake = Mapping[str, str | None]


def first(prediction: Prediction, n: int) -> Prediction:
    """The rows of the `n` first stimuli by sorted id, so that every system draws the same ones."""
    order = np.argsort(np.array(prediction.ids))[:n]
    return prediction.take(order)


def render(generator: Any, embeddings: np.ndarray, seed: int, n_steps: int | None = None) -> np.ndarray:
    """Pictures of image embeddings; the generator's noise depends on the seed alone, not on the system."""
    return generator.generate(embeddings, generator=seeding.torch_generator(seed, "picture"), n_steps=n_steps)


def measure_pictures(
    presented: np.ndarray,
    decoded: np.ndarray,
    protocol: Protocol,
    generator: np.random.Generator,
    stake: Stake | None = None,
) -> dict[str, Measured]:
    """All picture metrics of a protocol that this machine can compute and whose network has no stake.

    Parameters
    ----------
    presented, decoded : uint8 array, shape (n, height, width, 3)
    stake : mapping, optional
        Spaces or members of the target, the re-ranker and the generator behind the decoded pictures.
    """
    shown, made = (shown_as(p, protocol.pictures) for p in (presented, decoded))
    out = {}
    for name in metrics_here(protocol, stake):
        metric = metric_table()[name]
        out[name] = measured_pictures(metric, inputs_of(metric, shown), inputs_of(metric, made), generator)
    return out


def measure_samples(
    presented: np.ndarray,
    samples: np.ndarray,
    protocol: Protocol,
    generator: np.random.Generator,
    stake: Stake | None = None,
) -> dict[str, Measured]:
    """Scores of single samples: the mean over samples of what each one scores by itself, and how far they lie apart.

    Parameters
    ----------
    presented : uint8 array, shape (n, height, width, 3)
    samples : uint8 array, shape (n_samples, n, height, width, 3)
    stake : mapping, optional
        See `measure_pictures`.

    Returns
    -------
    dict of str to Measured
        The interval is that of one sample: its ends are means over samples, which is wider than that of their mean.
        Details: ``samples`` (their number), ``each`` (every sample's score), ``spread`` (SD over samples).
    """
    found = [measure_pictures(presented, made, protocol, generator, stake) for made in samples]
    return {name: _of_samples([one[name] for one in found]) for name in found[0]}


def _of_samples(found: Sequence[Measured]) -> Measured:
    values = np.array([m.value for m in found])
    low, high = np.mean([m.interval for m in found], axis=0)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return dataclasses.replace(
        found[0], value=float(values.mean()), interval=(float(low), float(high)),
        chance=float(np.mean([m.chance for m in found])), per_sample=np.mean([m.per_sample for m in found], axis=0),
        details={"samples": len(found), "each": values.tolist(), "spread": spread},
    )  # fmt: skip


def metrics_here(protocol: Protocol, stake: Stake | None = None) -> tuple[str, ...]:
    """A protocol's picture metrics without those that this machine cannot or should not compute (`not_computed`)."""
    lacking = not_computed(protocol, stake)
    return tuple(name for name in protocol.picture_metrics if name not in lacking)


def not_computed(protocol: Protocol, stake: Stake | None = None) -> dict[str, str]:
    """Why picture metrics of a protocol are left out, by metric: circular, weights to download, packages."""
    return left_out(protocol.picture_metrics, stake)


def left_out(names: Sequence[str], stake: Stake | None = None) -> dict[str, str]:
    """Why some of these metrics are left out, by metric: circular, weights to download, packages."""
    found = {}
    for name in names:
        metric = metric_table()[name]
        needs = metric.missing()
        reason = circular(metric, **(stake or {})) or (f"needs {needs}" if needs else "")
        lacking = reason or (_lacking(metric.network, metric.node) if metric.network else "")
        if lacking:
            found[name] = lacking
    return found


@lru_cache(maxsize=64)
def _lacking(network: str, node: str | None) -> str:
    try:
        judge_of(network, node)
    except (checks.DownloadError, checks.MissingPackageError, FileNotFoundError) as error:
        return str(error)
    return ""


@lru_cache(maxsize=2)  # networks are large, and protocols ask for one after the other
def judge_of(network: str, node: str | None) -> Any:
    """The network that a metric looks through, at its node."""
    module = registry.load("targets", network)
    has_nodes = any(field.name == "node" for field in dataclasses.fields(module.Config))
    return module.build(module.Config(node=node) if has_nodes and node else module.Config())


def shown_as(pictures: np.ndarray, rule: Pictures) -> np.ndarray:
    """Pictures at the size in which a protocol compares them, uint8 (n, height, width, 3)."""
    if rule.side is None or pictures.shape[1:3] == (rule.side, rule.side):
        return pictures
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    size = (rule.side, rule.side)
    resized = interpolate(values, size=size, mode=rule.resize, antialias=rule.antialias, align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def picture_values(
    presented: np.ndarray, decoded: np.ndarray, protocol: Protocol, stake: Stake | None = None
) -> dict[str, float]:
    """The bare values of a protocol's picture metrics, for nulls; pictures as in `measure_pictures`."""
    shown, drawn = (shown_as(p, protocol.pictures) for p in (presented, decoded))
    found = {}
    for name in metrics_here(protocol, stake):
        metric = metric_table()[name]
        true, made = inputs_of(metric, shown), inputs_of(metric, drawn)
        pairs = identification_interval(metric.compute(true, made))[0] if metric.pairwise else None
        found[name] = float(metric.per_sample(true, made).mean()) if pairs is None else pairs
    return found


def measured_pictures(metric: Metric, true: Tensor, made: Tensor, generator: np.random.Generator) -> Measured:
    """One metric of presented and decoded pictures, given what it needs (`inputs_of`)."""
    per_sample = metric.per_sample(true, made).numpy()
    if metric.pairwise:
        value, interval, n = identification_interval(metric.compute(true, made))
        return Measured(
            metric.name, value, interval, metric.chance_of(n) or 0.5, n, metric.direction, per_sample
        )
    metric.sound(torch.from_numpy(per_sample), share=False)
    chance = mismatched(metric, true, made)
    found = summarise(per_sample, chance, generator=generator, kind="mean", direction=metric.direction)
    interval = (float(found.interval.low), float(found.interval.high))
    return Measured(metric.name, found.value, interval, chance, found.n, metric.direction, per_sample)


# Presented pictures recur for every system; a handful of entries.
_FEATURES: dict[tuple[str, bytes], Tensor] = {}


def inputs_of(metric: Metric, pictures: np.ndarray) -> Tensor:
    """What a metric compares: the pictures in [0, 1], or what its network sees in them."""
    if metric.network is None:
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    key = (f"{metric.network}.{metric.node}", pictures.tobytes())
    if key not in _FEATURES:
        values = judge_of(metric.network, metric.node).embed_images(pictures)
        while len(_FEATURES) >= 8:
            _FEATURES.pop(next(iter(_FEATURES)))
        _FEATURES[key] = torch.from_numpy(values).flatten(1)
    return _FEATURES[key]
