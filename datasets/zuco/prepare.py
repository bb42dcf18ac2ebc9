"""ZuCo 1.0 and 2.0: MATLAB files of EEG and gaze of thirty people who read sentences, to a trial a fixated word."""

from __future__ import annotations

import hashlib
import re
import runpy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split, large, mat5, mat5_stream, mat73, public
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.tables import complete_table
from braindec.store import open_readonly
from braindec.types import ArraySpace, Table, Trials

HERE = Path(__file__).resolve().parent
PEOPLE = (
    *("ZAB", "ZDM", "ZDN", "ZGW", "ZJM", "ZJN", "ZJS", "ZKB", "ZKH", "ZKW", "ZMG", "ZPH"),
    *("YAC", "YAG", "YAK", "YDG", "YDR", "YFR", "YFS", "YHS", "YIS", "YLS", "YMD", "YMS", "YRH", "YRK", "YRP",
      "YSD", "YSL", "YTL"),
)  # fmt: skip
SUBJECTS = tuple(range(1, len(PEOPLE) + 1))
FILE = re.compile(r"results(?P<person>[YZ][A-Z]{2})_(?P<task>SR|NR|TSR)\.mat")
SENTENCES = {"Z": {"SR": 400, "NR": 300, "TSR": 407}, "Y": {"NR": 349, "TSR": 390}}
BANDS = ("t1", "t2", "a1", "a2", "b1", "b2", "g1", "g2")
MEASURES = ("FFD", "SFD", "GD", "GPT", "TRT")
N_CHANNELS = 105
TESTED = 0.2  # share of the sentences
WHERE = "Get the 'Matlab files' of each task from https://osf.io/q3zws (1.0) and https://osf.io/2urht (2.0)."


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    measure : str
        Over which fixations the EEG was averaged: ``"FFD"`` first, ``"SFD"`` single, ``"GD"`` until the word was left,
        ``"GPT"`` until a word behind it was read, ``"TRT"`` all.
    tasks : tuple of str
        ``"SR"`` (1.0 alone), ``"NR"``, ``"TSR"``.
    """

    measure: str = "GD"
    tasks: tuple[str, ...] = ("SR", "NR", "TSR")

    def __post_init__(self) -> None:
        checks.one_of("measure", self.measure, MEASURES)
        for task in self.tasks:
            checks.one_of("tasks", task, ("SR", "NR", "TSR"))


@dataclass(frozen=True)
class Word:
    """A word of a sentence: `get` gives a field's numbers, none where it is empty or missing."""

    text: str
    get: Callable[[str], np.ndarray]


@dataclass
class Read:
    """What was found of one person."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    n_sentences: list[int] = field(default_factory=list)  # of each file
    n_without_words: int = 0
    n_bad: int = 0


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths of all files, wherever they lie below the raw folder."""
    there = {path.name: path for path in raw.rglob("results*.mat")}
    people = [PEOPLE[s - 1] for s in subjects]
    names = [f"results{person}_{task}.mat" for person in people for task in SENTENCES[person[0]]]
    return [there.get(name, raw / name) for name in names], WHERE


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads every file of each person, a trial for each fixated word; files lie anywhere below the raw folder.

    Where tables of labels lie there (`_labels.py`), the stimuli have the columns `sentiment` and `relation`.
    Each file is read twice, sentence by sentence: first to count what is there and what has to be left out, then for
    its EEG. Memory holds a sentence and the trials of a person, 3.4 KB each.
    """
    files = _files(raw, choice.tasks)
    there = {s: files.get(s, []) for s in SUBJECTS}
    chosen, missing = public.there(subjects, there, raw, "results*_*.mat of subject {}")
    said, words, sources = list(missing), dict[str, dict[str, Any]](), list[large.Source]()
    told = runpy.run_path(str(HERE / "_labels.py"))
    labels, tables = told["labels"](raw)
    texts: dict[str, set[str]] = {}
    for s, own in chosen.items():
        read = _read(own, choice.measure)
        for row in read.rows:
            texts.setdefault(row["run"], set()).add(row["sentence"])
        said += _said(own, s, read, choice.tasks)
        words |= {row["stimulus_id"]: row for row in read.rows}
        trials = partial(_trials, tuple(own), s, choice.measure, _table(read.rows))
        sources.append(large.Source(f"sub-{s:02d}_eeg", (*own, *tables), trials))
    said += told["said"](labels, texts)
    stimuli = {c: [row[c] for row in words.values()] for c in ("word", "concept", "sentence", "word_index")}
    for column, known in labels.items():
        stimuli[column] = [known.get(told["plain"](text), "") for text in stimuli["sentence"]]
    return large.Whole(
        name="zuco",
        licence="CC BY 4.0",
        source="Hollenstein et al. 2018, doi:10.1038/sdata.2018.291; 2020, arXiv:1912.00903",
        raw=raw,
        sources=tuple(sources),
        pictures=large.Pictures(tuple(words), Table(stimuli)),
        splits=_splits,
        notes={
            "people": {f"sub-{s:02d}": PEOPLE[s - 1] for s in chosen},
            "measure": choice.measure,
            "transductive": "ICA by each recording's own samples, without labels",
            "epochs": {"whitened_on": "none", "ica_fitted_on": "all_unlabelled", "z_scored_on": "none"},
            "features": {"selected_on": "none", "aligned_on": "none"},
        },
        settings={"measure": choice.measure, "tasks": list(choice.tasks)},
        missing=tuple(said),
    )


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 13),
    n_sentences: int = 9,
    noise: float = 0.5,
    sentiment: float | None = None,
) -> Truth:
    """A few sentences, read by people of 1.0 (MATLAB 5) and of 2.0 (7.3), with a pattern of band power a word.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
        1 to 12 are of 1.0, 13 to 30 of 2.0.
    n_sentences : int
        Of each task; NR and TSR share one.
    noise : float
        SD over that of the patterns.
    sentiment : float, optional
        How strongly the EEG of each word leans to its sentence's sentiment (-1, 0, 1), over the patterns' SD: English
        sentences of SR and TSR alone (`_labelled.py`), with tables of sentiments, and of relations that no EEG carries.

    Returns
    -------
    Truth
        Responses and columns as `prepare` should give; with `sentiment`, ``details["labels"]`` of each task's texts.
    """
    if sentiment is not None:
        world: Truth = runpy.run_path(str(HERE / "_labelled.py"))["synthetic"](
            Path(raw), seed, {s: PEOPLE[s - 1] for s in subjects}, n_sentences, noise, sentiment
        )
        return world
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        Path(raw), seed, {s: PEOPLE[s - 1] for s in subjects}, n_sentences, noise
    )
    return made


def _files(raw: Path, tasks: Sequence[str]) -> dict[int, list[Path]]:
    """Each person's files, in the order of `tasks`."""
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(raw.rglob("results*_*.mat")):
        match = FILE.fullmatch(path.name)
        if match is None or match["person"] not in PEOPLE or match["task"] not in tasks:
            continue
        mine = found.setdefault(PEOPLE.index(match["person"]) + 1, {})
        if match["task"] in mine:
            raise checks.DataFileError(path, f"has the name of {mine[match['task']]}", "Keep one of the two.")
        mine[match["task"]] = path
    return {s: [mine[t] for t in tasks if t in mine] for s, mine in found.items()}


def _task(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _said(files: Sequence[Path], subject: int, read: Read, tasks: Sequence[str]) -> list[str]:
    expected = SENTENCES[PEOPLE[subject - 1][0]]
    said = []
    lacking = [t for t in tasks if t in expected and t not in {_task(path) for path in files}]
    if lacking:
        said.append(f"sub-{subject:02d}: no file of {', '.join(lacking)}.")
    for path, n in zip(files, read.n_sentences, strict=True):
        if n != expected.get(_task(path), n):
            said.append(f"{path.name}: {n} of {expected[_task(path)]} sentences.")
    if read.n_without_words:
        said.append(f"sub-{subject:02d}: {read.n_without_words} sentences without data of words.")
    if read.n_bad:
        said.append(f"sub-{subject:02d}: {read.n_bad} fixated words without finite EEG left out.")
    return said


def _is_hdf5(path: Path) -> bool:
    with reading(path):
        return bool(h5py.is_hdf5(path))


def _sentences(path: Path, measure: str) -> Iterator[tuple[str, list[Word] | None]]:
    """Text and words of each sentence of a file, one at a time; None where its words hold no data."""
    if _is_hdf5(path):
        with reading(path), open_readonly(path) as file:
            data = file.get("sentenceData")
            contents, words = (mat73.elements(path, data, name) for name in ("content", "word"))
            for content, group in zip(contents, words, strict=True):
                yield mat73.text(content), _words_73(path, group)
        return
    bands = (f"{measure}_{band}" for band in BANDS)
    asked = dict.fromkeys(("content", "nFixations", *MEASURES, *bands))
    for sentence in mat5_stream.elements(path, "sentenceData", {"content": None, "word": asked}):
        words_5 = _words_5(path, mat5.field(path, sentence, "word"))
        yield mat5.field(path, sentence, "content") or "", words_5


def _words_5(path: Path, words: list[dict[str, Any]] | None) -> list[Word] | None:
    if not words or not all("nFixations" in word for word in words):
        return None

    def get(word: dict[str, Any], name: str) -> np.ndarray:
        value = word.get(name)
        return value if isinstance(value, np.ndarray) else np.empty(0)

    return [Word(mat5.field(path, word, "content") or "", partial(get, word)) for word in words]


def _words_73(path: Path, group: Any) -> list[Word] | None:
    if not isinstance(group, h5py.Group) or "nFixations" not in group:
        return None
    fields: dict[str, list[Any]] = {}

    def get(i: int, name: str) -> np.ndarray:
        if name not in fields:
            fields[name] = mat73.elements(path, group, name) if name in group else []
        return mat73.values(fields[name][i]) if fields[name] else np.empty(0)

    return [
        Word(mat73.text(content), partial(get, i))
        for i, content in enumerate(mat73.elements(path, group, "content"))
    ]


def sentence_id(text: str) -> str:
    """The same sentence has the same id in every task and person."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:10]


def _read(files: Sequence[Path], measure: str) -> Read:
    """All fixated words of one person with finite EEG."""
    found = Read()
    for path in files:
        found.n_sentences.append(0)
        for text, words in _sentences(path, measure):
            found.n_sentences[-1] += 1
            found.n_without_words += words is None
            for i, word in enumerate(words or []):
                n_fixations = word.get("nFixations")
                if len(n_fixations) and n_fixations[0] > 0:
                    _take(found, word, i, text, n_fixations[0], _task(path), measure)
    if not found.rows:
        raise checks.DataFileError(files[0], "holds no fixated word with EEG", COPY_AGAIN)
    return found


def _take(
    found: Read, word: Word, place: int, text: str, n_fixations: float, task: str, measure: str
) -> None:
    bands = [word.get(f"{measure}_{band}") for band in BANDS]
    if any(len(band) != N_CHANNELS or not np.isfinite(band).all() for band in bands):
        found.n_bad += 1
        return
    key = sentence_id(text)
    row: dict[str, Any] = {
        "stimulus_id": f"{key}-{place:03d}", "word": word.text, "word_index": place, "concept": key,
        "sentence": text, "run": task, "n_fixations": n_fixations,
    }  # fmt: skip
    for name in MEASURES:
        value = word.get(name)
        row[name.lower()] = float(value[0]) if len(value) else np.nan
    found.rows.append(row)
    found.features.append(np.concatenate(bands).astype(np.float32))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "sentence"}
    columns |= {"onset_s": np.zeros(len(rows)), "acquisition_order": np.full(len(rows), -1)}
    return complete_table(columns, "1")


class _Features:
    """Band power of a person's words, float32 (n_trials, 840), read from the files when rows are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, files: tuple[Path, ...], measure: str, n_trials: int):
        self._files, self._measure = files, measure
        self.shape = (n_trials, len(BANDS) * N_CHANNELS)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self._values[rows])

    @cached_property
    def _values(self) -> np.ndarray:
        features = _read(self._files, self._measure).features
        if len(features) != len(self):
            found = f"holds {len(features)} fixated words, {len(self)} before"
            raise checks.DataFileError(
                self._files[0], found, "Leave the files as they are while they are read."
            )
        return np.stack(features)

    def __len__(self) -> int:
        return self.shape[0]


def _trials(files: tuple[Path, ...], subject: int, measure: str, table: Table) -> Trials:
    """A person's words: band after band, 105 channels each."""
    of = np.repeat(BANDS, N_CHANNELS)
    space = ArraySpace(len(of), {band: of == band for band in BANDS})
    responses = _Features(files, measure, table.n_rows)
    return Trials(responses, table, space, "as distributed", subject, "eeg")


def _splits(dataset: NeuralDataset) -> list[Split]:
    """A fifth of the sentences are tested, the same for every person and task; which, only their text decides."""
    sentences = sorted(dataset.unit_values("concept"), key=_draw)
    n_tested = max(1, sum(_draw(s) < TESTED for s in sentences))
    parts = {"train": tuple(sentences[n_tested:]), "test": tuple(sentences[:n_tested])}
    return [Split("default", "concept", parts)] if all(parts.values()) else []


def _draw(sentence: str) -> float:
    """A number in [0, 1) that only the sentence decides."""
    return int(hashlib.sha256(sentence.encode()).hexdigest()[:12], 16) / 16**12
