"""Solid objects from brains: latents decoded, bridged by a prior, drawn as fields, judged by shape and by views.

MinD-3D (Gao et al. 2024, arXiv:2312.07485) judges by categories of views and by distances of surfaces. A mean object
scores well by distance, and whoever knows the category scores well by views: both stand beside the decoder, as does
the object's own latent drawn by the same generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.data.solid_files import SolidFiles
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate.measures import Measured, identification_interval, metric_table, protocol_named
from braindec.evaluate.pictures import first
from braindec.evaluate.scoring import Judged, scores_of
from braindec.generators._solids import Config as GeneratorConfig
from braindec.generators._solids import SolidGenerator
from braindec.maths.solids import signed_distance, surface_points, views
from braindec.metrics import Metric, mismatched
from braindec.metrics.solids import JUDGE
from braindec.stats.paired import paired_difference
from braindec.stats.scoring import summarise
from braindec.types import Embeddings, Score, Table

METRICS = (
    "view_two_way", "view_ten_way", "volume_iou", "chamfer_distance", "earth_movers_distance", "f_score"
)  # fmt: skip
WORDS = {
    "systems": {
        "braindec": "through the bridge: the mean of its draws and the prediction, drawn",
        "sample": "one draw of the bridge",
        "contender": "the prediction without the bridge, drawn",
        "shuffled": "through a bridge and a decoder of shuffled pairs",
        "nuisance": "no brain: the mean training object of the presented category",
        "mean": "no brain: the mean training object",
        "oracle": "the presented object's own latent, drawn by the same generator",
    },
}


@dataclass(frozen=True)
class Settings:
    """How objects are read, drawn and judged.

    Parameters
    ----------
    side : int
        Voxels of a grid's side.
    n_points : int
        Of each surface; distances between two draws from one surface shrink with it.
    angles : tuple of float
        Degrees of the views that are compared and shown.
    view_side : int
        Pixels of a view.
    n_objects : int
        Test objects of each subject, at most.
    """

    side: int = 32
    n_points: int = 512
    angles: tuple[float, ...] = (30.0, 120.0, 210.0, 300.0)
    view_side: int = 64
    n_objects: int = 200

    def __post_init__(self) -> None:
        checks.in_range("side", self.side, 4, 128, unit="voxels")
        checks.at_least("n_points", self.n_points, 2)
        checks.at_least("number of angles", len(self.angles), 1)
        checks.at_least("view_side", self.view_side, 8)
        checks.at_least("n_objects", self.n_objects, 3)


@dataclass(frozen=True, eq=False)
class Solids:
    """The objects of a dataset as fields, and the generator that draws such.

    Parameters
    ----------
    row : mapping of str to int
        Of `fields` by stimulus id.
    fields : float32 array, shape (n, side, side, side)
        Signed distances.
    generator : SolidGenerator
        Fitted to training objects and to others that nobody was shown.
    n_others : int
    """

    row: Mapping[str, int]
    fields: np.ndarray
    generator: SolidGenerator
    n_others: int

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """Fields of these objects."""
        return self.fields[[checks.known_key("object", i, self.row) for i in ids]]

    def embeddings(self, ids: Sequence[str]) -> Embeddings:
        """Latents of these objects, a token each."""
        space = f"solids/{self.generator.content()[:16]}"
        return Embeddings.from_arrays(ids, self.generator.encode(self.of(ids)), space)


@dataclass(frozen=True, eq=False)
class Drawn:
    """One system's objects of one subject, and what its judges are told of them, by the inputs of the metrics."""

    fields: np.ndarray
    inputs: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Shaped:
    """Scores, paired differences, and objects by signal key and system; ``"presented"`` is one of these."""

    scores: tuple[Score, ...]
    comparisons: tuple[dict[str, Any], ...]
    ids: Mapping[str, tuple[str, ...]]
    drawn: Mapping[str, Mapping[str, Drawn]]


def with_solids(
    dataset: NeuralDataset, folder: str | Path, others: str | Path | None, data_dir: str | Path,
    settings: Settings, generator: GeneratorConfig, seed: int = 0,
) -> Solids:  # fmt: skip
    """Reads a dataset's objects, and fits a generator to those of its training part and to others.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split.
    folder : path
        Grids of the dataset's objects, see `SolidFiles.of`. Relative: from the prepared folder `data_dir`.
    others : path, optional
        Grids of objects that nobody was shown: those of the dataset, by name or by voxels, are left out.
    data_dir : path
    settings : Settings
    generator : generators._solids.Config
    seed : int
    """
    ids = tuple(dataset.stimulus_ids)
    presented = SolidFiles.of(Path(data_dir) / folder, settings.side, ids).grids()
    learnt = [presented[[ids.index(i) for i in dataset.part("train").stimulus_ids]]]
    if others is not None:
        known = {grid.tobytes() for grid in presented}
        files = SolidFiles.of(Path(data_dir) / others, settings.side)
        free = [i for i in files.ids if i not in set(ids)]
        made = [grid for i in free if (grid := files.grids([i])[0]).tobytes() not in known]
        learnt.append(np.stack(made) if made else np.empty((0, *presented.shape[1:]), dtype=bool))
    fields = np.stack([signed_distance(grid) for grid in presented])
    taught = np.stack([signed_distance(grid) for part in learnt for grid in part])
    fitted = SolidGenerator(generator, settings.side).fit(taught, seed)
    return Solids({i: k for k, i in enumerate(ids)}, fields, fitted, len(taught) - len(learnt[0]))


def shaped(
    decoder: BrainDecoder, nulls: Sequence[BrainDecoder], recipe: Any, dataset: NeuralDataset, solids: Solids,
    settings: Settings,
) -> Shaped:  # fmt: skip
    """Draws and judges the test objects of each subject.

    Parameters
    ----------
    decoder : BrainDecoder
        Of the objects' latents, with a prior; fitted on ``dataset.part("train")``.
    nulls : sequence of BrainDecoder
        The same, fitted to shuffled pairs: all are judged, the first one is shown.
    recipe : Recipe
        Its protocol and seed.
    dataset : NeuralDataset
        Whole, with the split in use; its stimuli's table has `category` where the category's mean is to be judged.
    solids : Solids
    settings : Settings
    """
    checks.at_least("number of nulls", len(nulls), 1)
    protocol, train, test = protocol_named(recipe.protocol), dataset.part("train"), dataset.part("test")
    judge = _Judge(settings, recipe.seed)
    ids: dict[str, tuple[str, ...]] = {}
    drawn: dict[str, dict[str, Drawn]] = {}
    measured: dict[str, dict[str, dict[str, Measured]]] = {}
    null: dict[str, dict[str, np.ndarray]] = {}
    for key, trials in test.trials.items():

        def told(one: BrainDecoder, trials: Any = trials) -> Prediction:
            return first(one.predict(trials, repeats=protocol.repeats), settings.n_objects)

        shown = told(decoder)
        ids[key] = shown.ids
        checks.at_least(f"test objects of {key}", len(shown.ids), 3)
        latents = {
            "braindec": decoder.image_embedding(shown, seed=recipe.seed),
            "sample": decoder.imagine(shown, seed=recipe.seed, n_samples=1)[0],
            "contender": shown.values,
        }
        fields = {name: solids.generator.decode(values[:, 0]) for name, values in latents.items()}
        fields |= _unseen(solids, train, dataset, shown.ids)
        fields["oracle"] = solids.generator.decode(solids.generator.encode(solids.of(shown.ids)))
        wrong = [
            solids.generator.decode(one.image_embedding(told(one), seed=recipe.seed)[:, 0]) for one in nulls
        ]
        fields["shuffled"] = wrong[0]
        true = judge.drawn(solids.of(shown.ids))
        made = {name: judge.drawn(f) for name, f in fields.items()}
        others = [made["shuffled"], *(judge.drawn(f) for f in wrong[1:])]
        values = [_values(true, other) for other in others]
        null[key] = {m: np.array([v[m] for v in values]) for m in METRICS}
        draw = seeding.numpy_generator(recipe.seed, "solids", key)
        for name, one in made.items():
            measured.setdefault(name, {})[key] = {
                m: _measured(metric_table()[m], true, one, draw) for m in METRICS
            }
        drawn[key] = {"presented": true, **made}
    rows: list[Score] = []
    for name in (n for n in WORDS["systems"] if n in measured):
        judged = Judged(name, {}, measured[name], sample_names=ids)
        rows += scores_of(judged, protocol, null=null if name in ("braindec", "shuffled") else None)
    pairs = [n for n in ("contender", "mean", "nuisance") if n in measured]
    differences = [row for other in pairs for row in _compared(measured, other, recipe.seed)]
    by_metric = {m: [s for s in rows if s.name == m] for m in METRICS}
    return Shaped(tuple(s for m in METRICS for s in by_metric[m]), tuple(differences), ids, drawn)


def _unseen(
    solids: Solids, train: NeuralDataset, dataset: NeuralDataset, ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """Objects of systems that see no brain: the mean training object, and that of the presented category."""
    shown = list(train.stimulus_ids)
    found = {"mean": np.repeat(mean_object(solids.of(shown))[None], len(ids), axis=0)}
    table = dataset.stimuli.table
    if isinstance(table, Table) and "category" in table:
        category = dict(zip(dataset.stimuli.ids, table["category"].astype(str).tolist(), strict=True))
        of = {c: [i for i in shown if category[i] == c] or shown for c in {category[i] for i in ids}}
        means = {c: mean_object(solids.of(some)) for c, some in of.items()}
        found["nuisance"] = np.stack([means[category[i]] for i in ids])
    return found


def mean_object(fields: np.ndarray) -> np.ndarray:
    """The mean of fields, raised to the level at which it has the mean volume: float32 (side, side, side).

    Unraised, the mean of unlike objects is outside everywhere.
    """
    mean = fields.mean(0, dtype=np.float64)
    share = float((fields > 0).mean())
    return np.asarray(mean - np.quantile(mean, 1 - share), dtype=np.float32)


class _Judge:
    """What metrics look at, made of fields in one way for all systems."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        module = registry.load("targets", JUDGE)
        self.network = module.build(module.Config())

    def drawn(self, fields: np.ndarray) -> Drawn:
        """Surface points, occupancy, and features of views joined over angles."""
        told = self.settings
        random = seeding.numpy_generator(self.seed, "surface")
        points = np.stack([surface_points(field, told.n_points, random) for field in fields])
        pictures = views(fields, told.angles, side=told.view_side)
        seen = self.network.embed_images(pictures.reshape(-1, *pictures.shape[2:]))
        return Drawn(
            fields,
            {
                "points": torch.from_numpy(points),
                "occupancy": torch.from_numpy(fields > 0).float(),
                "features": torch.from_numpy(seen).reshape(len(fields), -1),
            },
        )


def _inputs(metric: Metric, true: Drawn, made: Drawn) -> tuple[Tensor, Tensor]:
    name = metric.needs.partition(":")[0]
    return true.inputs[name], made.inputs[name]


def _values(true: Drawn, made: Drawn) -> dict[str, float]:
    """The bare values of all metrics, for nulls."""
    return {name: metric_table()[name].value(*_inputs(metric_table()[name], true, made)) for name in METRICS}


def _measured(metric: Metric, true: Drawn, made: Drawn, generator: np.random.Generator) -> Measured:
    inputs = _inputs(metric, true, made)
    if metric.pairwise:
        wins = metric.compute(*inputs)
        value, interval, n = identification_interval(wins)
        per_sample = metric.per_sample(*inputs).numpy()
        return Measured(metric.name, value, interval, 0.5, n, metric.direction, per_sample)
    per_sample = metric.per_sample(*inputs).numpy()
    known = metric.chance_of(len(per_sample))
    chance = mismatched(metric, *inputs, n_shifts=3) if known is None else known
    found = summarise(per_sample, chance, generator=generator, kind="mean", direction=metric.direction)
    interval = (float(found.interval.low), float(found.interval.high))
    return Measured(metric.name, found.value, interval, chance, found.n, metric.direction, per_sample)


def _compared(
    measured: Mapping[str, Mapping[str, Mapping[str, Measured]]], other: str, seed: int
) -> list[dict[str, Any]]:
    """Paired differences of the decoder and another system, a row a subject and metric."""
    rows = []
    for key, ours in measured["braindec"].items():
        for name in METRICS:
            draw = seeding.numpy_generator(seed, "paired", key, name)
            found = paired_difference(ours[name].per_sample, measured[other][key][name].per_sample, draw)
            interval = [float(found.interval.low), float(found.interval.high)]
            rows.append({"a": "braindec", "b": other, "metric": name, "key": key, "difference": found.value,
                         "interval": interval, "p": found.p, "n": found.n})  # fmt: skip
    return rows
