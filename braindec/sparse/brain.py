"""Which latents of a dictionary can be read from a brain: held-out readings with intervals, nulls and ceilings.

A latent is read from responses (a) by the pre-activation of an embedding that was predicted from them, or (b) by a
regression on its activation. It is never read by encoding a prediction: predictions are shrunk and lie where no
stimulus does, and a code keeps the largest few of what noise left of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.folds import complement, folds_by_count
from braindec.maths.ridge import ridge_predict, solve
from braindec.sparse import separation
from braindec.sparse.dictionary import Dictionary
from braindec.sparse.separation import Separation
from braindec.stats.permutation import max_statistic_p

ALPHAS = tuple(10.0**k for k in range(7))  # for responses of unit variance
MIN_ACTIVE = 10  # stimuli: the area of a rarer latent says more of its stimuli than of the brain
LEAST_RELIABLE = 0.05  # share of a reading's spread: below it a ceiling is a quotient of noise


@dataclass(frozen=True)
class Settings:
    """How latents are read and what a claim needs.

    Parameters
    ----------
    n_folds, n_inner : int
        Of stimuli: what is held out, and, inside the rest, what the penalty is chosen on.
    n_null : int
        Refits with stimuli permuted.
    n_draws : int
        Resamples of stimuli behind intervals.
    min_active : int
        Stimuli in which a latent must be active, and silent, to be tested.
    level : float
        Family-wise error of claims.
    quantile : float
        Of a baseline's latents, cut to the latent's own frequency, that a claim must exceed.
    n_rates : int
        Frequencies at which baselines are cut.
    alphas : tuple of float
    """

    n_folds: int = 5
    n_inner: int = 4
    n_null: int = 99
    n_draws: int = 200
    min_active: int = MIN_ACTIVE
    level: float = 0.05
    quantile: float = 0.95
    n_rates: int = 6
    alphas: tuple[float, ...] = ALPHAS

    def __post_init__(self) -> None:
        checks.at_least("n_folds", self.n_folds, 2)
        checks.at_least("n_inner", self.n_inner, 2)
        checks.at_least("n_null", self.n_null, 1)
        checks.at_least("n_draws", self.n_draws, 2)
        checks.at_least("min_active", self.min_active, 2)
        checks.in_range("level", self.level, 1e-6, 0.5)
        checks.in_range("quantile", self.quantile, 0.0, 1.0)


SETTINGS = Settings()


class _Fold(NamedTuple):
    """Held-out rows, training rows, what standardises responses, and the factors of the training responses."""

    test: Tensor
    train: Tensor
    mean: Tensor
    scale: Tensor
    factors: RidgeFactors


@dataclass(frozen=True, eq=False)
class Reader:
    """Responses factorised once for every fold, from which any number of targets is read.

    Parameters
    ----------
    responses : Tensor, shape (n_stimuli, n_voxels)
    strata : int64 Tensor, shape (n_stimuli,)
        The fold that holds each stimulus out.
    folds : tuple
    alphas : tuple of float
    """

    responses: Tensor
    strata: Tensor
    folds: tuple[_Fold, ...]
    alphas: tuple[float, ...]

    @property
    def n_stimuli(self) -> int:
        """Rows."""
        return len(self.responses)


def reader(
    responses: Tensor,
    generator: torch.Generator,
    *,
    settings: Settings = SETTINGS,
    strata: Tensor | None = None,
) -> Reader:
    """What reads latents from responses.

    Parameters
    ----------
    responses : Tensor, shape (n_stimuli, n_voxels)
        One row a stimulus: average repeats first, or a stimulus stands on both sides.
    generator : torch.Generator
        Deals stimuli to folds.
    settings : Settings
    strata : int Tensor, shape (n_stimuli,), optional
        Folds to use in place of random ones: concepts or look-alikes that must not be parted have one number.
    """
    n, _ = checks.n_axes("responses", responses, ("stimulus", "voxel")).shape
    if strata is None:
        strata = torch.empty(n, dtype=torch.int64)
        for number, rows in enumerate(folds_by_count(n, settings.n_folds, generator)):
            strata[rows] = number
    checks.same_length("stimulus", responses=responses, strata=strata)
    held_out = [torch.nonzero(strata == name).squeeze(1) for name in strata.unique()]
    checks.at_least("number of folds", len(held_out), 2)
    folds = tuple(_factorised(responses, test, settings.n_inner, generator) for test in held_out)
    return Reader(responses, strata.to(responses.device), folds, settings.alphas)


def _factorised(responses: Tensor, test: Tensor, n_inner: int, generator: torch.Generator) -> _Fold:
    train = complement(len(responses), test).to(responses.device)
    rows = responses[train]
    mean, spread = rows.mean(0), rows.std(0)
    # A voxel that is constant in training says nothing, and would be divided by rounding.
    usable = spread > 1e-6 * spread.max()
    scale = torch.where(
        usable, 1 / spread.clamp_min(torch.finfo(spread.dtype).tiny), torch.zeros_like(spread)
    )
    inner = folds_by_count(len(train), n_inner, generator)
    factors = factorise((rows - mean) * scale, inner)
    return _Fold(test.to(responses.device), train, mean, scale, factors)


def read(
    source: Reader, targets: Tensor, *, further: Sequence[Tensor] = (), per_target: bool = True
) -> tuple[Tensor, ...]:
    """Held-out ridge predictions of targets, their penalty chosen inside each fold's training stimuli.

    Parameters
    ----------
    source : Reader
    targets : Tensor, shape (n_stimuli, n_targets)
    further : sequence of Tensor, each of shape (n_stimuli, n_voxels)
        Other responses to the same stimuli (halves of the repeats), read with the same weights.
    per_target : bool
        A penalty for every target; else one for all, which keeps an embedding's geometry.

    Returns
    -------
    tuple of Tensor, each of shape (n_stimuli, n_targets)
        Readings of the responses, then of each of `further`. Compare them within folds (`Reader.strata`) alone.
    """
    checks.same_length("stimulus", responses=source.responses, targets=targets)
    targets = targets.to(source.responses)
    out = tuple(torch.empty_like(targets) for _ in range(1 + len(further)))
    for fold in source.folds:
        fit = solve(fold.factors, targets[fold.train], source.alphas, per_target=per_target)
        for made, responses in zip(out, (source.responses, *further), strict=True):
            made[fold.test] = ridge_predict((responses[fold.test] - fold.mean) * fold.scale, fit)
    return out


@dataclass(frozen=True, eq=False)
class Latents:
    """A dictionary on the stimuli that were shown: what is to be read.

    Parameters
    ----------
    embeddings : Tensor, shape (n_stimuli, n_dims)
    activations : Tensor, shape (n_stimuli, n_latents)
        Of the stimuli's own embeddings.
    dictionary : Dictionary
    """

    embeddings: Tensor
    activations: Tensor
    dictionary: Dictionary

    @property
    def active(self) -> Tensor:
        """Where each latent is, bool (n_stimuli, n_latents)."""
        return self.activations > 0

    def rows(self, order: Tensor) -> Latents:
        """The same of other stimuli."""
        return Latents(self.embeddings[order], self.activations[order], self.dictionary)


WAYS = ("embedding", "direct")


@torch.no_grad()
def readings(
    source: Reader, latents: Latents, way: str, further: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """Held-out readings of every latent, each (n_stimuli, n_latents).

    Parameters
    ----------
    source : Reader
    latents : Latents
    way : str
        ``"embedding"``: pre-activations of the embedding predicted from responses. ``"direct"``: regression of the
        activations themselves on responses.
    further : sequence of Tensor
        As for `read`.
    """
    checks.one_of("way", way, WAYS)
    if way == "direct":
        return read(source, latents.activations, further=further)
    made = read(source, latents.embeddings, further=further, per_target=False)
    return tuple(latents.dictionary.pre_activations(one.to(latents.embeddings)) for one in made)


@dataclass(frozen=True, eq=False)
class Reading:
    """How well each latent is read from one brain in one way.

    Parameters
    ----------
    way : str
    separation : Separation
        Areas of held-out readings.
    interval : Tensor, shape (2, n_latents)
        95 % of the areas, stimuli resampled.
    p : Tensor, shape (n_latents,)
        Against the largest `z` of any tested latent after refits to permuted stimuli; NaN where not tested.
    ceiling : Tensor, shape (n_latents,), or None
        The area the same reading would have without what differs between repeats of a stimulus.
    rate : Tensor, shape (n_latents,)
        Share of the stimuli in which a latent is active.
    tested : bool Tensor, shape (n_latents,)
        Active and silent often enough.
    null : Tensor, shape (n_null, n_latents)
        `z` after each refit; NaN where not tested.
    draws : Tensor, shape (n_draws, n_latents)
        Resampled areas, in the order of the resamples.
    n_stimuli : int
    """

    way: str
    separation: Separation
    interval: Tensor
    p: Tensor
    ceiling: Tensor | None
    rate: Tensor
    tested: Tensor
    null: Tensor
    draws: Tensor
    n_stimuli: int

    @property
    def auc(self) -> Tensor:
        """Areas under the ROC curve, (n_latents,)."""
        return self.separation.auc


def how_read(
    source: Reader,
    latents: Latents,
    way: str,
    *,
    orders: Tensor,
    weights: Tensor,
    halves: Sequence[Tensor] = (),
    settings: Settings = SETTINGS,
) -> Reading:
    """How well latents are read, with interval, null and ceiling.

    Parameters
    ----------
    source : Reader
    latents : Latents
    way : str
        See `readings`.
    orders : int64 Tensor, shape (n_null, n_stimuli)
        Permutations of the stimuli (`permutations`): embeddings and activations move together, and all is fitted again.
    weights : Tensor, shape (n_draws, n_stimuli)
        `separation.resampling_weights`; the same for all ways that are to be compared.
    halves : sequence of two Tensors, shape (n_stimuli, n_voxels)
        Mean responses over either half of the repeats, for the ceiling.
    settings : Settings
    """
    made, *split = readings(source, latents, way, halves)
    active = latents.active
    found = separation.separate(made, active, source.strata)
    silent = len(active) - found.n_active
    tested = (found.n_active >= settings.min_active) & (silent >= settings.min_active) & found.z.isfinite()
    null = torch.full((len(orders), len(tested)), torch.nan, dtype=torch.float64, device=made.device)
    for row, order in zip(null, orders.to(made.device)):
        moved = latents.rows(order)
        again = _some(source, moved, way, tested)
        row[tested] = separation.separate(again, moved.active[:, tested], source.strata).z
    draws = separation.resampled(made, active, weights, source.strata)
    return Reading(
        way, found, separation.interval(found.auc, draws, found.n_active * silent), family_wise(found.z, null, tested),
        _ceiling(made, split, active, source.strata, found.auc) if len(split) == 2 else None,
        found.n_active.double() / len(active), tested, null, draws, len(active),
    )  # fmt: skip


def _some(source: Reader, latents: Latents, way: str, tested: Tensor) -> Tensor:
    """Readings of the tested latents alone."""
    if way == "direct":
        return read(source, latents.activations[:, tested])[0]
    return readings(source, latents, way)[0][:, tested]


def permutations(n_stimuli: int, n: int, generator: torch.Generator) -> Tensor:
    """Orders of the stimuli, int64 (n, n_stimuli)."""
    return torch.stack([torch.randperm(n_stimuli, generator=generator) for _ in range(n)])


def family_wise(z: Tensor, null: Tensor, tested: Tensor) -> Tensor:
    """p of each tested member of a family against its largest null value, float64; NaN for the others."""
    out = torch.full_like(z, torch.nan)
    if bool(tested.any()):
        known = null[:, tested].nan_to_num(
            0.0
        )  # a refit whose strata hold one kind only says nothing: chance
        p = max_statistic_p(z[tested].cpu().numpy(), known.cpu().numpy())
        out[tested] = torch.from_numpy(np.asarray(p)).to(z)
    return out


def _ceiling(made: Tensor, halves: Sequence[Tensor], active: Tensor, strata: Tensor, auc: Tensor) -> Tensor:
    """Areas without the noise that halves of the repeats do not share: half the variance of their half difference.

    The spread within active and within silent stimuli is signal and noise; without the noise d' grows by the square
    root of its reliability.
    """
    wide, on = made.double(), active.double()
    noise = ((halves[0].double() - halves[1].double()) / 2).square().mean(0)
    within = torch.zeros_like(noise)
    for name in strata.unique():
        rows = strata == name
        for member in (on[rows], 1 - on[rows]):
            count = member.sum(0).clamp_min(1)
            mean = (wide[rows] * member).sum(0) / count
            within += ((wide[rows] - mean).square() * member).sum(0)
    share = 1 - noise / (within / len(wide)).clamp_min(torch.finfo(torch.float64).tiny)
    without = torch.special.ndtr(torch.special.ndtri(auc) / share.clamp(LEAST_RELIABLE, 1.0).sqrt())
    return torch.where(auc > 0.5, without, auc)
