"""Ridge readings of any targets from responses, each stimulus held out once, every choice made on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import is_constant
from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.folds import complement, folds_by_count
from braindec.maths.ridge import ridge_predict, solve

ALPHAS = tuple(10.0**k for k in range(7))  # for responses of unit variance
MIN_ACTIVE = 10  # stimuli: the area of a rarer latent says more of its stimuli than of the brain


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
    silent = is_constant(rows, spread[None] * (len(rows) - 1) ** 0.5, 0)[0]
    scale = (1 / spread.masked_fill(silent, 1.0)).masked_fill(silent, 0.0)
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
