"""Miniatures of THINGS-EEG2: drawn pictures in its folders, and planted responses in its containers."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import miniature
from braindec.data.catalogue import Truth
from braindec.data.things_eeg2 import CHANNELS
from braindec.types import Table

PARTS = ("training", "test")
FORMS = {
    "250hz": ("Preprocessed_data_250Hz", ("preprocessed_eeg_training.npy", "preprocessed_eeg_test.npy")),
    "250hz_pt": ("Preprocessed_data_250Hz_whiten", ("train.pt", "test.pt")),
    "17_channels": ("Preprocessed_data", ("preprocessed_eeg_training.npy", "preprocessed_eeg_test.npy")),
    "raw": ("Raw_data", ("raw_eeg_training.npy", "raw_eeg_test.npy")),
}
EPOCH = np.arange(-50, 250)  # samples of 250 Hz from the picture
TARGET = 99_999


def synthetic(
    raw: str | Path,
    *,
    seed: int,
    files: str,
    subjects: Iterable[int],
    n_concepts: tuple[int, int],
    n_repeats: tuple[int, int],
    noise: float,
) -> Truth:
    """See prepare.py."""
    raw = Path(raw)
    drawn = _write_images(raw / "image_set", n_concepts, seed)
    responses, tables = {}, {}
    for subject in subjects:
        generator = seeding.numpy_generator(seed, "things_eeg2", subject)
        folder = raw / FORMS[files][0] / f"sub-{subject:02d}"
        write = _write_raw if files == "raw" else partial(_write_preprocessed, files=files)
        key = f"sub-{subject:02d}_eeg"
        responses[key], tables[key] = write(folder, drawn, n_repeats, noise, generator)
    return Truth(responses, tables, {"pictures": drawn})


def _write_images(folder: Path, n_concepts: tuple[int, int], seed: int) -> dict[str, list[miniature.Picture]]:
    generator = seeding.numpy_generator(seed, "things_eeg2", "pictures")
    names = miniature.concept_names(sum(n_concepts))
    tested = set(generator.permutation(names)[: n_concepts[1]].tolist())
    by_part = {"training": [n for n in names if n not in tested], "test": [n for n in names if n in tested]}
    drawn = {
        part: miniature.draw(by_part[part], 10 if part == "training" else 1, generator) for part in PARTS
    }
    held: dict[str, list[str]] = {}
    for part, prefix in zip(PARTS, ("train", "test"), strict=True):
        folders = [f"{by_part[part].index(p.concept) + 1:05d}_{p.concept}" for p in drawn[part]]
        for picture, concept in zip(drawn[part], folders, strict=True):
            miniature.save(picture, folder / f"{part}_images" / concept)
        held[f"{prefix}_img_concepts"] = folders
        held[f"{prefix}_img_files"] = [f"{p.stem}.jpg" for p in drawn[part]]
        held[f"{prefix}_img_concepts_THINGS"] = [
            f"{names.index(p.concept) + 1:05d}_{p.concept}" for p in drawn[part]
        ]
    np.save(folder / "image_metadata.npy", np.array(held, dtype=object))
    return drawn


def _planted(
    pictures_: list[miniature.Picture], n_channels: int, times: np.ndarray, map_: np.ndarray
) -> np.ndarray:
    """(n, n_channels, n_times): each feature of a picture rises at a time of its own, 0.1 to 0.3 s after it."""
    latency = np.linspace(0.1, 0.3, miniature.N_FEATURES)
    course = np.exp(-(((times - latency[:, None]) / 0.04) ** 2))  # (feature, time)
    return np.einsum("nf,cf,ft->nct", miniature.features(pictures_), map_[:n_channels], course)


def _write_preprocessed(
    folder: Path,
    drawn: Mapping[str, list[miniature.Picture]],
    n_repeats: tuple[int, int],
    noise: float,
    generator: np.random.Generator,
    files: str,
) -> tuple[np.ndarray, Table]:
    small = files == "17_channels"
    names = list(CHANNELS[46:]) if small else list(CHANNELS)
    every = np.round(np.arange(-20, 80) / 100, 3) if small else np.linspace(-0.2, 0.996, 300)
    times = every if small else every[50:]
    map_ = generator.standard_normal((len(names), miniature.N_FEATURES))
    written, columns = [], _lists("stimulus_id", "repeat")
    for part, n, file in zip(PARTS, n_repeats, FORMS[files][1], strict=True):
        planted = _planted(drawn[part], len(names), times, map_)
        shape = (len(planted), n, *planted.shape[1:])
        data = planted[:, None] / planted.std() + noise * generator.standard_normal(shape)
        if files == "250hz_pt":
            _save_pt(folder / file, data, times, [p.stem for p in drawn[part]])
        else:
            _save_pickle(
                folder / file,
                {"preprocessed_eeg_data": data, "ch_names": names, "times": every},
                bare=not small,
            )
        written.append(data.astype(np.float16 if files == "250hz_pt" else np.float64).reshape(-1, *shape[2:]))
        columns["stimulus_id"] += np.repeat([p.stem for p in drawn[part]], n).tolist()
        columns["repeat"] += np.tile(np.arange(n), len(planted)).tolist()
    return np.concatenate(written).astype(np.float32), Table(columns)


def _lists(*names: str) -> dict[str, list[Any]]:
    return {name: [] for name in names}


def _save_pickle(path: Path, held: dict[str, Any], *, bare: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if bare:  # a pickle with the suffix .npy, as the 250 Hz files are
        with path.open("wb") as file:
            pickle.dump(held, file, protocol=4)
    else:
        np.save(path, np.array(held, dtype=object))


def _save_pt(path: Path, data: np.ndarray, times: np.ndarray, stems: list[str]) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    n, n_repeats = data.shape[:2]
    held = {
        "eeg": data.astype(np.float16), "label": np.repeat(np.arange(n)[:, None], n_repeats, axis=1),
        "img": np.array([[f"{s}.jpg"] * n_repeats for s in stems]), "session": np.zeros((n, n_repeats)), "times": times,
    }  # fmt: skip
    torch.save(held, path, pickle_protocol=5)


def _write_raw(
    folder: Path,
    drawn: Mapping[str, list[miniature.Picture]],
    n_repeats: tuple[int, int],
    noise: float,
    generator: np.random.Generator,
) -> tuple[np.ndarray, Table]:
    """Four sessions: half of the training pictures in each, twice; a target now and then; 0.2 s from onset to onset."""
    sfreq, map_ = 1000.0, generator.standard_normal((63, miniature.N_FEATURES))
    responses, columns = [], _lists("stimulus_id", "session", "onset_s")
    for session in range(4):
        for part, n, file in zip(PARTS, (2, n_repeats[1] // 4), FORMS["raw"][1], strict=True):
            shown = np.arange(len(drawn[part]))
            shown = shown[shown % 2 == session % 2] if part == "training" else shown
            codes = generator.permutation(np.append(np.tile(shown + 1, n), TARGET))
            onsets = 1000 + 200 * np.arange(len(codes)) + generator.integers(0, 5, len(codes))
            signal = np.zeros((64, int(onsets[-1]) + 2000))
            waves = 1e-6 * _planted(drawn[part], 63, np.arange(600) / sfreq, map_)
            for onset, code in zip(onsets, codes, strict=True):
                signal[63, onset : onset + 10] = code
                if code != TARGET:
                    signal[:63, onset : onset + 600] += waves[code - 1]
            kept = codes != TARGET
            at = onsets[kept, None] + 4 * EPOCH
            responses.append(signal[:63][:, at].swapaxes(0, 1))
            signal[:63] += noise * 1e-6 * generator.standard_normal((63, signal.shape[1]))
            held = {
                "raw_eeg_data": signal, "ch_names": [*CHANNELS, "stim"], "ch_types": ["eeg"] * 63 + ["stim"],
                "sfreq": 1000, "highpass": 0.01, "lowpass": 100,
            }  # fmt: skip
            _save_pickle(folder / f"ses-{session + 1:02d}" / file, held, bare=False)
            columns["stimulus_id"] += [drawn[part][c - 1].stem for c in codes[kept]]
            columns["session"] += [str(session + 1)] * int(kept.sum())
            columns["onset_s"] += (onsets[kept] / sfreq).tolist()
    return np.concatenate(responses).astype(np.float32), Table(columns)
