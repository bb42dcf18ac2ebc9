"""A miniature of EEG-CVPR40: a block a class, drift of each subject's own, and nothing that tells a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.types import Table

N_CHANNELS, KEPT, SHORTEST = 128, slice(20, 460), 450
PAUSE = 20  # places of 0.5 s between blocks: 10 s
DRIFT_SD, N_WAVES = 1.0, 6
NOISE_SD = 1.0


def synthetic(
    raw: Path,
    file: str,
    splits: str,
    seed: int,
    subjects: tuple[int, ...],
    n_classes: int,
    n_images: int,
    before_1_6: bool,
) -> Truth:
    """See prepare.py."""
    raw.mkdir(parents=True, exist_ok=True)
    rng = seeding.numpy_generator(seed, "eeg_cvpr40", "design")
    labels = [f"n{rng.integers(10**7, 10**8):08d}" for _ in range(n_classes)]
    numbers = 1 + rng.choice(50_000, (n_classes, n_images), replace=False)
    images = [f"{label}_{k}" for label, its in zip(labels, numbers.tolist(), strict=True) for k in its]
    order = rng.permutation(len(images))
    images = [images[i] for i in order.tolist()]
    segments: list[dict[str, Any]] = []
    for subject in subjects:
        segments += _segments(seeding.numpy_generator(seed, "eeg_cvpr40", subject), subject, labels, images)
    segments = [segments[i] for i in rng.permutation(len(segments)).tolist()]
    place = [segment.pop("place") for segment in segments]
    held: dict[str, Any] = {"dataset": segments, "labels": labels, "images": images}
    if "mean" in file:
        held |= {"means": torch.zeros(N_CHANNELS, 1), "stddevs": torch.ones(N_CHANNELS, 1)}
    torch.save(held, raw / file, _use_new_zipfile_serialization=not before_1_6)
    part = _parts(rng, labels, images)
    rows = {
        name: [i for i, s in enumerate(segments) if part[s["image"]] == name]
        for name in ("train", "val", "test")
    }
    torch.save({"splits": [rows]}, raw / splits, _use_new_zipfile_serialization=not before_1_6)
    return _truth(subjects, segments, labels, images, place, rows)


def _segments(
    rng: np.random.Generator, subject: int, labels: list[str], images: list[str]
) -> list[dict[str, Any]]:
    """One subject's, in order of time; the longest waves of the drift take the whole recording."""
    n_places = len(labels) * (len(images) // len(labels) + PAUSE)
    rate = rng.uniform(0.5, 4.0, (N_WAVES, N_CHANNELS, 1)) / n_places
    phase = rng.uniform(0, 2 * np.pi, (N_WAVES, N_CHANNELS, 1))
    drift = DRIFT_SD * np.sin(2 * np.pi * rate * np.arange(n_places) + phase).sum(0)  # (channel, place)
    made, at = [], 0
    for label in rng.permutation(len(labels)).tolist():
        shown = [i for i, image in enumerate(images) if image.startswith(labels[label])]
        for image in rng.permutation(shown).tolist():
            n = int(rng.integers(480, 540)) if rng.uniform() > 0.03 else SHORTEST - 10
            eeg = drift[:, at, None] + NOISE_SD * rng.standard_normal((n, N_CHANNELS)).T
            tensor = torch.from_numpy(np.asfortranarray(eeg.astype(np.float32)))
            made.append({"eeg": tensor, "image": image, "label": label, "subject": subject, "place": at})
            at += 1
        at += PAUSE
    return made


def _parts(rng: np.random.Generator, labels: list[str], images: list[str]) -> dict[int, str]:
    """The part of each image: of every class about 7, 1 and 2 of 10."""
    found: dict[int, str] = {}
    for label in labels:
        mine = rng.permutation([i for i, image in enumerate(images) if image.startswith(label)]).tolist()
        n_test, n_val = max(1, len(mine) // 5), max(1, len(mine) // 10)
        for k, image in enumerate(mine):
            found[image] = "test" if k < n_test else "val" if k < n_test + n_val else "train"
    return found


def _truth(
    subjects: tuple[int, ...],
    segments: list[dict[str, Any]],
    labels: list[str],
    images: list[str],
    place: list[int],
    rows: dict[str, list[int]],
) -> Truth:
    responses, tables, places = {}, {}, {}
    for subject in subjects:
        mine = [
            i for i, s in enumerate(segments) if s["subject"] == subject and s["eeg"].shape[1] >= SHORTEST
        ]
        key = f"sub-{subject:02d}_eeg"
        responses[key] = np.stack([segments[i]["eeg"].numpy()[:, KEPT] for i in mine])
        tables[key] = Table(
            {
                "stimulus_id": [images[segments[i]["image"]] for i in mine],
                "category": [labels[segments[i]["label"]] for i in mine],
                "run": [labels[segments[i]["label"]] for i in mine],
            }
        )
        places[key] = np.array([place[i] for i in mine])
    parts = {part: sorted({images[segments[i]["image"]] for i in its}) for part, its in rows.items()}
    return Truth(responses, tables, {"place": places, "parts": parts})
