"""Encoding models of a new person's voxels from few examples: a transformer taught on other people, beside ridge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, encoding, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import Preprocessing
from braindec.decoder.rows import applied, fitted_on
from braindec.encoding.in_context import Config, Voxels, in_context, meta_train
from braindec.encoding.population import from_population
from braindec.evaluate import encode_ceilings, study
from braindec.evaluate.audit import audited_split
from braindec.evaluate.encode import averaged
from braindec.evaluate.encode_maps import resamples
from braindec.evaluate.encode_report import METRIC, correlations
from braindec.evaluate.encoded import CEILING
from braindec.evaluate.scoring import parse_key
from braindec.maths.empirical_bayes import fit_population, pairs_of
from braindec.maths.principal import principal_components
from braindec.stats.permutation import p_value
from braindec.types import Embeddings, Report, Score

WORDS = {
    "braindec": "transformer in context",
    "contender": "empirical Bayes in closed form",
    "ridge": "ridge of its own",
    "nuisance": "transformer, examples of another voxel",
    "shuffled": "transformer, taught and shown shuffled pairs",
}
LIMITS = (
    "The new people are simulated like those that the transformer was taught on: between scanners, tasks and kinds of "
    "stimuli less carries over. That it predicts a voxel does not say how the voxel computes."
)
Fit = Callable[[Tensor, Tensor], encoding.VoxelwiseEncoding]  # examples' features, responses


@dataclass(frozen=True)
class Settings:
    """How new people are met.

    Parameters
    ----------
    sizes : tuple of int
        Examples (stimuli, repeats averaged) of the new person.
    n_features : int
        Principal components of the embedding over the other people's training stimuli.
    n_draws : int
        Sets of examples of each size that scores are averaged over.
    n_null : int
        Transformers taught and shown shuffled pairs.
    ceiling : float
        Smallest training ceiling of a voxel that counts in means.
    model : encoding.in_context.Config
    seed : int
    """

    sizes: tuple[int, ...] = (10, 30, 100)
    n_features: int = 32
    n_draws: int = 3
    n_null: int = 5
    ceiling: float = CEILING
    model: Config = field(default_factory=Config)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("number of sizes", len(self.sizes), 1)
        checks.at_least("n_draws", self.n_draws, 1)
        checks.at_least("n_null", self.n_null, 1)


SETTINGS = Settings()


@dataclass(frozen=True, eq=False)
class _Person:
    """Mean responses of one person in both parts, features beside them, and what a perfect model could reach."""

    key: str
    train: Voxels
    test: Voxels
    ceilings: encode_ceilings.Ceilings | None

    def kept(self, smallest: float) -> np.ndarray:
        """Voxels that count in means: whose training responses repeat, or all where nothing can be said of that."""
        known = None if self.ceilings is None else self.ceilings.training.get(self.ceilings.kind)
        if known is None or not (known >= smallest).any():
            return np.ones(self.train.responses.shape[1], dtype=bool)
        return known >= smallest


def in_context_study(
    dataset: NeuralDataset,
    embeddings: Embeddings,
    newcomers: Sequence[int],
    *,
    preprocessing: Preprocessing | None = None,
    settings: Settings = SETTINGS,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Teaches a transformer on some people's voxels and meets others with few examples.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split, of fMRI; teachers see training stimuli alone, newcomers give examples from theirs and are judged
        on test stimuli.
    embeddings : Embeddings
        Of its stimuli.
    newcomers : sequence of int
        Subjects that are met; all others teach.
    preprocessing : Preprocessing, optional
        Fitted on each person's training trials.
    settings : Settings
    protocol : str
        Name that the scores carry.

    Returns
    -------
    Report
        Mean correlations with test responses, for every number of examples (``n_examples`` in the details): of the
        transformer, empirical Bayes, ridge, the transformer given another voxel's examples, and the refitted null.
    """
    audited_split(dataset, preprocessing)
    people = _people(dataset, embeddings, newcomers, preprocessing, settings)
    teachers = [p.train for p in people if parse_key(p.key)[0] not in newcomers]
    met = [p for p in people if parse_key(p.key)[0] in newcomers]
    checks.at_least("people that teach", len(teachers), 1)
    checks.at_least("people that are met", len(met), 1)
    fits, nulls = _systems(teachers, settings), _nulls(teachers, settings)
    rows = [
        score
        for person in met
        for size in settings.sizes
        for score in _scores(person, size, fits, nulls, settings, protocol)
    ]
    return _report(rows, [p.key for p in met], settings, len(teachers))


def _people(
    dataset: NeuralDataset, embeddings: Embeddings, newcomers: Sequence[int], preprocessing: Preprocessing | None,
    settings: Settings,
) -> list[_Person]:  # fmt: skip
    """Everybody's voxels, and components of the embedding over the stimuli that teachers saw in training."""
    train, test = dataset.part("train"), dataset.part("test")
    keys = [key for key in train.trials if key in test.trials]
    seen = [
        i
        for key in keys
        if parse_key(key)[0] not in newcomers
        for i in dict.fromkeys(train.trials[key].table["stimulus_id"].tolist())
    ]
    known = torch.from_numpy(embeddings.of(list(dict.fromkeys(seen)))).flatten(1)
    draw = seeding.torch_generator(settings.seed, "in context components")
    found = principal_components(known, settings.n_features, draw)

    def features(ids: Sequence[str]) -> Tensor:
        x = torch.from_numpy(embeddings.of(ids)).flatten(1).double() - found.mean
        return (x @ found.directions.T / found.variance.mean().sqrt()).float()

    people = []
    for key in keys:
        fitted = fitted_on(preprocessing or Preprocessing(), train.trials[key])
        trials = (train.trials[key], test.trials[key])
        single = [torch.from_numpy(applied(fitted, t).reshape(t.n_trials, -1)) for t in trials]
        parts = [averaged(t, y) for t, y in zip(trials, single)]
        ids = [t.table["stimulus_id"] for t in trials]
        halves = seeding.torch_generator(settings.seed, "encode halves", key)
        ceilings = encode_ceilings.estimate(single[0], ids[0], single[1], ids[1], halves)
        a, b = (Voxels(features(part.ids), part.y) for part in parts)
        people.append(_Person(key, a, b, ceilings))
    return people


def _systems(teachers: Sequence[Voxels], settings: Settings) -> dict[str, Fit]:
    model = meta_train(teachers, settings.model, settings.seed)
    stimuli = torch.cat([t.features for t in teachers])
    population = fit_population(
        [pairs_of(t.responses, t.features) for t in teachers], torch.cov(stimuli.T.double())
    )

    def another(x: Tensor, y: Tensor) -> encoding.VoxelwiseEncoding:
        return in_context(model, x, y.roll(y.shape[1] // 2, 1))

    return {
        "braindec": lambda x, y: in_context(model, x, y),
        "contender": lambda x, y: from_population(population, x, y),
        "ridge": lambda x, y: encoding.fit(x, y, folds=min(5, len(x))),
        "nuisance": another,
    }


def _nulls(teachers: Sequence[Voxels], settings: Settings) -> list[Fit]:
    """Transformers that never saw a response beside its stimulus; the examples they are shown are shuffled too."""
    out = []
    for number in range(settings.n_null):
        draw = seeding.torch_generator(settings.seed, "in context null", number)
        wrong = [
            Voxels(t.features, t.responses[torch.randperm(len(t.responses), generator=draw)])
            for t in teachers
        ]
        model = meta_train(wrong, settings.model, settings.seed)
        out.append(_shown_shuffled(model, draw))
    return out


def _shown_shuffled(model: Any, draw: torch.Generator) -> Fit:
    return lambda x, y: in_context(model, x, y[torch.randperm(len(y), generator=draw)])


def _scores(
    person: _Person, size: int, fits: Mapping[str, Fit], nulls: Sequence[Fit], settings: Settings, protocol: str
) -> list[Score]:  # fmt: skip
    """Every system on one person at one number of examples, averaged over draws of the examples."""
    n = len(person.train.features)
    checks.in_range("examples", size, 2, n)
    draw = seeding.torch_generator(settings.seed, "examples", person.key, size)
    sets = [torch.randperm(n, generator=draw)[:size] for _ in range(settings.n_draws)]
    truth, kept = person.test.responses, person.kept(settings.ceiling)

    def predicted(fit: Fit) -> Tensor:
        made = [
            fit(person.train.features[s], person.train.responses[s]).predict(person.test.features)
            for s in sets
        ]
        return torch.stack(made)

    def mean(made: Tensor) -> np.ndarray:
        """Mean correlation of each voxel over draws."""
        return np.mean([encoding.correlation(one, truth).numpy() for one in made], axis=0)

    null = np.array([mean(predicted(fit))[kept].mean() for fit in nulls])
    weights = resamples(
        np.arange(len(truth)), seeding.numpy_generator(settings.seed, "in context", person.key)
    )
    subject, modality = parse_key(person.key)
    common: dict[str, Any] = {
        "name": METRIC, "protocol": protocol, "subject": subject, "modality": modality, "chance": 0.0,
        "null": float(null.mean()), "n": len(truth), "null_n": len(null),
    }  # fmt: skip
    details = {"n_examples": size, "n_voxels": int(kept.sum()), "interval": "bootstrap over test stimuli"}
    rows = []
    for system, fit in fits.items():
        made = predicted(fit)
        each = mean(made)
        value = float(each[kept].mean())
        drawn = np.mean(
            [correlations(weights, m.numpy()[:, kept], truth.numpy()[:, kept]) for m in made], axis=0
        )
        low, high = (float(v) for v in np.quantile(drawn, [0.025, 0.975]))
        further = {"p": p_value(value, null), "per_sample": each[kept]} if system == "braindec" else {}
        rows.append(
            Score(system=system, value=value, interval=(low, high), details=details, **common, **further,
                  **_ceiling(person, kept))
        )  # fmt: skip
    ends = (float(null.min()), float(null.max()))
    rows.append(Score(system="shuffled", value=float(null[0]), interval=ends, details=details, **common))
    return rows


def _ceiling(person: _Person, kept: np.ndarray) -> dict[str, Any]:
    if person.ceilings is None:
        return {}
    found = float(person.ceilings.test[person.ceilings.kind][kept].mean())
    return {"ceiling": found, "ceiling_kind": person.ceilings.score_kind}


def _report(rows: Sequence[Score], met: Sequence[str], settings: Settings, n_teachers: int) -> Report:
    sizes = list(settings.sizes)

    def at(system: str, size: int) -> float:
        return float(
            np.mean([s.value for s in rows if s.system == system and s.details["n_examples"] == size])
        )

    series = {words: np.array([at(system, size) for size in sizes]) for system, words in WORDS.items()}
    said = [
        f"After {size} examples of a new person (mean of {len(met)}), held-out responses are predicted with a mean "
        f"correlation of {at('braindec', size):.3f} by the transformer taught on {n_teachers} others, "
        f"{at('contender', size):.3f} by empirical Bayes, {at('ridge', size):.3f} by ridge of its own; "
        f"{at('nuisance', size):.3f} where the examples are another voxel's, {at('shuffled', size):.3f} where pairs "
        "are shuffled."
        for size in sizes
    ]
    curve = {
        "step": np.array(sizes), "series": series, "section": "scores", "xlabel": "examples of the new person",
        "ylabel": "mean correlation over voxels", "caption": "Mean over new people and draws of examples.",
    }  # fmt: skip
    run = {
        "settings": config.to_json(settings),
        "words": {"systems": WORDS, "null": "pairs shuffled in all fits"},
    }
    return study.report(
        "Voxels in context", said, rows, [("What few examples are worth", "curve", curve)], LIMITS, **run
    )
