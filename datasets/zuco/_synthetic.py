"""Miniature ZuCo files of both containers: struct arrays of MATLAB 5, and of 7.3 as HDF5 references."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.data.speech_miniature import SYLLABLES
from braindec.types import Table

BANDS = ("t1", "t2", "a1", "a2", "b1", "b2", "g1", "g2")
MEASURES = ("FFD", "SFD", "GD", "GPT", "TRT")
N_CHANNELS, N_WORDS = 105, 5
TASKS = {"Z": ("SR", "NR", "TSR"), "Y": ("NR", "TSR")}
WITHOUT_WORDS, ONE_WORD = 2, 3  # places of sentences
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
Entry = dict[str, Any]


def synthetic(raw: Path, seed: int, people: dict[int, str], n_sentences: int, noise: float) -> Truth:
    """See prepare.py."""
    raw.mkdir(parents=True, exist_ok=True)
    rng = seeding.numpy_generator(seed, "zuco", "sentences")
    tasks = {task: _sentences(rng, n_sentences) for task in ("SR", "NR", "TSR")}
    tasks["TSR"][0] = tasks["NR"][0]  # some sentences are in both
    pattern: dict[str, np.ndarray] = {}
    responses, tables = {}, {}
    for subject, person in people.items():
        mine = seeding.numpy_generator(seed, "zuco", subject)
        rows: list[Entry] = []
        for task in TASKS[person[0]]:
            read = [_read(mine, s, i, pattern, noise) for i, s in enumerate(tasks[task])]
            write = _write_5 if person[0] == "Z" else _write_73
            folder = raw / f"task-{task}" / "Matlab files"
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"results{person}_{task}.mat", tasks[task], read)
            rows += _expected(tasks[task], read, task)
        key = f"sub-{subject:02d}_eeg"
        responses[key] = np.stack([row.pop("features") for row in rows])
        tables[key] = Table({name: [row[name] for row in rows] for name in rows[0]})
    return Truth(responses, tables, {"pattern": pattern})


def _sentences(rng: np.random.Generator, n: int) -> list[list[str]]:
    made = [["".join(rng.choice(SYLLABLES, 2)) for _ in range(N_WORDS)] for _ in range(n)]
    made[ONE_WORD] = made[ONE_WORD][:1]
    return made


def _read(
    rng: np.random.Generator, words: list[str], place: int, pattern: dict[str, np.ndarray], noise: float
) -> list[Entry] | None:
    """One person's reading of a sentence: a dictionary a word, empty arrays where it was not fixated."""
    if place == WITHOUT_WORDS:
        return None
    found = []
    for i, word in enumerate(words):
        entry: Entry = {"content": word, "rawEEG": np.empty((0, 0))}
        skipped = i == 1
        entry["nFixations"] = np.empty((0, 0)) if skipped else float(rng.integers(1, 4))
        for measure in MEASURES:
            entry[measure] = np.empty((0, 0)) if skipped else float(rng.integers(40, 200))
            for band in BANDS:
                key = f"{word}/{measure}/{band}"
                if key not in pattern:
                    digest = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
                    pattern[key] = np.random.default_rng(digest).standard_normal(N_CHANNELS)
                x = pattern[key] + noise * rng.standard_normal(N_CHANNELS)
                if place == 1 and i == 2 and band == "g2":
                    x[7] = np.nan
                entry[f"{measure}_{band}"] = np.empty((0, 0)) if skipped else x[:, None]
        found.append(entry)
    return found


def _expected(sentences: list[list[str]], read: list[list[Entry] | None], task: str) -> list[Entry]:
    rows = []
    for words, entries in zip(sentences, read, strict=True):
        for i, entry in enumerate(entries or []):
            if np.size(entry["nFixations"]) == 0:
                continue
            x = np.concatenate([entry[f"GD_{band}"][:, 0] for band in BANDS]).astype(np.float32)
            if np.isfinite(x).all():
                gaze = {m.lower(): entry[m] for m in MEASURES}
                rows.append(
                    {"word": words[i], "word_index": i, "run": task, "n_fixations": entry["nFixations"]}
                    | gaze
                    | {"features": x}
                )
    return rows


def _struct(entries: list[Entry]) -> np.ndarray:
    """A MATLAB struct array, (1, n)."""
    made = np.empty((1, len(entries)), dtype=[(name, object) for name in entries[0]])
    for i, entry in enumerate(entries):
        for name, value in entry.items():
            made[name][0, i] = value
    return made


def _write_5(path: Path, sentences: list[list[str]], read: list[list[Entry] | None]) -> None:
    entries = [
        {
            "content": " ".join(words), "rawData": np.zeros((N_CHANNELS, 3), np.float32), "omissionRate": 0.2,
            "word": np.nan if its is None else _struct(its),
        }
        for words, its in zip(sentences, read, strict=True)
    ]  # fmt: skip
    savemat(path, {"sentenceData": _struct(entries)}, do_compression=True)


def _write_73(path: Path, sentences: list[list[str]], read: list[list[Entry] | None]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        pool = file.create_group("#refs#")
        data = file.create_group("sentenceData")
        data.attrs["MATLAB_class"] = np.bytes_("struct")
        columns: dict[str, list[Any]] = {"content": [], "rawData": [], "word": []}
        for words, its in zip(sentences, read, strict=True):
            columns["content"].append(_put(pool, " ".join(words)).ref)
            columns["rawData"].append(_put(pool, np.zeros((N_CHANNELS, 3))).ref)
            columns["word"].append((_put(pool, np.nan) if its is None else _words(pool, its)).ref)
        for name, references in columns.items():
            data.create_dataset(name, data=np.array(references, dtype=h5py.ref_dtype)[:, None])
    with path.open("r+b") as raw:
        raw.write(HEADER)


def _words(pool: h5py.Group, entries: list[Entry]) -> h5py.Group:
    """A struct array; of one element the fields lie in it, of several they are references."""
    group = pool.create_group(f"g{len(pool)}")
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    for name in entries[0]:
        if len(entries) == 1:
            _put(group, entries[0][name], name)
            continue
        references = [_put(pool, entry[name]).ref for entry in entries]
        group.create_dataset(name, data=np.array(references, dtype=h5py.ref_dtype)[:, None])
    return group


def _put(group: h5py.Group, value: Any, name: str | None = None) -> h5py.Dataset:
    """Text as codes, numbers with their axes in reverse, empty arrays as their shape."""
    name = name or f"d{len(group)}"
    if isinstance(value, str):
        made = group.create_dataset(name, data=np.array([ord(c) for c in value], dtype=np.uint16)[:, None])
        made.attrs["MATLAB_class"] = np.bytes_("char")
        return made
    array = np.atleast_2d(np.asarray(value, dtype=np.float64))
    if not array.size:
        made = group.create_dataset(name, data=np.array(array.shape, dtype=np.uint64))
        made.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        made = group.create_dataset(name, data=array.T)
    made.attrs["MATLAB_class"] = np.bytes_("double")
    return made
