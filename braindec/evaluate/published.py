"""What papers did otherwise, computed from the same fitted system and shown beside the corrected score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec.data import NeuralDataset, splits
from braindec.decoder import Prediction, average_groups, group_repeats
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import Measured, metric_table, protocol_named, protocol_table
from braindec.evaluate.systems import System
from braindec.maths import nearest
from braindec.metrics import Metric
from braindec.protocols import MINIATURE, Protocol
from braindec.stats.intervals import proportion_interval
from braindec.stats.pools import drawn_top1, published_interval
from braindec.stats.scoring import summarise
from braindec.types import Embeddings, Score, Trials

SWAPPED = {"image": "brain", "brain": "image"}
FROM_PREDICTIONS = (
    "raw_cosine",
    "half_precision",
    "padded_repeats",
    "concept_mean",
    "drawn_pools",
    "swapped_names",
    "by_recording",
)
FROM_PICTURES = ("named_metric", "off_by_one", "one_distractor", "picture_size", "strict_two_way")
Published = Mapping[str, Mapping[str, Mapping[str, Measured]]]  # protocol -> signal key -> metric


def variants(protocol: Protocol) -> tuple[Protocol, ...]:
    """The as-published protocols that this one corrects; of a miniature, theirs."""
    base = protocol.name.removesuffix(MINIATURE)
    found = tuple(p for p in protocol_table().values() if p.corrects == base)
    return found if base == protocol.name else tuple(p.miniature() for p in found)


def details_of(variant: Protocol, computed: Sequence[str]) -> dict[str, Any]:
    """What a published score says of itself: by whom, what differs in it, and what differed in the paper alone."""
    done = [d.what for d in variant.departures if d.how in computed]
    rest = [d.what for d in variant.departures if d.how not in computed]
    return {"as_published_by": variant.published_by, "differs": done, "differed in the paper only": rest}


@dataclass(frozen=True, eq=False)
class AsPublished:
    """Judges a fitted system on one test set by every as-published variant of a protocol.

    Parameters
    ----------
    exam : Exam
        With one fold: papers have one test set.
    found : mapping of protocol name to signal key to metric to Measured
    """

    exam: Exam
    found: dict[str, dict[str, dict[str, Measured]]] = field(default_factory=dict)

    def __call__(self, system: System, test: NeuralDataset) -> None:
        """Adds what the variants make of this system."""
        if len(self.exam.folds) != 1:
            return
        for variant in variants(self.exam.protocol):
            for key, trials in test.trials.items():
                measured = self._measure(variant, system, trials, test) if variant.metrics else {}
                if measured:
                    self.found.setdefault(variant.name, {})[key] = measured

    def _gallery(
        self, variant: Protocol, ids: tuple[str, ...], test: NeuralDataset
    ) -> tuple[np.ndarray, bool]:
        """Candidates' embeddings, and whether they are concepts' centres: means of other pictures than the tested."""
        values = self.exam.embeddings.of(ids)
        if not variant.follows("concept_centre"):
            return values, False
        others = other_pictures(ids, test, self.exam.embeddings)
        if others is None:
            return values, False
        return np.stack([self.exam.embeddings.of(own).mean(0) for own in others]), True

    def _measure(
        self, variant: Protocol, system: System, trials: Trials, test: NeuralDataset
    ) -> dict[str, Measured]:
        queries, gallery = _queries_and_gallery(variant, system, trials, test)
        values, centres = self._gallery(variant, gallery, test)
        similarity = _cosine(queries.values, values, half=variant.follows("half_precision"))
        row = {name: i for i, name in enumerate(gallery)}
        truth = torch.tensor([row[i] for i in queries.ids])
        if variant.follows("drawn_pools"):
            found = _drawn(variant, similarity, truth)
        else:
            table = metric_table()
            found = {
                name: _shares(variant, table[name], similarity, truth, queries) for name in variant.metrics
            }
        done = {"computed": [*FROM_PREDICTIONS, *(["concept_centre"] if centres else [])]}
        found = {name: replace(m, details=done) for name, m in found.items()}
        return _swapped(found) if variant.follows("swapped_names") else found


def _cosine(queries: np.ndarray, gallery: np.ndarray, half: bool) -> Tensor:
    """Cosine of embeddings as they are, (n, m); or of what half precision leaves of them and of the cosine."""
    q, g = (torch.from_numpy(np.asarray(v, dtype=np.float32)).flatten(1) for v in (queries, gallery))
    if not half:
        return nearest.similarity(q, g)
    unit = [torch.nn.functional.normalize(v.half().float(), dim=1).half().float() for v in (q, g)]
    return (unit[0] @ unit[1].T).half().float()


def other_pictures(
    ids: Sequence[str], test: NeuralDataset, embeddings: Embeddings
) -> list[tuple[str, ...]] | None:
    """Of each tested picture, those of its concept that are not tested and have embeddings; None if any has none."""
    table = test.stimuli.table
    if table is None or "concept" not in table:
        return None
    concept = dict(zip(test.stimuli.ids, table["concept"].tolist(), strict=True))
    tested, known = set(test.stimulus_ids), set(embeddings.ids)
    of: dict[str, list[str]] = {}
    for name, its in concept.items():
        if name in known and name not in tested:
            of.setdefault(its, []).append(name)
    found = [tuple(of.get(concept[i], ())) for i in ids]
    return found if all(found) else None


def _queries_and_gallery(
    variant: Protocol, system: System, trials: Trials, test: NeuralDataset
) -> tuple[Prediction, tuple[str, ...]]:
    """Predictions by stimulus (or by concept, under its first stimulus) and the ids that they are searched among."""
    if variant.follows("padded_repeats"):
        return padded_repeats(system.predict(trials, repeats="none")), test.stimulus_ids
    if not variant.follows("concept_mean"):
        return system.predict(trials, repeats=variant.repeats), test.stimulus_ids
    concepts = splits.unit_values(trials, test.stimuli, "concept")
    exemplar: dict[str, str] = {}
    for stimulus, concept in sorted(
        zip(trials.table["stimulus_id"].tolist(), concepts.tolist(), strict=True)
    ):
        exemplar.setdefault(concept, stimulus)
    as_one = trials.table.replace(stimulus_id=np.array([exemplar[c] for c in concepts.tolist()]))
    pooled = system.predict(replace(trials, table=as_one), repeats=variant.repeats)
    return pooled, tuple(sorted(exemplar.values()))


def padded_repeats(single: Prediction) -> Prediction:
    """Mean of the first three predictions of each stimulus; of two, the first counts twice.

    Parameters
    ----------
    single : Prediction
        A row a trial.
    """
    group, first = group_repeats(single.table["stimulus_id"])
    count = np.bincount(group)
    order = np.argsort(group, kind="stable")
    place = np.empty_like(group)
    place[order] = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
    weight = np.where(place < 3, 1.0, 0.0) + ((count[group] == 2) & (place == 0))
    rows = np.repeat(np.arange(len(group)), weight.astype(int))
    values = average_groups(single.values[rows], group[rows], len(first))
    table = single.table.take(first)
    return Prediction(tuple(table["stimulus_id"].tolist()), values, table, count, single.key)


def _drawn(variant: Protocol, similarity: Tensor, truth: Tensor) -> dict[str, Measured]:
    """Top-1 of random pools, with the interval over draws: value, chance and n as published."""
    pool, n_draws, seed = variant.pool.drawn, variant.pool.n_draws, variant.seed
    if pool is None or n_draws is None or seed is None:
        raise ValueError(f"{variant.name} draws pools; it must say how large, how many and from which seed.")
    shares = drawn_top1(similarity[:, truth], pool, n_draws, seed)
    found = {}
    for name, values in zip(variant.metrics, (shares.image_of_brain, shares.brain_of_image), strict=True):
        limits = published_interval(values)
        interval = (float(limits.low), float(limits.high))
        found[name] = Measured(
            name, float(values.mean()), interval, 1 / pool, len(similarity), "higher", values
        )
    return found


def _shares(
    variant: Protocol, metric: Metric, similarity: Tensor, truth: Tensor, queries: Prediction
) -> Measured:
    values = metric.per_sample(similarity, truth).numpy()
    chance = float(metric.chance_of(similarity.shape[1]) or 0.0)
    if variant.follows("by_recording"):
        names = np.char.add(
            queries.table["session"].astype(str), np.char.add("/", queries.table["run"].astype(str))
        )
        shares = np.array([values[names == name].mean() for name in np.unique(names)])
        if len(shares) > 1:
            among = proportion_interval(shares)
            limits = (float(among.low), float(among.high))
            return Measured(metric.name, float(shares.mean()), limits, chance, len(shares), "higher", shares)
    units = np.array(queries.ids) if len(set(queries.ids)) < len(queries.ids) else None
    told = summarise(values, chance, generator=np.random.default_rng(0), kind="proportion", units=units)
    limits = (float(told.interval.low), float(told.interval.high))
    return Measured(metric.name, told.value, limits, chance, told.n, "higher", values)


def _swapped(found: Mapping[str, Measured]) -> dict[str, Measured]:
    """Each value under the name of the other direction."""
    out = {}
    for name, measured in found.items():
        searched, _, rest = name.partition("_")
        other = f"{SWAPPED[searched]}_{rest}"
        out[other] = replace(measured, name=other)
    return {name: out[name] for name in found}


def published_scores(
    system: str, found: Published, computed: Sequence[str] = FROM_PREDICTIONS
) -> list[Score]:
    """Rows of the report that are marked as published; they have no null of their own."""
    rows = []
    for name, keys in found.items():
        variant = protocol_named(name)
        for key, metrics in keys.items():
            subject, modality = key.removeprefix("sub-").split("_")
            rows += [
                Score(m.name, system, name, int(subject), modality, m.value, m.interval, m.chance, m.chance, m.n,
                      m.direction, per_sample=m.per_sample,
                      details=details_of(variant, m.details.get("computed", computed)))
                for m in metrics.values()
            ]  # fmt: skip
    return rows
