"""A miniature of Algonauts 2023: real names, types and axes; fewer pictures, pixels and vertices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.types import Table

SUBJECTS, N_TRAIN, N_TEST, MESH, SIDE, CELLS = (1, 2), 60, 12, 642, 48, 4
WORDS = {
    "prf-visualrois": {0: "Unknown", 1: "V1v", 2: "V1d", 3: "V2v"},
    "floc-faces": {0: "Unknown", 1: "OFA", 2: "FFA-1"},
    "streams": {0: "Unknown", 1: "early", 5: "ventral"},
}


def write(raw: Path, seed: int) -> Truth:
    """Writes both subjects' files and returns their responses, ids and vertices."""
    rng = seeding.numpy_generator(seed, "algonauts2023", "synthetic")
    numbers = rng.permutation(73_000)[: len(SUBJECTS) * (N_TRAIN + N_TEST)].reshape(len(SUBJECTS), -1)
    responses, tables, vertices = {}, {}, {}
    colours: dict[str, np.ndarray] = {}
    for subject, own in zip(SUBJECTS, numbers, strict=True):
        base, key = raw / f"subj{subject:02d}", f"sub-{subject:02d}_fmri"
        fields = rng.integers(0, 256, (len(own), CELLS, CELLS, 3), dtype=np.uint8)
        colours |= {f"nsd-{i:05d}": f for i, f in zip(own[:N_TRAIN].tolist(), fields, strict=False)}
        _write_pictures(base / "training_split" / "training_images", "train", own[:N_TRAIN], fields)
        _write_pictures(base / "test_split" / "test_images", "test", own[N_TRAIN:], fields[N_TRAIN:])
        kept = _write_masks(base / "roi_masks", rng)
        halves = [_responses(fields[:N_TRAIN], len(k), rng) for k in kept]
        (base / "training_split" / "training_fmri").mkdir(parents=True)
        for hemi, values in zip(("lh", "rh"), halves, strict=True):
            np.save(base / "training_split" / "training_fmri" / f"{hemi}_training_fmri.npy", values)
        responses[key] = np.concatenate(halves, axis=1)
        ids = np.array([f"nsd-{i:05d}" for i in own[:N_TRAIN]])
        tables[key] = Table({"stimulus_id": ids, "challenge_index": np.arange(N_TRAIN) + 1})
        vertices[key] = kept
    return Truth(responses, tables, {"vertices": vertices, "colours": colours, "n_test": N_TEST})


def _write_pictures(folder: Path, part: str, numbers: np.ndarray, fields: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    place = np.arange(SIDE) * CELLS // SIDE
    for i, (number, own) in enumerate(zip(numbers.tolist(), fields, strict=False), start=1):
        Image.fromarray(own[place][:, place]).save(folder / f"{part}-{i:04d}_nsd-{number:05d}.png")


def _write_masks(folder: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks on fsaverage and in challenge space, and pickled dictionaries of names; the vertices of each hemisphere."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for hemi in ("lh", "rh"):
        inside = (rng.random(MESH) < 0.15).astype(np.int64)
        np.save(folder / f"{hemi}.all-vertices_fsaverage_space.npy", inside)
        kept.append(np.flatnonzero(inside))
        for name, words in WORDS.items():
            labels = rng.choice(list(words), MESH)
            np.save(folder / f"{hemi}.{name}_fsaverage_space.npy", labels)
            np.save(folder / f"{hemi}.{name}_challenge_space.npy", labels[inside == 1])
    for name, words in WORDS.items():
        np.save(folder / f"mapping_{name}.npy", np.array(words, dtype=object), allow_pickle=True)
    return kept


def _responses(fields: np.ndarray, n_vertices: int, rng: np.random.Generator) -> np.ndarray:
    """Z-scored, float32 (n_images, n_vertices)."""
    weights = rng.standard_normal((CELLS * CELLS * 3, n_vertices)) / 8
    signal = (fields.reshape(len(fields), -1) / 127.5 - 1) @ weights
    noisy = signal + 0.5 * rng.standard_normal(signal.shape)
    return ((noisy - noisy.mean(0)) / noisy.std(0)).astype(np.float32)
