"""A planted world in ZuCo's files: words' EEG carries the sentence's sentiment weakly, and its relation not at all."""

from __future__ import annotations

import csv
import hashlib
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data.catalogue import Truth

MADE = runpy.run_path(str(Path(__file__).resolve().parent / "_synthetic.py"))
BANDS, MEASURES, N_CHANNELS = MADE["BANDS"], MADE["MEASURES"], MADE["N_CHANNELS"]
# All of six letters, so that the length of a word tells nothing.
FILLERS = ("people", "street", "garden", "window", "almost", "during", "family", "number", "public", "school",
           "season", "simple", "summer", "toward", "travel", "winter", "worker", "market", "letter",
           "always")  # fmt: skip
SENTIMENT = {
    "-1": ("boring", "clumsy", "stupid", "shoddy"),
    "0": ("recent", "double", "second", "common"),
    "1": ("superb", "lovely", "moving", "joyful"),
}
RELATION = {
    "AWARD": ("trophy", "medals", "prizes", "honour"),
    "BIRTH": ("native", "infant", "origin", "cradle"),
    "WIFE": ("spouse", "bridal", "fiancé", "couple"),
}
N_FILLERS, N_TOLD = 5, 2  # words of a sentence, and those of its class among them
CONSISTENT = 0.75  # of the words of a class; others are drawn from all classes
SKIPPED = 0.15


def synthetic(
    raw: Path, seed: int, people: dict[int, str], n_sentences: int, noise: float, strength: float
) -> Truth:
    """See prepare.py. A word has its own pattern; words of relations share one, so that EEG knows none from another."""
    rng = seeding.numpy_generator(seed, "zuco", "labelled")
    tasks = {"SR": _sentences(rng, n_sentences, SENTIMENT), "TSR": _sentences(rng, n_sentences, RELATION)}
    direction = rng.standard_normal(len(BANDS) * N_CHANNELS)
    for subject, person in people.items():
        mine = seeding.numpy_generator(seed, "zuco", "labelled", subject)
        for task, sentences in tasks.items():
            if task not in MADE["TASKS"][person[0]]:
                continue
            lean = strength if task == "SR" else 0.0
            read = [_read(mine, words, lean * float(c) * direction if lean else 0.0 * direction, noise)
                    for words, c in sentences]  # fmt: skip
            folder = raw / f"task-{task}" / "Matlab files"
            folder.mkdir(parents=True, exist_ok=True)
            write = MADE["_write_5"] if person[0] == "Z" else MADE["_write_73"]
            write(folder / f"results{person}_{task}.mat", [words for words, _ in sentences], read)
    _write(raw, tasks)
    labels = {task: {" ".join(words): c for words, c in made} for task, made in tasks.items()}
    return Truth({}, {}, {"labels": labels, "direction": direction})


def _sentences(
    rng: np.random.Generator, n: int, classes: Mapping[str, tuple[str, ...]]
) -> list[tuple[list[str], str]]:
    """Different sentences and their classes, in turn."""
    made: dict[str, tuple[list[str], str]] = {}
    every = sum(classes.values(), ())
    while len(made) < n:
        own = list(classes)[len(made) % len(classes)]
        told = [str(rng.choice(classes[own] if rng.random() < CONSISTENT else every)) for _ in range(N_TOLD)]
        words = [*rng.choice(FILLERS, N_FILLERS, replace=False).tolist(), *told]
        words = [words[i] for i in rng.permutation(len(words))]
        made.setdefault(" ".join(words), (words, own))
    return [made[text] for text in made]


def _read(rng: np.random.Generator, words: list[str], lean: np.ndarray, noise: float) -> list[dict[str, Any]]:
    skipped = rng.random(len(words)) < SKIPPED
    skipped[rng.integers(len(words))] = False
    entries = []
    for word, nothing in zip(words, skipped, strict=True):
        entry: dict[str, Any] = {"content": word, "rawEEG": np.empty((0, 0))}
        entry["nFixations"] = np.empty((0, 0)) if nothing else float(rng.integers(1, 4))
        entry |= {m: np.empty((0, 0)) if nothing else float(rng.integers(40, 200)) for m in MEASURES}
        x = (_pattern(word) + lean + noise * rng.standard_normal(lean.shape)).reshape(len(BANDS), N_CHANNELS)
        entry |= {f"GD_{b}": np.empty((0, 0)) if nothing else x[i][:, None] for i, b in enumerate(BANDS)}
        entries.append(entry)
    return entries


def _pattern(word: str) -> np.ndarray:
    """A word's own; one for all words of sentiments and relations, whatever they mean."""
    told = any(word in some for classes in (SENTIMENT, RELATION) for some in classes.values())
    digest = int(hashlib.sha256(b"told" if told else word.encode()).hexdigest()[:8], 16)
    return np.random.default_rng(digest).standard_normal(len(BANDS) * N_CHANNELS)


def _write(raw: Path, tasks: dict[str, list[tuple[list[str], str]]]) -> None:
    """Tables as published: a remark in the second line of the one, a cell more than named in rows of the other."""
    folder = raw / "task_materials"
    folder.mkdir(parents=True, exist_ok=True)
    heads = {
        "sentiment_labels_task1.csv": ("sentence_id", "sentence", "control", "sentiment_label"),
        "relations_labels_task3.csv": ("sentence_id", "sentence", "relation-type"),
    }
    for (name, head), (task, made) in zip(heads.items(), tasks.items(), strict=True):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, delimiter=";")
            table.writerow(head)
            if task == "SR":
                file.write("#ids count from 1;;;\n")
            for i, (words, c) in enumerate(made, 1):
                table.writerow([i, " ".join(words), "", c] if task == "SR" else [0, i, " ".join(words), c])
