"""Decoded captions and clips, judged by the metrics that a protocol names for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, store
from braindec.evaluate.measures import Measured, metric_table
from braindec.evaluate.pictures import Stake, judge_of, left_out, measured_pictures
from braindec.evaluate.scoring import Judged, scores_of
from braindec.metrics import Metric
from braindec.protocols import Protocol
from braindec.types import Score

# Metrics by name; and why others of the protocol are not among them, by name.
Found = tuple[dict[str, Measured], dict[str, str]]
# What a network sees in clips: presented ones recur for every system and metric; a handful of entries.
_SEEN: dict[tuple[str, bool, str], Tensor] = {}


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
    lacking = captions_left_out(protocol, stake, blind=pictures is None)
    found = {}
    for metric in _here(protocol.caption_metrics, lacking):
        true, made = _caption_inputs(metric, references, decoded, pictures)
        found[metric.name] = measured_pictures(metric, true, made, generator)
    return found, lacking


def caption_values(
    references: Sequence[Sequence[str]],
    decoded: Sequence[str],
    protocol: Protocol,
    *,
    pictures: np.ndarray | None = None,
    stake: Stake | None = None,
) -> dict[str, float]:
    """The bare values of `measure_captions`, for nulls."""
    metrics = _here(protocol.caption_metrics, captions_left_out(protocol, stake, blind=pictures is None))
    return {m.name: m.value(*_caption_inputs(m, references, decoded, pictures)) for m in metrics}


def caption_items(
    references: Sequence[Sequence[str]], decoded: Sequence[str], protocol: Protocol
) -> dict[str, np.ndarray]:
    """A value an item of every caption metric that needs no pictures, without chance and interval: float64 (n,)."""
    metrics = _here(protocol.caption_metrics, captions_left_out(protocol, blind=True))
    return {m.name: m.per_sample(*_caption_inputs(m, references, decoded, None)).numpy() for m in metrics}


def captions_left_out(
    protocol: Protocol, stake: Stake | None = None, *, blind: bool = False
) -> dict[str, str]:
    """Why caption metrics of a protocol are left out, by metric; `blind`: the presented pictures are not there."""
    table, names = metric_table(), protocol.caption_metrics
    unseen = [n for n in names if blind and table[n].needs.startswith("image_text")]
    lacking = dict.fromkeys(unseen, "needs the presented pictures")
    return lacking | left_out([n for n in names if n not in unseen], stake)


def _here(names: Sequence[str], lacking: Mapping[str, str]) -> list[Metric]:
    return [metric_table()[name] for name in names if name not in lacking]


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
    for metric in _here(protocol.video_metrics, lacking):
        true, made = _video_input(metric, presented), _video_input(metric, decoded)
        found[metric.name] = measured_pictures(metric, true, made, generator)
    return found, lacking


def video_values(
    presented: np.ndarray, decoded: np.ndarray, protocol: Protocol, *, stake: Stake | None = None
) -> dict[str, float]:
    """The bare values of `measure_videos`, for nulls."""
    metrics = _here(protocol.video_metrics, left_out(protocol.video_metrics, stake))
    return {m.name: m.value(_video_input(m, presented), _video_input(m, decoded)) for m in metrics}


def video_scores(
    presented: Mapping[str, np.ndarray],
    decoded: Mapping[str, Mapping[str, np.ndarray]],
    protocol: Protocol,
    seed: int,
    *,
    sample_names: Mapping[str, tuple[str, ...]] | None = None,
    stake: Stake | None = None,
) -> tuple[list[Score], dict[str, str]]:
    """Scores of decoded clips of every system and subject, and why video metrics of the protocol are not among them.

    Parameters
    ----------
    presented : mapping of signal key to uint8 array, shape (n, n_frames, height, width, 3)
    decoded : mapping of system to mapping of signal key to such an array
        ``"braindec"``, and controls by their names.
    protocol : Protocol
    seed : int
        Of the intervals.
    sample_names : mapping of signal key to tuple of str, optional
        Names of the clips.
    stake
        As in `measure_captions`.

    Returns
    -------
    scores : list of Score
    not_computed : dict of str to str
        As a report says it, by metric.
    """
    rows: list[Score] = []
    for system, clips in decoded.items():
        measured = {
            key: measure_videos(
                presented[key], made, protocol, seeding.numpy_generator(seed, "clips", key), stake=stake
            )[0]
            for key, made in clips.items()
        }
        found = Judged(system, {}, measured, sample_names=sample_names or {})
        rows += [row for row in scores_of(found, protocol) if row.name in protocol.video_metrics]
    return rows, said(left_out(protocol.video_metrics, stake))


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
    content = store.content_hash(clips=clips)
    key = (f"{metric.network}.{metric.node}", metric.needs.startswith("clips"), content)
    if key not in _SEEN:
        while len(_SEEN) >= 8:
            _SEEN.pop(next(iter(_SEEN)))
        _SEEN[key] = (
            torch.from_numpy(judge.embed_videos(clips)).flatten(1)
            if key[1]
            else torch.from_numpy(judge.embed_images(clips.reshape(-1, *clips.shape[2:]))).reshape(
                *clips.shape[:2], -1
            )
        )
    return _SEEN[key]


def said(lacking: Mapping[str, str]) -> dict[str, str]:
    """What a report shows in place of a value: ``"not computed: ..."`` or ``"circular: ..."``, by metric."""
    return {
        name: reason if reason.startswith("circular") else f"not computed: {reason}"
        for name, reason in lacking.items()
    }
