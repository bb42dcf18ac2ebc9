"""Decoded captions and clips, judged by the metrics that a protocol names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.evaluate.measures import Measured, metric_table
from braindec.evaluate.pictures import Stake, judge_of, left_out, measured_pictures
from braindec.metrics import Metric
from braindec.protocols import Protocol

# Metrics by name; and why others of the protocol are not among them, by name.
Found = tuple[dict[str, Measured], dict[str, str]]


def measure_captions(
    references: Sequence[Sequence[str]],
    decoded: Sequence[str],
    protocol: Protocol,
    generator: np.random.Generator,
    *,
    pictures: np.ndarray | None = None,
    stake: Stake | None = None,
) -> Found:
    """All caption metrics of a protocol that can be computed, with chance among other items' captions.

    Parameters
    ----------
    references : sequence of sequences of str, length n
        What people wrote of each presented picture; measures that take one description take the first.
    decoded : sequence of str, length n
    generator : numpy Generator
        Resamples items for intervals.
    pictures : uint8 array, shape (n, height, width, 3), optional
        Presented; CLIP-score compares captions with them and is left out without.
    stake : mapping, optional
        See `measure_pictures`.

    Returns
    -------
    measured, not_computed : dict
        By metric: the score, or what it lacks.
    """
    checks.same_length("item", references=references, decoded=decoded)
    table, names = metric_table(), protocol.caption_metrics
    blind = [n for n in names if pictures is None and table[n].needs.startswith("image_text")]
    lacking = dict.fromkeys(blind, "needs the presented pictures")
    lacking |= left_out([n for n in names if n not in blind], stake)
    found = {}
    for name in names:
        if name not in lacking:
            true, made = _caption_inputs(table[name], references, decoded, pictures)
            found[name] = measured_pictures(table[name], true, made, generator)
    return found, lacking


def measure_videos(
    presented: np.ndarray,
    decoded: np.ndarray,
    protocol: Protocol,
    generator: np.random.Generator,
    *,
    stake: Stake | None = None,
) -> Found:
    """All video metrics of a protocol that can be computed, with chance among other items' clips.

    Parameters
    ----------
    presented, decoded : uint8 array, shape (n, n_frames, height, width, 3)
    generator, stake
        As in `measure_captions`.

    Returns
    -------
    measured, not_computed : dict
    """
    checks.same_length("item", presented=presented, decoded=decoded)
    lacking = left_out(protocol.video_metrics, stake)
    found = {}
    for name in protocol.video_metrics:
        if name not in lacking:
            metric = metric_table()[name]
            true, made = _video_input(metric, presented), _video_input(metric, decoded)
            found[name] = measured_pictures(metric, true, made, generator)
    return found, lacking


def _caption_inputs(
    metric: Metric, references: Sequence[Sequence[str]], decoded: Sequence[str], pictures: np.ndarray | None
) -> tuple[Any, Any]:
    if metric.network is None:
        return references, list(decoded)
    judge = judge_of(metric.network, metric.node)
    made = torch.from_numpy(judge.embed_text(list(decoded)))
    if pictures is None or not metric.needs.startswith("image_text"):
        return torch.from_numpy(judge.embed_text([refs[0] for refs in references])), made
    return torch.from_numpy(judge.embed_images(pictures)).flatten(1), made


def _video_input(metric: Metric, clips: np.ndarray) -> Tensor:
    checks.n_axes("clips", clips, ("item", "frame", "height", "width", "rgb"))
    if metric.network is None:
        return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255
    judge = judge_of(metric.network, metric.node)
    if metric.needs.startswith("clips"):
        return torch.from_numpy(judge.embed_videos(clips)).flatten(1)
    frames = judge.embed_images(clips.reshape(-1, *clips.shape[2:]))
    return torch.from_numpy(frames).reshape(*clips.shape[:2], -1)


def said(lacking: Mapping[str, str]) -> dict[str, str]:
    """What a report shows in place of a value: ``"not computed: ..."`` or ``"circular: ..."``, by metric."""
    return {
        name: reason if reason.startswith("circular") else f"not computed: {reason}"
        for name, reason in lacking.items()
    }
