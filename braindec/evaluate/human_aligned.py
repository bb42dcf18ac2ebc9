"""Embeddings drawn to people's judgements of what is alike: odd-one-out choices of models, and decoded from brains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.simulated import features, scenes
from braindec.evaluate import compare_geometries, compare_report, compare_sources, study
from braindec.evaluate.compare_geometries import Comparison
from braindec.evaluate.parts import Parts
from braindec.maths import nearest, odd_one_out
from braindec.maths.odd_one_out import Agreement, Judgements, Metric
from braindec.stats.intervals import t_interval, wilson
from braindec.targets._views import save_map
from braindec.types import Embeddings, Report, Score

# What the simulated people look at: weight of each kind of factor in how alike two scenes are.
LOOKED_AT = {
    "shape": 0.5, "colour": 2.0, "texture": 3.0, "size": 0.3, "place": 0.1, "number": 0.3, "background": 1.0,
    "pattern": 0.3,
}  # fmt: skip
SIZES = (
    len(scenes.SHAPES), len(scenes.COLOURS), len(scenes.TEXTURES), len(scenes.SIZES), len(scenes.PLACES),
    scenes.MAX_OBJECTS, len(scenes.BACKGROUNDS), len(scenes.PATTERNS),
)  # fmt: skip
LIMIT = (
    "These people are simulated: their choices come from weights of a scene's factors, all people have the same, and a "
    "linear map of the embedding can express most of them. What a map of real judgements gives another brain or target "
    "is not measured here. Decoded linearly, it matters little whether embeddings are mapped before decoding or "
    "after: a gain beside the space as it is says what the map is worth, not that brains hold more."
)


@dataclass(frozen=True)
class Settings:
    """What is judged, and how often everything is refitted.

    Parameters
    ----------
    n_judgements : int
        Of triplets of training stimuli, drawn at random.
    n_asked : int
        Triplets of test stimuli.
    n_people : int
        Who judge each triplet of test stimuli: their consistency is the ceiling.
    decided : float
        Inverse temperature of a choice: 0 is guessing.
    penalties : tuple of float
        Of the map, as in `odd_one_out.fit_metric`; several are chosen among by left-out training stimuli.
    n_components : int or None
        Principal axes that it weighs.
    n_null : int
        Maps fitted to judgements of permuted stimuli.
    seed : int
    """

    n_judgements: int = 8000
    n_asked: int = 3000
    n_people: int = 5
    decided: float = 0.5
    penalties: tuple[float, ...] = odd_one_out.PENALTIES
    n_components: int | None = 64
    n_null: int = 3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Aligned:
    """A map of a target's embeddings, and how it predicts judgements of stimuli that it was not fitted on.

    Parameters
    ----------
    metric, plain : Metric
        Fitted; and the space as it is, about the same mean.
    asked : Judgements
        Of test stimuli, by their rows in `ids`.
    ids : tuple of str
    people : Agreement
    scores : tuple of Score
    said : tuple of str
    """

    metric: Metric
    plain: Metric
    asked: Judgements
    ids: tuple[str, ...]
    people: Agreement
    scores: tuple[Score, ...]
    said: tuple[str, ...]

    def save(self, path: str | Path) -> Path:
        """Writes the map as a file that targets take as `aligned`."""
        return save_map(path, mean=self.metric.mean, std=self.metric.std, weight=self.metric.weight)


def simulated_people(
    folder: str | Path, dataset: NeuralDataset, settings: Settings = Settings()
) -> tuple[Judgements, Judgements]:
    """Judgements of training scenes and, several of each triplet, of test scenes, by people who see the factors.

    Parameters
    ----------
    folder : path
        Prepared folder of a simulated dataset.
    dataset : NeuralDataset
        With the split in use; rows are those of its `stimulus_ids`.
    settings : Settings
    """
    ids = list(dataset.stimulus_ids)
    number = {name: i for i, name in enumerate(dataset.stimuli.ids)}
    drawn = scenes.scenes_of(folder)
    known = features.factor_features([drawn[number[i]] for i in ids])
    weights = np.repeat(np.array(list(LOOKED_AT.values())), SIZES)
    seen = torch.from_numpy((known - known.mean(0)) * np.sqrt(weights)).double()
    generator = seeding.torch_generator(settings.seed, "human judgements")
    train, test = (_rows(dataset, part) for part in ("train", "test"))
    learnt = _triplets(train, settings.n_judgements, generator)
    asked = _triplets(test, settings.n_asked, generator).repeat_interleave(settings.n_people, 0)
    first = _judged(seen, learnt, settings.decided, generator)
    return first, _judged(seen, asked, settings.decided, generator)


def align(
    embeddings: Embeddings,
    dataset: NeuralDataset,
    learnt: Judgements,
    asked: Judgements,
    settings: Settings = Settings(),
    *,
    protocol: str = "heldout_stimuli",
    units: np.ndarray | None = None,
) -> Aligned:
    """Fits the map to judgements of training stimuli and predicts those of test stimuli.

    Parameters
    ----------
    embeddings : Embeddings
        Of the target as it is, not of unit length, one token.
    dataset : NeuralDataset
    learnt, asked : Judgements
        By rows of the dataset's `stimulus_ids`; they share no stimulus.
    settings : Settings
    protocol : str
        What the scores are filed under.
    units : array, shape (stimulus,), optional
        Concepts: a concept is not in both, and is left out as a whole where the penalty is chosen.

    Raises
    ------
    ValueError
        If a stimulus (or a concept) is in both sets of judgements.
    """
    ids = tuple(dataset.stimulus_ids)
    kinds = np.array(ids) if units is None else np.asarray(units)
    both = set(kinds[learnt.triplets.unique()]) & set(kinds[asked.triplets.unique()])
    if both:
        raise ValueError(f"{len(both)} units are in both sets of judgements, e.g. {sorted(both)[0]!r}.")
    x = torch.from_numpy(np.asarray(embeddings.of(ids), dtype=np.float64)).flatten(1)
    metric = _fitted(x, learnt, kinds, settings)
    plain = odd_one_out.fit_metric(x, learnt, float("inf"))
    nulls = []
    for i in range(settings.n_null):
        wrong = learnt.renamed(_permutation(learnt, len(ids), settings.seed, i))
        nulls.append(float(odd_one_out.right(_fitted(x, wrong, kinds, settings).apply(x), asked).mean()))
    people = odd_one_out.agreement(asked)
    found, said = [], []
    unit = x / x.norm(dim=1, keepdim=True)
    spaces = {"mapped": metric.apply(x), "as it is": plain.apply(x), "its cosines": unit}
    made = {name: _value(z, asked) for name, z in spaces.items()}
    beside: dict[str, Any] = {f"of_{name.replace(' ', '_')}": value for name, (value, _) in made.items()}
    for score in study.scores(
        "odd_one_out", *made["mapped"], nulls, _n_stimuli(asked), chance=1 / 3, subject="simulated",
        protocol=protocol, penalty=str(metric.penalty), **beside,
    ):  # fmt: skip
        found.append(_with_ceiling(score, people))
    said.append(
        f"The mapped space chooses as people do in {made['mapped'][0]:.3f} of {len(asked)} judgements of "
        f"{_n_stimuli(asked)} new stimuli, as it is in {made['as it is'][0]:.3f}, by its cosines in "
        f"{made['its cosines'][0]:.3f} (chance 0.333; fitted to judgements of permuted stimuli {np.mean(nulls):.3f}; "
        f"the best predictor of these people reaches {people.lower:.3f} to {people.upper:.3f})."
    )
    said.append(_gain("Mapped less as it is", *_value(spaces["mapped"], asked, spaces["as it is"])))
    return Aligned(metric, plain, asked, ids, people, tuple(found), tuple(said))


def from_brains(
    aligned: Aligned,
    parts: Parts,
    nulls: Sequence[Parts],
    embeddings: Mapping[str, Embeddings],
    dataset: NeuralDataset,
    *,
    protocol: str = "heldout_stimuli",
) -> tuple[list[Score], list[str], dict[str, Any]]:
    """People's choices predicted from what is decoded of each brain, in either space, and stimuli found there.

    Parameters
    ----------
    aligned : Aligned
    parts, nulls : Parts
        Of ``"as it is"`` and ``"mapped"``.
    embeddings : mapping of str to Embeddings
        True ones, of both.
    dataset : NeuralDataset
    protocol : str

    Returns
    -------
    tuple of (list of Score, list of str, dict)
        Scores; what was found in words; and the payload of a figure.
    """
    found: list[Score] = []
    gains: list[str] = []
    values: dict[str, list[float]] = {}
    test = sorted(set(dataset.part("test").stimulus_ids))
    for key, trials in dataset.part("test").trials.items():
        shared: dict[str, Any] = {
            "subject": trials.subject,
            "modality": trials.modality,
            "protocol": protocol,
        }
        placed = {
            name: _placed(aligned, parts, name, key, test, None if name == "mapped" else aligned.plain)
            for name in ("mapped", "as it is")
        }
        gains.append(_gain(
            f"{key.replace('_', ' ')}, mapped less as it is",
            *_value(placed["mapped"], aligned.asked, placed["as it is"]),
        ))  # fmt: skip
        for name, here in placed.items():
            judge = None if name == "mapped" else aligned.plain
            value, ends = _value(here, aligned.asked)
            drawn = [_value(_placed(aligned, n, name, key, test, judge), aligned.asked)[0] for n in nulls]
            metric = "odd_one_out_from_brain" + ("" if judge is None else "_as_it_is")
            rows = study.scores(metric, value, ends, drawn, _n_stimuli(aligned.asked), chance=1 / 3, **shared)
            found += [_with_ceiling(row, aligned.people) for row in rows]
            hits = [_found(one, embeddings[name], name, key, test) for one in (parts, *nulls)]
            around = wilson(hits[0] * len(test), len(test))
            metric = "retrieved" + ("" if judge is None else "_as_it_is")
            found += study.scores(
                metric,
                hits[0],
                (around.low, around.high),
                hits[1:],
                len(test),
                chance=1 / len(test),
                **shared,
            )
            values.setdefault(name, []).append(value)
            values.setdefault(f"{name}, fitted to permuted pairs", []).append(float(np.mean(drawn)))
    ours, plain = (np.mean(values[name]) for name in ("mapped", "as it is"))
    said = [
        f"Decoded from brains, the mapped space chooses as people do in {ours:.3f} of judgements, the space as it is "
        f"in {plain:.3f} (means of {len(dataset.keys)} subjects; fitted to permuted pairs "
        f"{np.mean(values['mapped, fitted to permuted pairs']):.3f}; chance 0.333).",
        *gains,
    ]
    keys = [key.replace("_", " ") for key in dataset.keys]
    figure = study.bars(keys, values, "judgements predicted", chance=1 / 3)
    return found, said, figure


def geometries(
    dataset: NeuralDataset, spaces: Mapping[str, Embeddings], settings: compare_geometries.Settings
) -> Comparison:
    """Distances of brains beside distances in each space, with the difference of the two spaces."""
    ids = dataset.stimulus_ids
    others = [compare_sources.of_features(name, ids, one.of(ids), ids) for name, one in spaces.items()]
    return compare_geometries.compare(dataset, others, settings, name="brains")


def report(
    aligned: Aligned,
    brains: tuple[list[Score], list[str], dict[str, Any]],
    geometry: Comparison,
    *,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Choices predicted in the space and from brains, and what the map does to the likeness of geometries."""
    scores, said, figure = brains
    told = [*aligned.said, *said, *compare_report.sentences(geometry)]
    inference = geometry.inference
    for d in () if inference is None else inference.differences:
        told.append(
            f"Likeness of distances to the brains', {d.a} less {d.b}: {d.value:+.3f} "
            f"[{d.interval[0]:+.3f}, {d.interval[1]:+.3f}], p {d.p:.3g}."
        )
    panels: list[study.Panel] = [
        ("People's choices predicted from brains", "regions", figure),
        ("Distances beside the brains'", "table", compare_report.table(geometry)),
    ]
    found = [*aligned.scores, *scores, *compare_report.scores(geometry, protocol)]
    return study.report(
        "Embeddings drawn to what people find alike", told, found, panels, LIMIT,
        people={"lower": aligned.people.lower, "upper": aligned.people.upper, "triplets": aligned.people.n},
        penalty=str(aligned.metric.penalty), comparison=compare_report.as_json(geometry),
    )  # fmt: skip


def _rows(dataset: NeuralDataset, part: str) -> Tensor:
    here = set(dataset.part(part).stimulus_ids)
    return torch.tensor([i for i, name in enumerate(dataset.stimulus_ids) if name in here])


def _triplets(rows: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n triplets (n, 3) of three different rows, drawn at random."""
    checks.at_least("stimuli to make triplets of", len(rows), 3)
    drawn = torch.rand(n, len(rows), generator=generator).topk(3, 1).indices
    return rows[drawn]


def _judged(seen: Tensor, triplets: Tensor, decided: float, generator: torch.Generator) -> Judgements:
    """Choices drawn with probabilities softmax(decided * similarity of the pair that stays)."""
    scores = decided * odd_one_out.pair_similarities(seen, triplets)
    return Judgements(triplets, torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0])


def _fitted(x: Tensor, judged: Judgements, units: np.ndarray, settings: Settings) -> Metric:
    generator = seeding.torch_generator(settings.seed, "folds of judgements")
    return odd_one_out.fit_chosen(
        x, judged, units, generator, penalties=settings.penalties, n_components=settings.n_components
    )


def _permutation(judged: Judgements, n: int, seed: int, number: int) -> Tensor:
    """Rows (n,) with those that were judged exchanged among each other."""
    seen, order = judged.triplets.unique(), torch.arange(n)
    generator = seeding.torch_generator(seed, "judgements of others", number)
    order[seen] = seen[torch.randperm(len(seen), generator=generator)]
    return order


def _value(z: Tensor, judged: Judgements, other: Tensor | None = None) -> tuple[float, tuple[float, float]]:
    """Share of judgements that a space predicts (less another's), and its 95 % interval: groups of stimuli left out."""
    right = odd_one_out.right(z, judged)
    right = right if other is None else right - odd_one_out.right(other, judged)
    seen, row = judged.triplets.unique(return_inverse=True)
    group = torch.arange(len(seen))[row] % study.N_GROUPS
    left = [right[(group != g).all(1)] for g in range(min(study.N_GROUPS, len(seen)))]
    values = np.array([float(v.mean()) for v in left if len(v)])
    error = np.sqrt((len(values) - 1) * values.var())
    ends = t_interval(float(right.mean()), float(error), len(values))
    return float(right.mean()), (ends.low, ends.high)


def _gain(what: str, value: float, ends: tuple[float, float]) -> str:
    return f"{what}: {value:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}] of judgements."


def _n_stimuli(judged: Judgements) -> int:
    return len(judged.triplets.unique())


def _with_ceiling(score: Score, people: Agreement) -> Score:
    told = {**score.details, "people_agree": [people.lower, people.upper]}
    return replace(score, ceiling=people.upper, ceiling_kind="repeatability", details=told)


def _placed(
    aligned: Aligned, parts: Parts, name: str, key: str, test: Sequence[str], judge: Metric | None
) -> Tensor:
    """What is decoded of the test stimuli, at their rows among all stimuli; zero elsewhere."""
    made = torch.from_numpy(parts.values(name, key, test)).double().flatten(1)
    made = made if judge is None else judge.apply(made)
    row = {i: n for n, i in enumerate(aligned.ids)}
    out = torch.zeros(len(aligned.ids), made.shape[1], dtype=torch.float64)
    out[torch.tensor([row[i] for i in test])] = made
    return out


def _found(parts: Parts, embeddings: Embeddings, name: str, key: str, test: Sequence[str]) -> float:
    """Share of test stimuli whose own embedding is nearest to what was decoded, by cosine about the training mean."""
    mean = parts.means[name]
    made, true = (
        torch.from_numpy(v - mean).flatten(1).float()
        for v in (parts.values(name, key, test), embeddings.of(test))
    )
    cosines = nearest.similarity(made, true)
    return float((cosines.argmax(1) == torch.arange(len(test))).double().mean())
