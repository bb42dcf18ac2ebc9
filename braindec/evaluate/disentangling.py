"""ERPs taken apart into latents without looking at factors, named afterwards, and drawn of combinations never seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data.simulated.factor_erps import FactorErps, factor_erps, row_of
from braindec.decoder import disentangled, symbols
from braindec.decoder.disentangled import DisentangledErps, kl_from_prior, rebuilt_share
from braindec.evaluate import disentangling_report, disentangling_scores
from braindec.evaluate.disentangling_scores import Chosen, Fitted, Parts
from braindec.metrics.disentanglement import udr
from braindec.types import Report

__all__ = ["Planted", "Settings", "disentangle", "planted"]


@dataclass(frozen=True)
class Planted:
    """Generated ERPs (`data.simulated.factor_erps`).

    Parameters
    ----------
    n : int
        People.
    noise : float
        SD that is left in an ERP, µV.
    """

    n: int = 1440
    noise: float = 1.0


@dataclass(frozen=True)
class Settings:
    """What is fitted and how it is judged.

    Parameters
    ----------
    betas : tuple of float
        Of which one is chosen; 1, an ordinary VAE, is fitted in any case.
    n_seeds : int
        Fits of each, whose agreement chooses; >= 2.
    rebuilt : float
        Only betas are ranked that rebuild this share of what the best one does: fits of one latent always agree.
    n_new : int
        Combinations of levels that are never trained on.
    share : float
        Of the other ERPs that are tested.
    n_null : int
        Refits on shuffled factors.
    n_trees : int
        Of the forests whose importances `metrics.disentanglement.dci` looks at.
    model : decoder.disentangled.Config
    symbols : decoder.symbols.Config
    seed : int
    """

    betas: tuple[float, ...] = (1.0, 5.0, 10.0, 20.0)
    n_seeds: int = 4
    rebuilt: float = 0.8
    n_new: int = 6
    share: float = 0.3
    n_null: int = 9
    n_trees: int = 20
    model: disentangled.Config = field(default_factory=disentangled.Config)
    symbols: symbols.Config = field(default_factory=symbols.Config)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("number of betas", len(self.betas), 1)
        checks.at_least("smallest beta", min(self.betas), 1e-6)
        checks.at_least("n_seeds", self.n_seeds, 2)
        checks.in_range("rebuilt", self.rebuilt, 0.0, 1.0)
        checks.at_least("n_new", self.n_new, 2)
        checks.in_range("share", self.share, 0.05, 0.9)
        checks.at_least("n_null", self.n_null, 1)
        checks.at_least("n_trees", self.n_trees, 1)


SETTINGS = Settings()


def planted(told: Planted, seed: int = 0) -> FactorErps:
    """Generated ERPs."""
    return factor_erps(told.n, seeding.numpy_generator(seed, "factor erps"), noise=told.noise)


def disentangle(
    erps: FactorErps,
    settings: Settings = SETTINGS,
    *,
    protocol: str = "heldout_people",
    out_dir: Path | None = None,
) -> Report:
    """Fits beta-VAEs and symbols on some people's ERPs; judges latents, names and drawn ERPs by others'.

    Parameters
    ----------
    erps : FactorErps
        One a person.
    settings : Settings
    protocol : str
        Name that the scores carry.
    out_dir : path, optional
        Where the model and its symbols are saved, in folders ``erps`` and ``symbols``.

    Returns
    -------
    Report
        Of the chosen beta-VAE, a VAE (beta 1), a plain autoencoder, principal components, closed forms on whole ERPs,
        and refits on shuffled factors.

    Raises
    ------
    ValueError
        If combinations cannot be left out so that every level stays, or there are too few ERPs of one.
    """
    parts = parted(erps, settings)
    chosen = choose(parts.train, settings)
    vae = chosen.models[min(chosen.models, key=lambda beta: abs(beta - 1.0))]
    ordinary = vae[int(chosen.udr[1.0].argmax())]
    plain = disentangled.fit(parts.train.values, replace(settings.model, beta=0.0), seed=settings.seed)
    ours = chosen.models[chosen.beta][chosen.which]
    names = _symbols(ours, parts.train, settings)
    fitted = Fitted(
        ours, ordinary, plain, names, _symbols(ordinary, parts.train, settings),
        [_symbols(ours, _shuffled(parts.train, settings, i), settings, i + 1) for i in range(settings.n_null)],
    )  # fmt: skip
    if out_dir is not None:
        disentangled.save(ours, out_dir / "erps")
        symbols.save(names, out_dir / "symbols")
    scores, latents = disentangling_scores.judge(parts, fitted, settings, protocol)
    return disentangling_report.report(scores, parts, fitted, chosen, latents, settings)


def parted(erps: FactorErps, settings: Settings) -> Parts:
    """ERPs to learn from, others of the same combinations, and those of combinations that are never learnt from.

    Combinations are drawn so that every level of every factor stays with most of them.
    """
    sizes = tuple(len(levels) for levels in erps.levels)
    draw = seeding.torch_generator(settings.seed, "new combinations")
    number = row_of(erps.factors, sizes)
    every = torch.cartesian_prod(*(torch.arange(size) for size in sizes))
    checks.at_least("combinations that are learnt from", len(every) - settings.n_new, sum(sizes))
    new = torch.randperm(len(every), generator=draw)[: settings.n_new]
    stay = torch.ones(len(every), dtype=torch.bool).index_fill(0, new, False)
    lost = [
        f"{name} {level}"
        for i, (name, levels) in enumerate(zip(erps.names, erps.levels, strict=True))
        for j, level in enumerate(levels)
        if not bool((every[stay][:, i] == j).any())
    ]
    if lost:
        raise ValueError(f"without {settings.n_new} combinations {lost} are never seen; lower n_new.")
    unseen = torch.isin(number, new)
    order = torch.randperm(len(number), generator=draw)
    order = order[~unseen[order]]
    n_test = round(settings.share * len(order))

    def take(rows: Tensor) -> FactorErps:
        return replace(erps, values=erps.values[rows], factors=erps.factors[rows])

    parts = Parts(
        take(order[n_test:]), take(order[:n_test]), take(torch.nonzero(unseen).flatten()), every[new]
    )
    least = int(torch.bincount(row_of(parts.new.factors, sizes), minlength=len(every))[new].min())
    checks.at_least("ERPs of a new combination", least, 2)
    return parts


def choose(train: FactorErps, settings: Settings) -> Chosen:
    """Fits of all betas and seeds; of those that rebuild enough the beta whose fits agree best, and its best fit."""
    betas = sorted({1.0, *settings.betas})
    models: dict[float, list[DisentangledErps]] = {}
    ranking, rebuilt, informative = {}, {}, {}
    for beta in betas:
        told = replace(settings.model, beta=beta)
        models[beta] = [
            disentangled.fit(train.values, told, seed=settings.seed + i) for i in range(settings.n_seeds)
        ]
        with torch.no_grad():
            seen = [model.encode(train.values) for model in models[beta]]
        cost = [kl_from_prior(q).mean(0) for q in seen]
        ranking[beta] = udr([q.mean for q in seen], cost)
        rebuilt[beta] = max(rebuilt_share(model, train.values) for model in models[beta])
        informative[beta] = [int((k > 0.01).sum()) for k in cost]
    most = max(rebuilt.values())
    enough = [b for b in betas if rebuilt[b] >= most - (1 - settings.rebuilt) * abs(most)]
    best = max(enough, key=lambda beta: float(ranking[beta].quantile(0.5)))
    return Chosen(models, ranking, rebuilt, informative, best, int(ranking[best].argmax()), tuple(enough))


def _symbols(
    model: DisentangledErps, train: FactorErps, settings: Settings, extra: int = 0
) -> symbols.Symbols:
    sizes = [len(levels) for levels in train.levels]
    return symbols.fit(
        model, train.values, train.factors, sizes, settings.symbols, seed=settings.seed + extra
    )


def _shuffled(train: FactorErps, settings: Settings, number: int) -> FactorErps:
    """Training ERPs with the factors of others."""
    draw = seeding.torch_generator(settings.seed, "shuffled factors", number)
    return replace(train, factors=train.factors[torch.randperm(len(train.factors), generator=draw)])
