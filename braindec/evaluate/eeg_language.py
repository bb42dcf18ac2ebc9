"""What EEG of reading adds to the text: labels from either side and from both, and the sentence found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks, encoding, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import sentences as reading
from braindec.evaluate.sentence_alignment import Aligner, Told, fit
from braindec.evaluate.sentences import Sentences
from braindec.maths import nearest
from braindec.maths.folds import folds_by_group

# What a label is told from; of "weighed", how much the EEG counts is chosen within training sentences.
KINDS = ("eeg", "text", "both", "weighed")
SOURCES = {"braindec": "EEG", "contender": "noise", "nuisance": "eye and lengths"}
WEIGHTS = torch.linspace(0.0, 1.0, 11)  # of EEG's logarithms of probabilities beside those of the text
WAYS = ("direct", "mapped")
N_INNER = 4  # one part in so many of the training sentences chooses the weight

Source = Callable[[Sentences, np.ndarray, int], Sentences]


@dataclass(frozen=True)
class Question:
    """A label that is told, and of what readings.

    Parameters
    ----------
    runs : tuple of str
        Tasks of reading (``"SR"``).
    column : str
        Of the stimuli.
    """

    runs: tuple[str, ...]
    column: str


@dataclass(frozen=True, eq=False)
class Answers:
    """What one system said of every reading, each while its sentence was held out.

    Parameters
    ----------
    said : mapping of str to int array, shape (n_trials,)
        Classes, by `KINDS`.
    place : mapping of str to float array, shape (n_trials,)
        Share of the other held-out sentences that lie farther from the EEG than its own: ``"direct"`` in the shared
        space, ``"mapped"`` after a linear map from EEG's places to text's, fitted on training readings.
    rank : mapping of str to float array, shape (n_trials,)
        Held-out sentences that lie nearer than its own; those as near count half.
    pool : int array, shape (n_trials,)
        How many were searched.
    weight : float
        Mean of what was chosen for the EEG.
    """

    said: Mapping[str, np.ndarray]
    place: Mapping[str, np.ndarray]
    rank: Mapping[str, np.ndarray]
    pool: np.ndarray
    weight: float


@dataclass(frozen=True, eq=False)
class Judged:
    """All systems on one question.

    Parameters
    ----------
    readings : Sentences
    systems : mapping of str to Answers
        By `SOURCES`, with the main alignment.
    alignments : mapping of str to Answers
        By alignment, of EEG.
    nulls : tuple of Answers
        EEG with training readings exchanged, refitted; of the text, with training labels exchanged.
    """

    readings: Sentences
    systems: Mapping[str, Answers]
    alignments: Mapping[str, Answers]
    nulls: tuple[Answers, ...]


@dataclass(frozen=True, eq=False)
class _Given:
    """What all fits of a question share."""

    readings: Sentences
    texts: Tensor
    fold: np.ndarray
    aligner: Aligner
    seed: int
    # What the text alone says, by fold, and within training sentences: the same for all systems.
    text: dict[tuple[int, str], Tensor] = field(default_factory=dict)


def judge(
    dataset: NeuralDataset,
    places: Mapping[str, Tensor],
    question: Question,
    alignments: Mapping[str, Any],
    main: str,
    aligner: Aligner,
    *,
    beside: Sequence[str] = (),
    n_folds: int,
    n_null: int,
    seed: int,
) -> Judged:
    """Every system fitted and judged over folds of sentences.

    Parameters
    ----------
    dataset : NeuralDataset
        A trial a word; see `sentences.sentences`.
    places : mapping of str to float tensor, shape (dim,)
        Embedded text of each sentence; see `sentences.embedded`.
    question : Question
    alignments : mapping of str to losses.<member>.Config or None
    main : str
        The alignment of noise, nuisance and nulls, and of EEG where one number stands for it; chosen beforehand.
    aligner : Aligner
    beside : sequence of str
        Further alignments that EEG is judged with.
    n_folds, n_null, seed : int

    Raises
    ------
    ConfigError
        If `main` or one of `beside` is no key of `alignments`.
    """
    for name in (main, *beside):
        checks.one_of("alignment", name, tuple(alignments))
    checks.at_least("n_null", n_null, 1)
    found = reading.sentences(dataset, question.runs, question.column)
    texts = torch.stack([places[i] for i in found.sentence])
    given = _Given(found, texts, reading.folds(found, n_folds, seed), aligner, seed)
    own = {
        "braindec": lambda part, train, k: part,
        "contender": lambda part, train, k: reading.noise(part, seed + k),
        "nuisance": lambda part, train, k: reading.nuisance_alone(part),
    }
    systems = {name: _answers(given, source, alignments[main]) for name, source in own.items()}
    others = {
        name: systems["braindec"]
        if name == main
        else _answers(given, own["braindec"], alignments[name], weighed=False)
        for name in dict.fromkeys((*beside, main))
    }
    nulls = tuple(_answers(given, _exchanged(seed, i), alignments[main], null=i + 1) for i in range(n_null))
    return Judged(found, systems, others, nulls)


def judge_all(
    dataset: NeuralDataset, target: Any, questions: Mapping[str, Question], *given: Any, **told: Any
) -> dict[str, Judged]:
    """`judge` of every question, by name; `target` is a config that embeds texts, the rest are `judge`'s arguments."""
    places = reading.embedded(target, dataset)
    return {name: judge(dataset, places, question, *given, **told) for name, question in questions.items()}


def _exchanged(seed: int, i: int) -> Source:
    return lambda part, train, k: reading.shuffled(part, train, seed, i, k)


def _answers(
    given: _Given, source: Source, alignment: Any, *, weighed: bool = True, null: int = 0
) -> Answers:
    n = len(given.fold)
    said = {kind: np.zeros(n, int) for kind in KINDS}
    place, rank = ({way: np.zeros(n) for way in WAYS} for _ in range(2))
    pool, weights = np.zeros(n, int), []
    for k in range(int(given.fold.max()) + 1):
        train, test = given.fold != k, given.fold == k
        part = source(reading.standardised(given.readings, train), train, k)
        told = fit(part, given.texts, train, alignment, given.aligner, seed=given.seed + k)
        text = _text(given, k)
        weight = _weight(given, part, k, alignment) if weighed else 1.0
        weights.append(weight)
        alone = _text_of_others(given, k, null) if null else text
        sides = (told.brain, alone, told.both, text + weight * told.brain)
        for kind, values in zip(KINDS, sides, strict=True):
            said[kind][test] = values.argmax(1).numpy()
        inner = reading.folds(_only(part, train), N_INNER, given.seed)
        for way, places in _places(told, inner).items():
            found = _retrieved(places, told.text_place, given.readings.sentence[test])
            place[way][test], rank[way][test], pool[test] = found
    return Answers(said, place, rank, pool, float(np.mean(weights)))


def _text(given: _Given, k: int) -> Tensor:
    """What the text alone says of a fold."""
    if (k, "test") not in given.text:
        given.text[k, "test"] = _text_only(given, given.readings, k)
    return given.text[k, "test"]


def _text_only(given: _Given, readings: Sentences, k: int) -> Tensor:
    train = given.fold != k
    return fit(readings, given.texts, train, None, given.aligner, seed=given.seed + k, text_only=True).text


def _text_of_others(given: _Given, k: int, null: int) -> Tensor:
    """The same where training sentences exchanged their labels."""
    readings = given.readings
    told = np.unique(readings.sentence[given.fold != k])
    of = dict(zip(readings.sentence.tolist(), readings.label.tolist(), strict=True))
    other = seeding.numpy_generator(given.seed, "labels of other sentences", null, k).permutation(told)
    moved = of | {mine: of[its] for mine, its in zip(told.tolist(), other.tolist(), strict=True)}
    return _text_only(given, replace(readings, label=np.array([moved[i] for i in readings.sentence])), k)


def _weight(given: _Given, part: Sentences, k: int, alignment: Any) -> float:
    """How much EEG counts beside text: what tells the labels of some training sentences best, learned from the others.

    The smallest such weight; 0 where EEG only spoils.
    """
    train = given.fold != k
    within, texts = _only(part, train), given.texts[torch.from_numpy(train)]
    learned = reading.folds(within, N_INNER, given.seed) != 0
    common: dict[str, Any] = {"seed": given.seed + k}
    told = fit(within, texts, learned, alignment, given.aligner, **common)
    if (k, "inner") not in given.text:
        alone = fit(within, texts, learned, None, given.aligner, text_only=True, **common)
        given.text[k, "inner"] = alone.text
    labels = torch.from_numpy(within.label[~learned])
    costs = [
        float(functional.cross_entropy(given.text[k, "inner"] + w * told.brain, labels)) for w in WEIGHTS
    ]
    return float(WEIGHTS[int(np.argmin(costs))])


def _only(part: Sentences, trials: np.ndarray) -> Sentences:
    """Some trials, of the same words."""
    left = {i: part.texts[i] for i in dict.fromkeys(part.sentence[trials].tolist())}
    rows = part.rows[torch.from_numpy(trials)]
    some = {"person": part.person[trials], "sentence": part.sentence[trials], "label": part.label[trials]}
    return replace(part, rows=rows, texts=left, **some)


def _places(told: Told, inner: np.ndarray) -> dict[str, Tensor]:
    """Of the EEG, as they are and after a map to those of text that training readings were fitted with."""
    parts = folds_by_group(inner)
    mapped = encoding.fit(told.brain_train, told.text_train, folds=parts, score="r2").predict(
        told.brain_place
    )
    return dict(zip(WAYS, (told.brain_place, mapped), strict=True))


def _retrieved(brain: Tensor, text: Tensor, sentence: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Share of other sentences that lie farther than the own one, how many lie nearer, and how many there are.

    A sentence as near as the own one counts half, both ways.
    """
    ids, first, own = np.unique(sentence, return_index=True, return_inverse=True)
    checks.at_least("number of sentences of a fold", len(ids), 2, way_out="Ask for fewer folds.")
    counts = nearest.truth_ranks(brain, text[torch.from_numpy(first)], torch.from_numpy(own))
    rank = nearest.mid_ranks(*counts).numpy()
    return 1 - rank / (len(ids) - 1), rank, len(ids)
