"""Brains against models, models against models: one reference, several others, the same stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import compare_sources as sources
from braindec.evaluate.compare_sources import Choices, Geometry
from braindec.maths.correlation import standardise
from braindec.maths.ranks import average_ranks
from braindec.rdm import RDM, Inference, infer, noise_ceiling, permutation_null, shared_conditions
from braindec.rdm import compare as compare_distances
from braindec.rdm.bootstrap import OVER, bootstrap
from braindec.rdm.comparators import RANGE, named
from braindec.similarity import Measure, calibrated
from braindec.stats.permutation import max_statistic_p, p_value

JACKKNIFE = 20  # groups of stimuli left out in turn
COURSE_DRAWS = 200
N_NULLS_OF_REPEATS = 20


@dataclass(frozen=True)
class Settings:
    """How geometries are compared.

    Parameters
    ----------
    measure : str
        ``"rsa"`` (distances with ceilings and inference), or the name of any entry of `braindec.similarity`.
    comparator, over : str
        As in `rdm.infer`.
    n_draws, n_permutations : int
        Bootstrap draws, and permutations of the stimuli.
    seed : int
    choices : Choices
    """

    measure: str = "rsa"
    comparator: str = "rho_a"
    over: str = "auto"
    n_draws: int = 1000
    n_permutations: int = 1000
    seed: int = 0
    choices: Choices = field(default_factory=Choices)


@dataclass(frozen=True, eq=False)
class Course:
    """Models over time.

    Parameters
    ----------
    times : float array, shape (time,)
    values : float array, shape (time, model)
    intervals : float array, shape (time, model, 2)
        95 %, for what the inference generalises to, within [-1, 1].
    p : float array, shape (time, model)
        Corrected by the maximum over times and models.
    ceiling : float array, shape (time, 2), or None
    null_limit : float or None
        What 95 % of the largest values over times and models stay below, stimuli permuted.
    """

    times: np.ndarray
    values: np.ndarray
    intervals: np.ndarray
    p: np.ndarray
    ceiling: np.ndarray | None
    null_limit: float | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """Values of a similarity measure that is not made of distances.

    Parameters
    ----------
    measure : Measure
    value : float array, shape (model,)
        Mean over subjects.
    interval : float array, shape (model, 2)
        95 % by leaving groups of stimuli out, within the range of the measure.
    null, limit, calibrated, p : float array, shape (model,)
        Mean under the null, its 95 % limit, and the share of the way from the mean to the best value.
    back : float array, shape (model,), or None
        The other way (the model first), of measures that are not symmetric.
    subjects : float array, shape (subject, model)
    ceiling : float or None
        Mean over pairs of subjects of the measure between them.
    repeats : (float, float) or None
        What a model without noise would reach with half of the repeats, and about what with all of them; None where
        stimuli do not repeat.
    """

    measure: Measure
    value: np.ndarray
    interval: np.ndarray
    null: np.ndarray
    limit: np.ndarray
    calibrated: np.ndarray
    p: np.ndarray
    back: np.ndarray | None
    subjects: np.ndarray
    ceiling: float | None
    repeats: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """One reference beside others.

    Parameters
    ----------
    reference : Geometry
    models : tuple of Geometry
    settings : Settings
    conditions : tuple of str
        Stimuli that all of them have.
    inference : Inference or None
        For the measure ``"rsa"``.
    null : float array, shape (permutation, subject, model), or None
    course : Course or None
        Where the reference has a time axis.
    measured : Measured or None
        For any other measure.
    dataset : NeuralDataset or None
    """

    reference: Geometry
    models: tuple[Geometry, ...]
    settings: Settings
    conditions: tuple[str, ...]
    inference: Inference | None
    null: np.ndarray | None
    course: Course | None
    measured: Measured | None
    dataset: NeuralDataset | None


def compare(
    reference: str | NeuralDataset,
    others: Sequence[str | Geometry],
    settings: Settings,
    *,
    name: str = "reference",
) -> Comparison:
    """Compares a reference with every other.

    Parameters
    ----------
    reference : str or NeuralDataset
        A word as in `compare_sources.other`, or a dataset (of one modality, the part that is wanted).
    others : sequence of str or Geometry
    settings : Settings
    name : str
        What a dataset is called.
    """
    checks.at_least("number of things to compare with the reference", len(others), 1)
    words = [o for o in others if isinstance(o, str)]
    checks.unique("things to compare", [o if isinstance(o, str) else o.name for o in others])
    choices = replace(settings.choices, patterns=settings.measure != "rsa")
    dataset: NeuralDataset | None
    if isinstance(reference, NeuralDataset):
        dataset, first = reference, sources.brain(name, reference, choices)
    elif sources.is_dataset(reference):
        dataset = sources.open_dataset(reference, choices)
        first = sources.brain(reference, dataset, choices)
    else:
        dataset, first = _dataset_among(words, choices), _from_words(reference, words, choices)
    models = tuple(
        sources.other(o, dataset, first.rdm.conditions, choices) if isinstance(o, str) else o for o in others
    )
    conditions = shared_conditions(first.rdm, *(m.rdm for m in models))
    if settings.measure != "rsa":
        found = measured(first, models, conditions, settings)
        return Comparison(first, models, settings, conditions, None, None, None, found, dataset)
    data = first.rdm.subset(conditions)
    rdms = {m.name: m.rdm.subset(conditions) for m in models}
    for name, rdm in rdms.items():
        _refuse_constant(name, rdm, settings)
    generator = seeding.torch_generator(settings.seed, "compare", first.name)
    inference = infer(
        data, rdms, comparator=settings.comparator, over=settings.over, n_draws=settings.n_draws,
        n_permutations=settings.n_permutations, generator=generator,
    )  # fmt: skip
    rows = torch.stack([r.distances.double() for r in rdms.values()])
    null = _null(data, rows, settings)
    course = (
        None
        if first.over_time is None
        else over_time(first.over_time.subset(conditions), rows, inference, settings)
    )
    return Comparison(first, models, settings, conditions, inference, null, course, None, dataset)


def _refuse_constant(name: str, rdm: RDM, settings: Settings) -> None:
    """A model that is like nothing, itself included, would be 0 with a p of 1, as if it had been compared."""
    row = rdm.distances.double()[None]
    if float(row.max() - row.min()) == 0 and not float(compare_distances(row, row, settings.comparator)):
        raise checks.ConfigError(
            f"{name}: all of its {row.shape[1]} distances between the {rdm.n_conditions} stimuli that are compared are "
            f"{float(row[0, 0]):g}, and {settings.comparator} of these is 0 with anything; leave it out, or compare "
            "more stimuli (--conditions, --part all)."
        )


def over_time(resolved: RDM, models: torch.Tensor, inference: Inference, settings: Settings) -> Course:
    """Models at every time, with intervals, corrected p-values and ceilings.

    Parameters
    ----------
    resolved : RDM, axes ``("subject", "time")``
    models : Tensor, shape (model, pair)
    inference : Inference
        Says what intervals generalise to.
    settings : Settings
    """
    data = resolved.distances.double().transpose(0, 1)  # (time, subject, pair)
    scores = compare_distances(data, models, settings.comparator).double()
    values = scores.mean(1).numpy()
    generator = seeding.torch_generator(settings.seed, "compare over time")
    null = permutation_null(data, models, settings.comparator, settings.n_permutations, generator).numpy()
    p = max_statistic_p(values.ravel(), null.reshape(len(null), -1)).reshape(values.shape)
    ceiling = None
    if data.shape[1] > 1:
        limits = [noise_ceiling(one, settings.comparator) for one in data]
        ceiling = np.array([[float(c.lower.mean()), float(c.upper.mean())] for c in limits])
    half = np.stack([_half_width(one, models, inference, settings) for one in data])
    times = np.asarray(resolved.coordinates["time"])
    limit = float(np.quantile(null.reshape(len(null), -1).max(1), 0.95))
    intervals = np.stack([values - half, values + half], -1).clip(*RANGE)
    return Course(times, values, intervals, p, ceiling, limit)


def measured(
    first: Geometry, models: Sequence[Geometry], conditions: Sequence[str], settings: Settings
) -> Measured:
    """Values of a similarity measure between the patterns themselves, with null, interval and what subjects share."""
    measure = similarity_named(settings.measure)
    brains = _patterns(first, conditions)
    values, nulls, errors, back = [], [], [], []
    for model in models:
        sides = _patterns(model, conditions)
        if not measure.symmetric:
            back.append(np.mean([_mean_over(measure, y, brains) for y in sides]))
        by_subject = [_mean_over(measure, x, sides) for x in brains]
        values.append(by_subject)
        nulls.append(_nulls(measure, brains, sides, settings))
        errors.append(_jackknife(measure, brains, sides))
    subjects, null = np.array(values).T, np.stack(nulls)
    value = subjects.mean(0)
    half = stats.t.ppf(0.975, min(JACKKNIFE, len(conditions)) - 1) * np.array(errors)
    side = "greater" if measure.higher else "less"
    p = np.array([p_value(v, n, side) for v, n in zip(value, null, strict=True)])
    best = measure.range[1] if measure.higher else measure.range[0]
    shares = [
        float(calibrated(torch.tensor(v), torch.from_numpy(n), best))
        for v, n in zip(value, null, strict=True)
    ]
    between = [float(measure(a, b)) for i, a in enumerate(brains) for b in brains[i + 1 :]]
    return Measured(
        measure, value, np.stack([value - half, value + half], 1).clip(*measure.range), null.mean(1),
        np.quantile(null, 0.95 if measure.higher else 0.05, axis=1), np.array(shares), p,
        np.array(back) if back else None, subjects, float(np.mean(between)) if between else None,
        _of_repeats(measure, first, conditions, settings),
    )  # fmt: skip


def _of_repeats(
    measure: Measure, geometry: Geometry, conditions: Sequence[str], settings: Settings
) -> tuple[float, float] | None:
    """Ceilings from how alike two halves of the repeats are, mean over subjects.

    None for measures that take their sides differently: what noise costs then depends on the side that it is on.
    Else noise is on both sides of that agreement, and on one side only beside a model without noise: the root of its
    calibrated form. With all repeats it is first lengthened by Spearman and Brown's formula. Exact for correlations and
    for debiased CKA with half of the repeats, about right for others.
    """
    if not geometry.halves or not measure.higher or not measure.symmetric:
        return None
    row = {name: i for i, name in enumerate(geometry.rdm.conditions)}
    order, best, found = [row[name] for name in conditions], measure.range[1], []
    for halves in geometry.halves:
        a, b = (torch.from_numpy(np.asarray(h, dtype=np.float64))[order] for h in halves)
        generator = seeding.torch_generator(settings.seed, "compare repeats", measure.name)
        nulls = measure.nulls(a, b, N_NULLS_OF_REPEATS, generator)
        share = calibrated(measure(a, b), nulls, best).clamp(0.0, 1.0)
        level = nulls.mean()
        found.append([float(level + s.sqrt() * (best - level)) for s in (share, 2 * share / (1 + share))])
    low, high = np.mean(found, axis=0)
    return float(low), float(high)


def similarity_named(name: str) -> Measure:
    """The measure of this name among all members of `braindec.similarity`."""
    found: dict[str, Measure] = {}
    for member in registry.names("similarity"):
        found |= registry.load("similarity", member).MEASURES
    return checks.known_key("measure", name, {"rsa": None, **found})


def _dataset_among(words: Sequence[str], choices: Choices) -> NeuralDataset | None:
    return next((sources.open_dataset(w, choices) for w in words if sources.is_dataset(w)), None)


def _from_words(reference: str, others: Sequence[str], choices: Choices) -> Geometry:
    """A reference that is no brain: its stimuli are its own, or those of a dataset among the others."""
    path = Path(reference)
    if path.suffix in (".npz", ".h5"):
        ids, values = sources.from_file(path)
        return sources.of_features(reference, ids, values, sources.spread(sorted(ids), choices.n_conditions))
    dataset = _dataset_among(others, choices)
    if dataset is None:
        raise checks.ConfigError(
            f"{reference!r} has no stimuli of its own; name a prepared dataset or a file of embeddings first."
        )
    ids = sources.spread(dataset.stimulus_ids, choices.n_conditions)
    return sources.other(reference, dataset, ids, choices)


def _null(data: RDM, rows: torch.Tensor, settings: Settings) -> np.ndarray:
    """Scores of each subject with permuted conditions: (permutation, subject, model)."""
    values = data.distances.double().reshape(-1, 1, data.distances.shape[-1])
    generator = seeding.torch_generator(settings.seed, "compare null")
    return permutation_null(values, rows, settings.comparator, settings.n_permutations, generator).numpy()


def _half_width(
    data: torch.Tensor, models: torch.Tensor, inference: Inference, settings: Settings
) -> np.ndarray:
    """Half of the 95 % interval (model,) at one time; of rank comparisons with the ranks of the whole sample."""
    if named(settings.comparator).ranks:
        data, models = (standardise(average_ranks(x)) for x in (data, models))
    generator = seeding.torch_generator(settings.seed, "compare intervals")
    kind = "cosine" if settings.comparator in ("cosine", "whitened_cosine") else "pearson"
    factors = OVER if inference.over == "both" else (inference.over,)
    n_draws = min(COURSE_DRAWS, settings.n_draws)
    draws = bootstrap(data, models, kind, n_draws, generator, ceilings=False, factors=factors)
    variance = draws.variance(torch.eye(len(models), dtype=torch.float64), inference.over)
    n = {"conditions": inference.n_conditions, "subjects": inference.n_subjects}.get(
        inference.over, min(inference.n_conditions, inference.n_subjects)
    )
    return float(stats.t.ppf(0.975, n - 1)) * variance.clamp_min(0).sqrt().numpy()


def _patterns(geometry: Geometry, conditions: Sequence[str]) -> list[torch.Tensor]:
    row = {name: i for i, name in enumerate(geometry.rdm.conditions)}
    order = [row[name] for name in conditions]
    return [torch.from_numpy(np.asarray(x, dtype=np.float64))[order] for x in geometry.patterns]


def _mean_over(measure: Measure, x: torch.Tensor, sides: Sequence[torch.Tensor]) -> float:
    return float(np.mean([float(measure(x, y)) for y in sides]))


def _nulls(
    measure: Measure, brains: Sequence[torch.Tensor], sides: Sequence[torch.Tensor], settings: Settings
) -> np.ndarray:
    """Means over subjects under the null, (permutation,): all subjects see the stimuli in the same other order."""

    def one(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        generator = seeding.torch_generator(settings.seed, "compare null", measure.name)
        return measure.nulls(x, y, settings.n_permutations, generator)

    return torch.stack([one(x, y) for x in brains for y in sides]).mean(0).numpy()


def _jackknife(measure: Measure, brains: Sequence[torch.Tensor], sides: Sequence[torch.Tensor]) -> float:
    """Standard error of the mean over subjects for other stimuli, by leaving groups of them out."""
    group = torch.arange(len(sides[0])) % JACKKNIFE
    left = [
        np.mean([_mean_over(measure, x[group != g], [y[group != g] for y in sides]) for x in brains])
        for g in range(min(JACKKNIFE, len(sides[0])))
    ]
    return float(np.sqrt((len(left) - 1) * np.var(left)))
