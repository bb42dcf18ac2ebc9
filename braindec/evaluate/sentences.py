"""Sentences as sequences of words that were read: what a person's EEG was at each, dealt into folds by their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.stats.permutation import permute_within_blocks
from braindec.types import Table

# What the eye did at a word, and which word it was: columns of the trials, beside the word's length.
EYE = ("n_fixations", "ffd", "sfd", "gd", "gpt", "trt", "word_index")
NUISANCES = (*EYE, "word_length", "words_read")
NONE = -1  # in `Sentences.rows` where a sentence has no further word


@dataclass(frozen=True, eq=False)
class Sentences:
    """Readings of labelled sentences, a trial for each time that a person read one.

    Parameters
    ----------
    words : float tensor, shape (n_words, n_features)
        EEG of every fixated word of every trial.
    nuisance : float tensor, shape (n_words, 9)
        `NUISANCES` of the same words; what is missing is 0.
    rows : int tensor, shape (n_trials, n_most)
        Rows of `words` in the order of the sentence, `NONE` behind the last one.
    person, sentence : arrays of str, shape (n_trials,)
        Key of the subject, id of the sentence (the same for all who read it).
    label : int array, shape (n_trials,)
        Into `classes`.
    classes : tuple of str
    texts : mapping of str to str
        By id of the sentence.
    """

    words: Tensor
    nuisance: Tensor
    rows: Tensor
    person: np.ndarray
    sentence: np.ndarray
    label: np.ndarray
    classes: tuple[str, ...]
    texts: Mapping[str, str]

    @property
    def n_sentences(self) -> int:
        """Different sentences."""
        return len(self.texts)


def sentences(
    dataset: NeuralDataset, run: str | Sequence[str], column: str, *, n_most: int = 64
) -> Sentences:
    """Readings of the sentences of some runs that have a label.

    Parameters
    ----------
    dataset : NeuralDataset
        A trial a word, in the order of reading, as datasets/zuco prepares it.
    run : str or sequence of str
        Tasks of reading (``"SR"``).
    column : str
        Of the stimuli, with labels; empty where there is none. A class of one sentence is left out.
    n_most : int
        Words after which a sentence is cut.

    Raises
    ------
    ValueError
        If the stimuli have no such column, or fewer than two classes are left.
    """
    table = _table(dataset, column)
    runs = {run} if isinstance(run, str) else set(run)
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    words: list[np.ndarray] = []
    nuisance, groups, person, sentence, label = [], [], [], [], []
    texts: dict[str, str] = {}
    for key, trials in dataset.trials.items():
        own = np.array([row[i] for i in trials.table["stimulus_id"]])
        labels = np.asarray(table[column])[own].astype(str)
        kept = np.flatnonzero(np.isin(trials.table["run"].astype(str), sorted(runs)) & (labels != ""))
        start = sum(len(some) for some in words)
        words.append(np.asarray(trials.responses[:], np.float32)[kept])
        of = _readings(trials.table)[kept]
        nuisance.append(_nuisance(trials.table, kept, of))
        concept = trials.table["concept"].astype(str)
        for reading in np.unique(of):
            mine = np.flatnonzero(of == reading)
            groups.append((start + mine)[:n_most])
            first = kept[mine[0]]
            person.append(key)
            sentence.append(concept[first])
            label.append(labels[first])
            texts[concept[first]] = str(np.asarray(table["sentence"])[own[first]])
    return _complete(
        words, nuisance, groups, np.array(person), np.array(sentence), np.array(label), texts, column
    )


def _table(dataset: NeuralDataset, column: str) -> Table:
    table = dataset.stimuli.table
    columns = [] if table is None else list(table)
    if table is None or column not in columns:
        raise ValueError(
            f"the stimuli of {dataset.name!r} have no column {column!r}; they have {columns}. "
            "Put the dataset's tables of labels beside its files, and prepare it again."
        )
    return table


def _complete(
    words: list[np.ndarray],
    nuisance: list[np.ndarray],
    groups: list[np.ndarray],
    person: np.ndarray,
    sentence: np.ndarray,
    label: np.ndarray,
    texts: Mapping[str, str],
    column: str,
) -> Sentences:
    of = dict(zip(sentence.tolist(), label.tolist(), strict=True))
    counts = {c: sum(known == c for known in of.values()) for c in set(of.values())}
    classes = tuple(sorted(c for c, n in counts.items() if n > 1))
    if len(classes) < 2:
        raise ValueError(
            f"{column} has {len(classes)} classes with two sentences or more; at least 2 are needed."
        )
    kept = np.flatnonzero(np.isin(label, classes))
    rows = torch.full((len(kept), max(len(groups[i]) for i in kept)), NONE)
    for at, i in enumerate(kept):
        rows[at, : len(groups[i])] = torch.from_numpy(groups[i])
    numbers = np.searchsorted(classes, label[kept])
    left = {i: text for i, text in texts.items() if of[i] in classes}
    x, z = (torch.from_numpy(np.concatenate(parts)).float() for parts in (words, nuisance))
    return Sentences(x, z, rows, person[kept], sentence[kept], numbers, classes, left)


def _readings(table: Table) -> np.ndarray:
    """Number of the reading of each word, int (n_words,): a new one where the task or the sentence changes, or where
    words do not go on but start again, for a sentence can be read twice in one task.
    """
    run, concept, place = (np.asarray(table[name]) for name in ("run", "concept", "word_index"))
    same = (run[1:] == run[:-1]) & (concept[1:] == concept[:-1]) & (place[1:] > place[:-1])
    return np.cumsum(np.r_[True, ~same][: len(place)])


def _nuisance(table: Any, kept: np.ndarray, of: np.ndarray) -> np.ndarray:
    """(n_words, 9) of `NUISANCES`; `of` numbers the readings."""
    columns = [np.asarray(table[name], float)[kept] for name in EYE]
    columns.append(np.array([len(str(word)) for word in table["word"][kept]], float))
    number, counts = np.unique(of, return_inverse=True, return_counts=True)[1:]
    columns.append(counts[number].astype(float) if len(of) else np.empty(0))
    return np.nan_to_num(np.stack(columns, 1)).astype(np.float32)


def folds(found: Sentences, n_folds: int, seed: int) -> np.ndarray:
    """The fold of each trial, int (n_trials,): by sentence, whoever read it, classes in about equal shares.

    Raises
    ------
    ValueError
        If there are fewer sentences than folds.
    """
    checks.in_range("n_folds", n_folds, 2, found.n_sentences)
    draw = seeding.numpy_generator(seed, "sentences", "folds")
    of = dict(zip(found.sentence.tolist(), found.label.tolist(), strict=True))
    dealt: list[str] = []
    for number in range(len(found.classes)):
        dealt += draw.permutation(sorted(i for i, c in of.items() if c == number)).tolist()
    place = {i: at % n_folds for at, i in enumerate(dealt)}
    return np.array([place[i] for i in found.sentence])


def standardised(found: Sentences, train: np.ndarray) -> Sentences:
    """Words at mean 0 and SD 1, person by person and feature by feature, over the words of training trials.

    Parameters
    ----------
    found : Sentences
    train : bool array, shape (n_trials,)
        Every person must have a training trial.
    """
    words, nuisance = found.words.clone(), found.nuisance.clone()
    for person in np.unique(found.person):
        mine = found.person == person
        told = _rows_of(found, mine & train)
        checks.at_least(f"number of training words of {person}", len(told), 2)
        every = _rows_of(found, mine)
        for values in (words, nuisance):
            mean, sd = values[told].mean(0), values[told].std(0)
            values[every] = (values[every] - mean) / torch.where(sd > 0, sd, 1.0)
    return replace(found, words=words, nuisance=nuisance)


def noise(found: Sentences, seed: int) -> Sentences:
    """Normal noise in the place of every word's EEG: who read how many words is all that is left."""
    generator = seeding.torch_generator(seed, "sentences", "noise")
    return replace(found, words=torch.randn(found.words.shape, generator=generator))


def nuisance_alone(found: Sentences) -> Sentences:
    """What the eye did, and the length and place of words, in the place of their EEG."""
    return replace(found, words=found.nuisance)


def shuffled(found: Sentences, train: np.ndarray, seed: int, *purpose: object) -> Sentences:
    """Every person's training readings exchanged among that person's training sentences; test trials as they are."""
    told = np.flatnonzero(train)
    draw = seeding.numpy_generator(seed, "sentences", "shuffled", *purpose)
    rows = found.rows.clone()
    rows[told] = found.rows[told[permute_within_blocks(found.person[told], draw)]]
    return replace(found, rows=rows)


def embedded(target: Any, dataset: NeuralDataset) -> dict[str, Tensor]:
    """Texts of the dataset's sentences by a text target's config, float (dim,) by id of the sentence."""
    table = _table(dataset, "sentence")
    texts = dict(zip(table["concept"].tolist(), table["sentence"].tolist(), strict=True))
    model = registry.load(*registry.name_of(target)).build(target)
    values = torch.from_numpy(np.asarray(model.embed_text(list(texts.values())), np.float32)).flatten(1)
    return dict(zip(texts, values, strict=True))


def _rows_of(found: Sentences, trials: np.ndarray) -> Tensor:
    rows = found.rows[torch.from_numpy(trials)].flatten()
    return rows[rows != NONE]
