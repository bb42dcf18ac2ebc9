"""Do systems differ in their noise? Systems whose means tell nothing are told apart by the shape of their noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, seeding
from braindec.evaluate import study
from braindec.maths import stochastic_shape
from braindec.stats.intervals import wilson
from braindec.types import Report

KINDS = ("even", "along the means", "each stimulus its own")
RULES = {
    "means and noise": 1.0,
    "means alone": 2.0,
    "noise alone": 0.0,
}  # the weight of means, `gaussian_shape`
N_NULL = 199
LIMIT = (
    "Systems are made here: means are mostly one network's features, turned at random, their noise is Gaussian. A "
    "brain's repeats are fewer, and its noise need be of none of these kinds. Neighbours are systems of one set, so "
    "that single answers depend on each other, which the interval does not know."
)


@dataclass(frozen=True)
class Settings:
    """Systems and what is seen of them.

    Parameters
    ----------
    n_stimuli, n_repeats : int
        Of each system; every system sees the same stimuli.
    n_dims : int
        Of a system; means are the leading principal components of the features.
    n_systems : int
        Of each kind of noise.
    noise : float
        Variance of a response about its mean, over that of the means; the same for all kinds.
    own_means : float
        Share of the means' variance that is a system's own, in [0, 1): as no two brains are one. With none, means
        differ by their errors alone, which are the noise that is to be told.
    seed : int
    """

    n_stimuli: int = 60
    n_repeats: int = 20
    n_dims: int = 6
    n_systems: int = 8
    noise: float = 1.0
    own_means: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_repeats", self.n_repeats, 3)
        checks.at_least("n_systems", self.n_systems, 2)
        checks.in_range("own_means", self.own_means, 0.0, 0.99)


def made(features: Tensor, settings: Settings = Settings()) -> tuple[Tensor, np.ndarray]:
    """Responses (system, stimulus, repeat, dim) of systems of like means, and the kind (system,) of their noise.

    Parameters
    ----------
    features : Tensor, shape (n, p)
        Of at least `n_stimuli` stimuli, the first of which are shown.
    settings : Settings
    """
    n, d = settings.n_stimuli, settings.n_dims
    checks.at_least("features", len(features), n)
    shown = features[:n].double()
    shown = shown - shown.mean(0)
    axes = torch.linalg.svd(shown, full_matrices=False).Vh[:d]
    means = shown @ axes.T
    means = means * (d / means.square().sum(1).mean()).sqrt()  # variance 1 a dimension
    generator = seeding.torch_generator(settings.seed, "noise")
    roots = _roots(means, generator) * settings.noise**0.5
    systems = []
    for kind in range(len(KINDS)):
        for _ in range(settings.n_systems):
            drawn = torch.randn(n, settings.n_repeats, d, generator=generator, dtype=torch.float64)
            turn = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
            other = torch.randn(n, d, generator=generator, dtype=torch.float64)
            own = (1 - settings.own_means) ** 0.5 * means + settings.own_means**0.5 * other
            systems.append((own[:, None] + drawn @ roots[kind].mT) @ turn.T)
    return torch.stack(systems), np.repeat(np.arange(len(KINDS)), settings.n_systems)


def distances(responses: Tensor, alpha: float) -> np.ndarray:
    """Distances (system, system) of responses (system, stimulus, repeat, dim), by `stochastic_shape.gaussian_shape`."""
    means = responses.mean(2)
    away = responses - means[:, :, None]
    covariances = away.mT @ away / (responses.shape[2] - 1)
    means = means - means.mean(1, keepdim=True)
    found = np.zeros((len(means), len(means)))
    for i, j in itertools.combinations(range(len(means)), 2):
        one = stochastic_shape.gaussian_shape(means[i], covariances[i], means[j], covariances[j], alpha=alpha)
        found[i, j] = found[j, i] = one.distance
    return found


def named(between: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Whether the nearest other system is of a system's own kind, bool (system,), from distances (system, system)."""
    nearest = np.where(np.eye(len(between), dtype=bool), np.inf, between).argmin(1)
    return np.asarray(kinds[nearest] == kinds)


def noise_study(features: Tensor, settings: Settings = Settings(), *, protocol: str = "planted") -> Report:
    """How often a system's nearest neighbour has its kind of noise, by distances with and without noise.

    Parameters
    ----------
    features : Tensor, shape (n, p)
        Of stimuli: the systems' means.
    settings : Settings
    protocol : str
        What the scores are filed under.

    Notes
    -----
    After Duong et al. 2023, arXiv:2211.11665. All systems have like means and as much noise, each in axes of its own;
    kinds differ in the noise's directions alone. The null deals the kinds to systems at random.
    """
    responses, kinds = made(features, settings)
    rng = seeding.numpy_generator(settings.seed, "kinds dealt")
    n, share = len(kinds), {}
    found = []
    for rule, alpha in RULES.items():
        between = distances(responses, alpha)
        hits = named(between, kinds)
        share[rule] = {kind: float(hits[kinds == i].mean()) for i, kind in enumerate(KINDS)}
        nulls = [named(between, rng.permutation(kinds)).mean() for _ in range(N_NULL)]
        ends = wilson(int(hits.sum()), n)
        found += study.scores(
            f"noise_named_by_{rule.replace(' ', '_')}", float(hits.mean()), (ends.low, ends.high), nulls, n,
            protocol=protocol, chance=(settings.n_systems - 1) / (n - 1),
        )  # fmt: skip
    said = [
        f"By {rule} the nearest of {n - 1} other systems has the same kind of noise for {s.value:.3f} "
        f"[{s.interval[0]:.3f}, {s.interval[1]:.3f}] of systems (kinds dealt at random {s.null:.3f})."
        for rule, s in zip(RULES, found[::2], strict=True)
    ]
    series = {rule: list(by.values()) for rule, by in share.items()}
    panels: list[study.Panel] = [
        ("Systems whose nearest neighbour has their kind of noise", "regions", study.bars(
            KINDS, series, "share of systems", chance=found[0].chance,
            caption="Means are no more alike within a kind than between kinds, and all kinds have as much noise.",
        )),
    ]  # fmt: skip
    return study.report(
        "Do systems differ in their noise?", said, found, panels, LIMIT,
        settings=config.to_json(settings),
    )  # fmt: skip


def _roots(means: Tensor, generator: torch.Generator) -> Tensor:
    """Roots (kind, stimulus, dim, dim) of each kind's covariances, all of trace dim."""
    n, d = means.shape
    even = torch.eye(d, dtype=torch.float64).expand(n, d, d)
    along = torch.diag_embed(means.square().mean(0).sqrt()).expand(n, d, d)  # components are the means' axes
    own = torch.nn.functional.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=1)
    roots = torch.stack([even, along, own[:, :, None] * own[:, None, :]])
    return roots * (d / roots.square().sum((-2, -1), keepdim=True)).sqrt()
