"""Equal and nearly equal stimuli under different ids: hashes, a small descriptor of the pixels, embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from braindec.data.dataset import NeuralDataset
from braindec.data.leakage.findings import Finding, Outcome
from braindec.types import StimulusSet

if TYPE_CHECKING:
    from braindec.data.leakage.case import Case

PIECE = 256  # images read at a time
SIDE = 16  # pixels a side of the descriptor

# One minus the correlation of two descriptors. Among 910 different pictures (photographs of clothes, faces and houses,
# handwritten digits, simple scenes; over 120,000 pairs, mirrored ones as well) none came closer than 0.018, two aligned
# portraits. Copies: JPEG of quality 75 at most 0.0125 (median below 0.004), photographs at half their size 0.0001,
# noise of 5 grey levels 0.0021, a border of 1 % cut off 0.011 (median below 0.007), contrast 0.0001.
COPY, NEAR = 0.005, 0.012

# The descriptor hardly sees a small object. Two pictures are copies only if they also agree in every place: of 64 x 64
# cells (grey levels, contrast matched, each against the other picture's cells one step around) the fifth worst differs
# by at most 40. Copies of ten rendered scenes: JPEG of quality 75 35, noise of 5 levels 17, half the size 16; of
# photographs 4 to 17. Scenes that differ in the shape of one small object of one colour: 65 and more.
FINE_SIDE, WORST, APART = 64, 5, 40.0

# Cosine about the training stimuli's mean. Different pictures stayed below 0.973 (372 photographs of clothes in the
# shipped OpenCLIP; 0.84 for scenes, 0.78 for 200 THINGS objects in ViT-L/14). It sees equal content, not equal files.
COSINE = 0.98
MAX_EQUAL = 0.1  # a target that gives more training stimuli than this one embedding cannot tell stimuli apart

WAY_OUT = "Give equal stimuli one id, or keep them on one side: both ids in train, or both in test."


@dataclass(frozen=True, eq=False)
class Pictures:
    """sha256 and descriptor of each picture, by stimulus id."""

    digests: dict[str, bytes]
    descriptors: dict[str, np.ndarray]

    @classmethod
    def read(cls, stimuli: StimulusSet, ids: Sequence[str]) -> Pictures:
        """Reads pictures in pieces and keeps 3 KB of each."""
        digests, descriptors = {}, {}
        for start in range(0, len(ids), PIECE):
            part = ids[start : start + PIECE]
            images = stimuli.images(part)
            small = describe(images)
            for key, image, row in zip(part, images, small, strict=True):
                digests[key] = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
                descriptors[key] = row
        return cls(digests, descriptors)

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """Descriptors in this order, float32 (n, SIDE * SIDE * 3)."""
        return np.stack([self.descriptors[i] for i in ids])


def n_bytes(dataset: NeuralDataset) -> int:
    """Bytes of the pictures that the dataset's trials show; 0 where there are none."""
    ids = dataset.stimulus_ids
    if dataset.stimuli.kind != "image" or not ids:
        return 0
    return len(ids) * int(dataset.stimuli.images(ids[:1]).nbytes)


def describe(images: np.ndarray) -> np.ndarray:
    """Pictures (n, height, width, 3) as 16 x 16 mean colours of mean 0 and length 1, float32 (n, 768)."""
    x = torch.from_numpy(np.array(images, dtype=np.float32)).permute(0, 3, 1, 2)
    x = adaptive_avg_pool2d(x, (SIDE, SIDE)).flatten(1)
    x = x - x.mean(1, keepdim=True)
    return (x / x.norm(dim=1, keepdim=True).clamp_min(1e-3)).numpy()


def equal_pictures(case: Case) -> Outcome:
    """Test pictures whose pixels equal those of a training picture of another id."""
    if case.pictures is None:
        return _why_not(case)
    train, test = _sides(case)
    known = {case.pictures.digests[i]: i for i in train}
    twins = [(known[d], i) for i in test if (d := case.pictures.digests[i]) in known]
    if not twins:
        return []
    severity = "leak" if case.new_stimuli else "info"
    said = f"{len(twins)} of {len(case.test.stimulus_ids)} test pictures equal a training picture pixel by pixel."
    evidence = {"pictures": len(twins), "examples": [f"{a} = {b}" for a, b in twins[:3]]}
    return [Finding("equal_pictures", severity, said, case.split_name, evidence, WAY_OUT)]


def near_pictures(case: Case) -> Outcome:
    """Test pictures that copy a training picture but for encoding, size, a thin border or noise, or look like one."""
    if case.pictures is None:
        return _why_not(case)
    train, test = _sides(case)
    digests = case.pictures.digests
    known = {digests[i] for i in train}
    test = [i for i in test if digests[i] not in known]  # equal ones are told by `equal_pictures`
    if not train or not test:
        return []
    nearest, distance = _nearest(case.pictures.of(train), case.pictures.of(test))
    near = np.flatnonzero(distance <= NEAR)
    copies = [r for r in near if distance[r] <= COPY and _agree(case, train[nearest[r]], test[r])]
    found = []
    for severity, rows, high in (("leak", copies, COPY), ("warning", sorted({*near} - {*copies}), NEAR)):
        if len(rows):
            pairs = [f"{train[nearest[r]]} ~ {test[r]} ({distance[r]:.4f})" for r in rows[:3]]
            look = "are copies of" if severity == "leak" else "look almost like"
            said = f"{len(rows)} of {len(case.test.stimulus_ids)} test pictures {look} a training picture."
            evidence = {"pictures": len(rows), "threshold": high, "examples": pairs}
            level = severity if case.new_stimuli else "info"
            found.append(Finding("near_pictures", level, said, case.split_name, evidence, WAY_OUT))
    return found


def near_embeddings(case: Case) -> Outcome:
    """Test stimuli whose embedding nearly equals that of a training stimulus."""
    if case.embeddings is None:
        return "no embeddings at hand" if case.new_stimuli else None
    if not case.new_stimuli:
        return None
    train, test = _sides(case)
    known = set(case.embeddings.ids)
    if not train or not test or not known.issuperset({*train, *test}):
        return "not every stimulus has an embedding"
    x, y = (case.embeddings.of(ids).reshape(len(ids), -1) for ids in (train, test))
    if 1 - len(np.unique(x, axis=0)) / len(x) > MAX_EQUAL:
        return "the target gives many stimuli one embedding"
    mean = x.mean(0)
    near = near_duplicates(x - mean, y - mean, COSINE)
    if not near.any():
        return []
    some = [test[r] for r in np.flatnonzero(near)[:3]]
    said = (
        f"{near.sum()} of {len(test)} test stimuli have a training stimulus at a cosine of {COSINE} or more."
    )
    evidence = {"stimuli": int(near.sum()), "threshold": COSINE, "examples": some}
    way_out = "Look at these pairs; hold out whole groups of alike stimuli (a concept, a film, a scene)."
    return [Finding("near_embeddings", "warning", said, case.split_name, evidence, way_out)]


def near_duplicates(train: np.ndarray, test: np.ndarray, threshold: float = COSINE) -> np.ndarray:
    """Which test stimuli look almost like a training one: bool (n_test,).

    Parameters
    ----------
    train : float array, shape (n_train, n_dims)
    test : float array, shape (n_test, n_dims)
        Embeddings of the stimuli in any image space, best about the training stimuli's mean.
    threshold : float
        Cosine similarity from which two stimuli count as near duplicates.
    """
    a, b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (train, test))
    nearest = np.concatenate([(part @ a.T).max(1) for part in np.array_split(b, len(b) // PIECE + 1)])
    return nearest >= threshold


def _nearest(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest training row of each test row or its mirror image, and one minus their correlation."""
    mirrored = test.reshape(len(test), 3, SIDE, SIDE)[..., ::-1].reshape(test.shape)
    index, distance = [], []
    for part, flipped in zip(
        *(np.array_split(v, len(test) // PIECE + 1) for v in (test, mirrored)), strict=True
    ):
        alike = np.maximum(part @ train.T, flipped @ train.T)
        index.append(alike.argmax(1))
        distance.append(1 - alike.max(1))
    return np.concatenate(index), np.concatenate(distance)


def _agree(case: Case, train: str, test: str) -> bool:
    """Whether two pictures agree in every place.

    A mirror image does not: to a visual cortex it is another stimulus, so it is warned of and no leak.
    """
    a, b = (
        torch.from_numpy(np.array(case.test.stimuli.images([i]), dtype=np.float32)) for i in (train, test)
    )
    a, b = a.permute(0, 3, 1, 2), b.permute(0, 3, 1, 2)
    side = min(FINE_SIDE, *a.shape[-2:], *b.shape[-2:])
    a, b = adaptive_avg_pool2d(a, (side, side)), adaptive_avg_pool2d(b, (side, side))
    return worst_difference(a, b) <= APART


def worst_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Grey levels by which the fifth worst cell of two pictures (1, 3, side, side) differs from all cells around it."""

    def beyond(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        varying = y - y.mean()
        gain = ((x - x.mean()) * varying).sum() / varying.square().sum().clamp_min(1e-6)
        y = gain * varying + x.mean()
        most, least = max_pool2d(y, 3, 1, 1), -max_pool2d(-y, 3, 1, 1)
        return torch.maximum(x - most, least - x).clamp_min(0)

    cells = torch.maximum(beyond(a, b), beyond(b, a)).amax(1).flatten()
    return float(cells.topk(min(WORST, len(cells))).values[-1])


def _sides(case: Case) -> tuple[list[str], list[str]]:
    """Training ids, and test ids that training does not hold."""
    train = list(case.train.stimulus_ids)
    known = set(train)
    return train, [i for i in case.test.stimulus_ids if i not in known]


def _why_not(case: Case) -> str:
    if case.test.stimuli.kind != "image":
        return "the stimulus set holds no pictures"
    return "the pictures are too many to be read here; use braindec audit"
