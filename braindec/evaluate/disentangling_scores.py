"""Scores of latents, of names told and of ERPs drawn, beside components, closed forms and shuffled factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from braindec import seeding
from braindec.data.simulated.factor_erps import FactorErps, row_of
from braindec.decoder import symbols
from braindec.decoder.disentangled import DisentangledErps
from braindec.decoder.symbols import Symbols
from braindec.evaluate import study
from braindec.maths.correlation import pearson
from braindec.maths.principal import principal_components
from braindec.maths.ridge import fit_ridge, ridge_predict
from braindec.metrics import disentanglement
from braindec.stats.intervals import subject_interval
from braindec.stats.permutation import p_value
from braindec.types import Score

if TYPE_CHECKING:
    from braindec.evaluate.disentangling import Settings

NAMED, DRAWN, READ, MIG, DCI = (
    "symbol_accuracy", "drawn_erp_correlation", "latent_factor_accuracy", "mutual_information_gap", "disentanglement",
)  # fmt: skip
ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Parts:
    """ERPs to learn from, others of the same combinations, those of new combinations, and these combinations."""

    train: FactorErps
    test: FactorErps
    new: FactorErps
    combinations: Tensor

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """Values and factors of all ERPs that were not learnt from."""
        both = (self.test, self.new)
        return torch.cat([p.values for p in both]), torch.cat([p.factors for p in both])


@dataclass(frozen=True, eq=False)
class Chosen:
    """Fits by beta, how well their seeds agree, what they rebuild, and which was chosen.

    Parameters
    ----------
    models : mapping of float to list of DisentangledErps
    udr : mapping of float to Tensor, shape (n_seeds,)
    rebuilt : mapping of float to float
        Share of training ERPs' variance, of the best seed.
    informative : mapping of float to list of int
        Latents that say something, by seed.
    beta : float
    which : int
        Seed.
    enough : tuple of float
        Betas that were ranked.
    """

    models: Mapping[float, list[DisentangledErps]]
    udr: Mapping[float, Tensor]
    rebuilt: Mapping[float, float]
    informative: Mapping[float, list[int]]
    beta: float
    which: int
    enough: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The chosen model, a VAE, an autoencoder; symbols of the first two, and of the first on shuffled factors."""

    ours: DisentangledErps
    ordinary: DisentangledErps
    plain: DisentangledErps
    symbols: Symbols
    ordinary_symbols: Symbols
    nulls: Sequence[Symbols]


Latents = Callable[[Tensor], Tensor]


def judge(
    parts: Parts, fitted: Fitted, settings: Settings, protocol: str
) -> tuple[list[Score], dict[str, Latents]]:
    """All scores, and what gives each system's latents."""
    latents = {
        "braindec": _means(fitted.ours), "contender": _means(fitted.ordinary), "scratch": _means(fitted.plain),
        "ridge": _components(parts.train.values, settings),
    }  # fmt: skip
    common = {"protocol": protocol, "subject": "simulated", "modality": "eeg"}
    return [
        *_named(parts, fitted, settings, common),
        *_drawn(parts, fitted, common),
        *_read(parts, latents, settings, common),
        *_apart(parts, latents, settings, common),
    ], latents


def balanced(said: Tensor, factors: Tensor) -> float:
    """Share of ERPs whose level is told, mean over levels, then over factors."""
    rows = []
    for own, true in zip(said.T, factors.T, strict=True):
        rows.append(float(np.mean([float((own[true == v] == v).double().mean()) for v in true.unique()])))
    return float(np.mean(rows))


def by_factor(said: Tensor, factors: Tensor) -> list[float]:
    """`balanced` of each factor."""
    return [balanced(said[:, [i]], factors[:, [i]]) for i in range(factors.shape[1])]


def closed_form(x: Tensor, factors: Tensor, sizes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Ridge of every level on features, its penalty by leave-one-out; gives the largest level of each factor."""
    wanted = torch.cat([one_hot(c, s) for c, s in zip(factors.T, sizes, strict=True)], 1).double()
    found = fit_ridge(x.double(), wanted, ALPHAS, "loo")

    def tell(values: Tensor) -> Tensor:
        parts = ridge_predict(values.double(), found).split(list(sizes), 1)
        return torch.stack([part.argmax(1) for part in parts], 1)

    return tell


def main_effects(train: FactorErps) -> Callable[[Tensor], Tensor]:
    """The mean ERP and one wave for each level, added: least squares over training ERPs."""
    sizes = [len(levels) for levels in train.levels]

    def design(factors: Tensor) -> Tensor:
        return torch.cat([one_hot(c, s) for c, s in zip(factors.T, sizes, strict=True)], 1).double()

    weights = torch.linalg.lstsq(
        design(train.factors), train.values.flatten(1).double(), driver="gelsd"
    ).solution
    return lambda factors: (design(factors) @ weights).unflatten(1, train.values.shape[1:]).float()


def _means(model: DisentangledErps) -> Latents:
    def of(erps: Tensor) -> Tensor:
        with torch.no_grad():
            return model.encode(erps).mean

    return of


def _components(train: Tensor, settings: Settings) -> Latents:
    flat = train.flatten(1).double()
    draw = seeding.torch_generator(settings.seed, "components")
    found = principal_components(flat, settings.model.n_latents, draw)
    return lambda erps: (erps.flatten(1).double() - found.mean) @ found.directions.T


def _chance(parts: Parts) -> float:
    return float(np.mean([1 / len(levels) for levels in parts.train.levels]))


def _named(parts: Parts, fitted: Fitted, settings: Settings, common: Mapping[str, Any]) -> list[Score]:
    """Levels told of held-out ERPs."""
    values, factors = parts.held
    sizes = [len(levels) for levels in parts.train.levels]
    ridge = closed_form(parts.train.values.flatten(1), parts.train.factors, sizes)
    said = {
        "braindec": symbols.told(fitted.symbols, fitted.ours, values),
        "contender": symbols.told(fitted.ordinary_symbols, fitted.ordinary, values),
        "ridge": ridge(values.flatten(1)),
    }
    nulls = [balanced(symbols.told(one, fitted.ours, values), factors) for one in fitted.nulls]
    found = {
        system: (balanced(own, factors), study.jackknife(balanced, own, factors, seed=settings.seed),
                 {"by_factor": by_factor(own, factors)})
        for system, own in said.items()
    }  # fmt: skip
    return _scores(NAMED, found, nulls, len(values), _chance(parts), common)


def _drawn(parts: Parts, fitted: Fitted, common: Mapping[str, Any]) -> list[Score]:
    """ERPs drawn of new combinations, correlated with the mean recorded ones; both less the mean training ERP."""
    recorded, made = drawn_erps(parts, fitted)
    middle = parts.train.values.mean(0)
    truth = (recorded - middle).flatten(1)

    def alike(own: Tensor) -> np.ndarray:
        return np.asarray(pearson((own - middle).flatten(1), truth, dim=1).double())

    nulls = [float(alike(symbols.drawn(one, fitted.ours, parts.combinations)).mean()) for one in fitted.nulls]
    found = {}
    for system, own in made.items():
        rows = subject_interval(alike(own))
        found[system] = (
            float(rows.mean),
            (rows.interval.low, rows.interval.high),
            {"each": list(rows.values)},
        )
    return _scores(DRAWN, found, nulls, len(parts.combinations), 0.0, common)


def drawn_erps(parts: Parts, fitted: Fitted) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean recorded ERPs of new combinations, and what each system draws of them, (n_new, n_channels, n_times)."""
    wanted, sizes = parts.combinations, tuple(len(levels) for levels in parts.train.levels)
    own = row_of(parts.new.factors, sizes)
    recorded = torch.stack([parts.new.values[own == number].mean(0) for number in row_of(wanted, sizes)])
    return recorded, {
        "braindec": symbols.drawn(fitted.symbols, fitted.ours, wanted),
        "contender": symbols.drawn(fitted.ordinary_symbols, fitted.ordinary, wanted),
        "ridge": main_effects(parts.train)(wanted),
        "nearest": torch.stack([_nearest(parts.train, one) for one in wanted]),
        "oracle": parts.train.truth[row_of(wanted, sizes)],
    }


def _nearest(train: FactorErps, wanted: Tensor) -> Tensor:
    """Mean of the training ERPs that share most levels with a combination."""
    shared = (train.factors == wanted).sum(1)
    return train.values[shared == shared.max()].mean(0)


def _read(
    parts: Parts, latents: Mapping[str, Latents], settings: Settings, common: Mapping[str, Any]
) -> list[Score]:
    """Levels told by linear classifiers of latents, fitted on training people."""
    values, factors = parts.held
    sizes = [len(levels) for levels in parts.train.levels]
    found, ours = {}, latents["braindec"]
    for system, of in latents.items():
        own = closed_form(of(parts.train.values), parts.train.factors, sizes)(of(values))
        ends = study.jackknife(balanced, own, factors, seed=settings.seed)
        found[system] = (balanced(own, factors), ends, {"by_factor": by_factor(own, factors)})
    nulls = []
    for i in range(settings.n_null):
        draw = seeding.torch_generator(settings.seed, "shuffled classifier", i)
        wrong = parts.train.factors[torch.randperm(len(parts.train.factors), generator=draw)]
        nulls.append(balanced(closed_form(ours(parts.train.values), wrong, sizes)(ours(values)), factors))
    return _scores(READ, found, nulls, len(values), _chance(parts), common)


def _apart(
    parts: Parts, latents: Mapping[str, Latents], settings: Settings, common: Mapping[str, Any]
) -> list[Score]:
    """Mutual information gap, and disentanglement by forests, of held-out ERPs' latents."""
    values, factors = parts.held

    def gap(z: Tensor, f: Tensor) -> float:
        return float(disentanglement.mig(z, f).mean())

    def dci(z: Tensor, f: Tensor) -> float:
        found = disentanglement.importances(z, f, settings.seed, settings.n_trees)
        return disentanglement.dci(found).disentanglement

    scores = []
    for name, measure in ((MIG, gap), (DCI, dci)):
        found: dict[str, Any] = {}
        for system, of in latents.items():
            z = of(values)
            details = {"by_factor": disentanglement.mig(z, factors).tolist()} if name == MIG else {}
            found[system] = (
                measure(z, factors),
                study.jackknife(measure, z, factors, seed=settings.seed),
                details,
            )
        z, nulls = latents["braindec"](values), []
        for i in range(settings.n_null):
            draw = seeding.torch_generator(settings.seed, "shuffled", name, i)
            nulls.append(measure(z, factors[torch.randperm(len(factors), generator=draw)]))
        scores += _scores(name, found, nulls, len(values), float(np.mean(nulls)), common)
    return scores


def _scores(
    name: str, found: Mapping[str, tuple[float, Any, Mapping[str, Any]]], nulls: Sequence[float], n: int,
    chance: float, common: Mapping[str, Any],
) -> list[Score]:  # fmt: skip
    null, shared = np.array(nulls), dict(common)
    shared |= {"chance": chance, "null": float(null.mean()), "null_n": len(null), "n": n}
    scores = [
        Score(
            name=name, system=system, value=float(value), interval=(float(ends[0]), float(ends[1])), details=details,
            p=p_value(float(value), null) if system == "braindec" else None, **shared,
        )
        for system, (value, ends, details) in found.items()
    ]  # fmt: skip
    low, high = np.quantile(null, [0.025, 0.975])
    return [
        *scores,
        Score(
            name=name,
            system="shuffled",
            value=float(null.mean()),
            interval=(float(low), float(high)),
            **shared,
        ),
    ]
