"""Questions answered from brains: exact answers about held-out pictures, beside what the wording alone gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.data.simulated.questions import ANSWERS, KINDS, Question, ask
from braindec.data.simulated.scenes import caption, render_all, sample_unique_scenes, scenes_of
from braindec.data.splits import Split
from braindec.evaluate.captioned import Predict, training_captions
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.pictures import render
from braindec.evaluate.scoring import Judged, scores_of
from braindec.stats.intervals import proportion_interval
from braindec.stats.paired import paired_difference
from braindec.targets import ImageTarget
from braindec.types import Embeddings, Score

METRIC = "answers_right"
ROWS = {
    "braindec": "from the brain",
    "shuffled": "from shuffled pairs",
    "mean": "from wording alone",
    "oracle": "from the true picture",
}
CONTROLS = ("shuffled", "mean")
TAUGHT = (
    "The language model also learnt from further scenes of the same world that no brain saw, as a pretrained one knows "
    "pictures: its words are those of this world, and its answers say nothing about language models of photographs."
)
MIN_OF_A_KIND = 2  # pictures; an interval takes two
Panel = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Exams:
    """Questions about the stimuli of a dataset.

    Parameters
    ----------
    train, test : mapping of str to tuple of Question
        By stimulus.
    """

    train: Mapping[str, tuple[Question, ...]]
    test: Mapping[str, tuple[Question, ...]]


@dataclass(frozen=True, eq=False)
class Lessons:
    """Captions of further pictures, and questions about them with their answers.

    Parameters
    ----------
    embeddings : float32 array, shape (n, n_tokens, dim)
        Of the picture of each row.
    texts : tuple of str, length n
        Captions, and answers.
    questions : tuple of str, length n
        Empty before a caption.
    """

    embeddings: np.ndarray
    texts: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Answered:
    """Answers about test stimuli by signal key, and what they are worth.

    Parameters
    ----------
    ids : mapping of str to tuple of str
        The picture of each question, by signal key.
    questions : mapping of str to tuple of Question
    texts : mapping of str to mapping of str to tuple of str
        Answers by signal key and system (`ROWS`).
    hits : mapping of str to mapping of str to ndarray of float, shape (n_questions,)
        1 where the answer is the true one.
    scores : tuple of Score
    comparisons : tuple of dict
        Paired differences to the controls, over pictures.
    """

    ids: Mapping[str, tuple[str, ...]]
    questions: Mapping[str, tuple[Question, ...]]
    texts: Mapping[str, Mapping[str, tuple[str, ...]]]
    hits: Mapping[str, Mapping[str, np.ndarray]]
    scores: tuple[Score, ...]
    comparisons: tuple[dict[str, Any], ...]


def exams(data_dir: str | Path, dataset: NeuralDataset, seed: int, kinds: Sequence[str] = KINDS) -> Exams:
    """Questions about training and test stimuli of a simulated world.

    Parameters
    ----------
    data_dir : path
        Prepared, with ``scenes.json``.
    dataset : NeuralDataset
        With the split in use.
    kinds : sequence of str
        Of `data.simulated.questions.ANSWERS`.
    """
    parts = _split(dataset).parts
    scenes = dict(zip(dataset.stimuli.ids, scenes_of(data_dir), strict=True))

    def of(part: str) -> dict[str, tuple[Question, ...]]:
        ids = sorted(parts[part])
        asked: dict[str, list[Question]] = {i: [] for i in ids}
        for q in ask([scenes[i] for i in ids], seeding.numpy_generator(seed, "questions", part), kinds):
            asked[ids[q.scene]].append(q)
        return {i: tuple(some) for i, some in asked.items()}

    return Exams(of("train"), of("test"))


def _split(dataset: NeuralDataset) -> Split:
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    return dataset.split


def lessons(
    n: int,
    target: ImageTarget,
    data_dir: str | Path,
    dataset: NeuralDataset,
    seed: int,
    kinds: Sequence[str] = KINDS,
) -> Lessons:
    """Further pictures, drawn anew, for a language model that needs no brain to learn what pictures show.

    It stands for one that was pretrained on pictures. Scenes that equal a held-out one in all named factors are left
    out, and equal seeds draw equal lessons.

    Parameters
    ----------
    n : int
        Scenes.
    target : ImageTarget
        Embeds their pictures: the recipe's own.
    data_dir : path
        Prepared, with ``scenes.json``.
    dataset : NeuralDataset
        With the split in use.
    kinds : sequence of str
        Of `data.simulated.questions.ANSWERS`.
    """
    held = {i for part, ids in _split(dataset).parts.items() if part != "train" for i in ids}
    known = dict(zip(dataset.stimuli.ids, scenes_of(data_dir), strict=True))
    draw = seeding.numpy_generator(seed, "lessons")
    drawn = sample_unique_scenes(n, draw, exclude=[scene for i, scene in known.items() if i in held])
    values = np.asarray(target.embed_images(render_all(drawn)), np.float32)
    some = ask(drawn, draw, kinds)
    rows = np.array([*range(n), *(q.scene for q in some)])
    return Lessons(
        values[rows],
        (*(caption(scene) for scene in drawn), *(q.answer for q in some)),
        ("",) * n + tuple(q.text for q in some),
    )


def answerer_of(
    config: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    asked: Exams,
    seed: int,
    more: Lessons | None = None,
) -> Any:
    """A captioner that answers too: `prefix` learns both from training stimuli, others bring it from their folder.

    Parameters
    ----------
    config : captioners.<member>.Config
    dataset : NeuralDataset
        With the split in use, and captions.
    embeddings : Embeddings
        Of all stimuli, in the captioner's space.
    asked : Exams
        Only questions about training stimuli are looked at.
    more : Lessons, optional
        What `prefix` learns besides, of pictures that no brain saw.
    """
    kind, name = registry.name_of(config)
    checks.one_of("kind of the captioner", kind, ("captioners",))
    module = registry.load(kind, name)
    if name != "prefix":
        made = module.build(config)
        checks.same_space(
            "captioner", made.space, embeddings.space, "Give the captioner the target's own folder."
        )
        return made
    ids, texts = training_captions(dataset)
    questions = [""] * len(ids)
    for i, some in asked.train.items():
        ids, texts = [*ids, *[i] * len(some)], [*texts, *(q.answer for q in some)]
        questions += [q.text for q in some]
    draw = seeding.torch_generator(seed, "captioner")
    values = embeddings.of(ids)
    if more is not None:
        values = np.concatenate([values, more.embeddings])
        texts, questions = [*texts, *more.texts], [*questions, *more.questions]
    return module.build(config, values, texts, embeddings.space, questions=questions, generator=draw)


def answered(
    predict: Predict,
    nulls: Sequence[Predict],
    asked: Exams,
    captioner: Any,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    n_most: int | None = None,
) -> Answered:
    """Answers about every subject's test stimuli; an answer is right when it is the true one, word for word.

    Parameters
    ----------
    predict, nulls, dataset, embeddings, n_most
        As of `captioned.captioned`.
    asked : Exams
    captioner : Captioner
        One that answers.
    recipe : Recipe
        Its protocol and seed.

    Returns
    -------
    Answered
        Several questions of a picture are no independent ones: n counts pictures, and intervals are over pictures.
    """
    checks.at_least("number of nulls", len(nulls), 1)
    test, training = dataset.part("test"), dataset.part("train")
    ids, questions, texts, hits, null = {}, {}, {}, {}, {}
    for key in test.keys:
        shown = sorted(set(test.trials[key].table["stimulus_id"].tolist()))[:n_most]
        rows = np.array([row for row, i in enumerate(shown) for _ in asked.test[i]])
        some = tuple(q for i in shown for q in asked.test[i])
        own = sorted(set(training.trials[key].table["stimulus_id"].tolist()))
        mean = np.repeat(embeddings.of(own).mean(0)[None], len(shown), axis=0)
        said = [
            captioner.answer(
                np.asarray(values)[rows], [q.text for q in some],
                generator=seeding.torch_generator(recipe.seed, "answer"),
            )
            for values in (
                predict(key, shown), *(one(key, shown) for one in nulls), mean, embeddings.of(shown)
            )
        ]  # fmt: skip
        right = [
            np.array([float(a.lower() == q.answer) for a, q in zip(answers, some, strict=True)])
            for answers in said
        ]
        last = {"mean": -2, "oracle": -1}
        picked = {"braindec": 0, "shuffled": 1, **last}
        ids[key], questions[key] = tuple(shown[row] for row in rows), some
        texts[key] = {name: said[i] for name, i in picked.items()}
        hits[key] = {name: right[i] for name, i in picked.items()}
        null[key] = {METRIC: np.array([found.mean() for found in right[1:-2]])}
    return Answered(
        ids, questions, texts, hits, tuple(_scores(ids, questions, hits, null, recipe)),
        tuple(_comparisons(ids, hits, recipe.seed)),
    )  # fmt: skip


def _scores(
    ids: Mapping[str, tuple[str, ...]],
    questions: Mapping[str, tuple[Question, ...]],
    hits: Mapping[str, Mapping[str, np.ndarray]],
    null: Mapping[str, Mapping[str, np.ndarray]],
    recipe: Any,
) -> list[Score]:
    protocol, rows = protocol_named(recipe.protocol), []
    names = {
        key: tuple(f"{i}: {q.text}" for i, q in zip(ids[key], questions[key], strict=True)) for key in ids
    }
    for system in ROWS:
        measured = {key: {METRIC: _measured(hits[key][system], ids[key], questions[key])} for key in ids}
        made = scores_of(Judged(system, {}, measured, null, sample_names=names), protocol)
        rows += made if system == "braindec" else [replace(row, p=None) for row in made]
    return rows


def _measured(hits: np.ndarray, pictures: Sequence[str], questions: Sequence[Question]) -> Measured:
    interval = proportion_interval(hits, units=list(pictures))
    chance = float(np.mean([q.chance for q in questions]))
    return Measured(
        METRIC, float(hits.mean()), (float(interval.low), float(interval.high)), chance, len(set(pictures)),
        "higher", hits, {"n_questions": len(hits)},
    )  # fmt: skip


def _comparisons(
    ids: Mapping[str, tuple[str, ...]], hits: Mapping[str, Mapping[str, np.ndarray]], seed: int
) -> list[dict[str, Any]]:
    found = []
    for key, systems in hits.items():
        for other in CONTROLS:
            draw = seeding.numpy_generator(seed, "paired answers", key, other)
            d = paired_difference(systems["braindec"], systems[other], draw, units=list(ids[key]))
            interval = [float(d.interval.low), float(d.interval.high)]
            found.append({"a": ROWS["braindec"], "b": ROWS[other], "metric": METRIC, "key": key,
                          "difference": d.value, "interval": interval, "p": d.p, "n": d.n})  # fmt: skip
    return found


def panels(found: Answered, n: int = 24) -> list[Panel]:
    """Shares of right answers by kind of question and system, and the first questions of each subject, not chosen."""
    columns = ["subject", "question", "pictures", "chance", *ROWS.values()]
    caption = (
        "Shares of exact answers with 95 % intervals over pictures. Wording alone is the mean embedding, which knows "
        "the question and no picture; more than from the true picture this language model cannot answer."
    )
    table = {"columns": columns, "rows": _by_kind(found), "caption": caption}
    tables: list[Panel] = [("Answers beside their controls", "table", table)]
    for key, questions in found.questions.items():
        rows = [
            [found.ids[key][i], q.text, q.answer, *(found.texts[key][name][i] for name in ROWS)]
            for i, q in enumerate(questions[:n])
        ]
        heads = ["stimulus", "question", "truth", *ROWS.values()]
        tables.append((f"{key.replace('_', ' ')}: answers", "table", {"columns": heads, "rows": rows}))
    return tables


def pictures(
    found: Answered,
    predict: Predict,
    shuffled: Predict,
    generator: Any,
    dataset: NeuralDataset,
    seed: int,
    n: int = 6,
) -> list[Panel]:
    """Presented pictures beside those drawn of the same decoded embeddings, and one question about each, by subject.

    Parameters
    ----------
    found : Answered
        By the same decoders.
    predict, shuffled : callable
        As of `captioned.captioned`.
    generator : Generator
        Draws pictures of embeddings; its noise is the same for both.
    dataset : NeuralDataset
        With the presented pictures.
    seed : int
    n : int
        The first pictures by name; the first one is asked its first question, the second its second, and so on.
    """
    made: list[Panel] = []
    for key, questions in found.questions.items():
        shown = list(dict.fromkeys(found.ids[key]))[:n]
        rows = []
        for i, one in enumerate(shown):
            own = [row for row, picture in enumerate(found.ids[key]) if picture == one]
            rows.append(own[i % len(own)])
        texts, systems = found.texts[key], {"braindec": predict, "shuffled": shuffled}
        drawn = {ROWS[name]: render(generator, one(key, shown), seed) for name, one in systems.items()}
        payload = {
            "rows": {"presented": dataset.stimuli.images(shown)} | drawn,
            "notes": {"presented": [f"{questions[row].text} {questions[row].answer}" for row in rows]}
            | {ROWS[name]: [texts[name][row] for row in rows] for name in systems},
            "captions": shown,
            "caption": "The first test pictures by name, not chosen: pictures drawn of what was decoded, and answers "
            "written of it.",
        }
        made.append((f"{key.replace('_', ' ')}: drawn and answered", "image_grid", payload))
    return made


def _by_kind(found: Answered) -> list[list[str]]:
    cells = []
    for key, questions in found.questions.items():
        kinds = np.array([q.kind for q in questions])
        for kind in ("all", *(k for k in ANSWERS if k in kinds)):
            rows = np.flatnonzero((kinds == kind) | (kind == "all"))
            pictures = [found.ids[key][i] for i in rows]
            if len(set(pictures)) < MIN_OF_A_KIND:
                continue
            chance = float(np.mean([questions[i].chance for i in rows]))
            shares = []
            for name in ROWS:
                hits = found.hits[key][name][rows]
                ends = proportion_interval(hits, units=pictures)
                shares.append(f"{hits.mean():.2f} [{ends.low:.2f}, {ends.high:.2f}]")
            cells.append([key.replace("_", " "), kind, str(len(set(pictures))), f"{chance:.2f}", *shares])
    return cells
