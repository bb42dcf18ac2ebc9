"""Ridge regression of many targets: one factorisation of `x`, then any number of `y`, penalties and folds.

The problem solved is |y - x w - b|^2 + alpha |w|^2 with an intercept `b` that is not penalised (alpha in scikit-learn's
units). A fold's Gram matrix is the whole one minus the held-out rows', so the cost that grows with the number of rows
is paid once; with fewer rows than features the same algebra runs on the (n, n) kernel matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import (
    Moments,
    RidgeFactors,
    Totals,
    factorise,
    fold_moments,
    fold_products,
    full_moments,
    moments_of,
    row_totals,
)
from braindec.maths.folds import Folds
from braindec.maths.gemm import mm
from braindec.maths.ridge_scores import NAMED_SCORES, fold_scores, hat_rows, hat_scores, named_score

Alphas = Sequence[float] | np.ndarray | Tensor
Scorer = Callable[[Tensor, Tensor], Tensor]
TARGETS_AT_ONCE = 4096


class RidgeFit(NamedTuple):
    """A fitted ridge.

    weights (p, q); intercept (q,); alpha (q,), equal entries where one was chosen for all; cv_scores (n_alphas, q), or
    (n_alphas,) for a scorer that gives one number, or None where nothing had to be chosen.
    """

    weights: Tensor
    intercept: Tensor
    alpha: Tensor
    cv_scores: Tensor | None


def fit_ridge(
    x: Tensor,
    y: Tensor,
    alphas: Alphas,
    folds: Folds | str | None = None,
    *,
    per_target: bool = False,
    score: str | Scorer = "r2",
) -> RidgeFit:
    """Weights at the penalty that predicts held-out rows best.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Features; centred inside every fold.
    y : Tensor, shape (n, q)
        Targets.
    alphas : sequence, array or Tensor of float
        Penalties >= 0 to choose from.
    folds : tuple of Tensor, "loo" or None
        Held-out rows (`maths.folds`), leave-one-out in closed form, or None with a single penalty.
    per_target : bool
        Choose a penalty for each target instead of one for all.
    score : str or callable
        ``"r2"``, ``"correlation"`` or ``"neg_mse"`` of the held-out rows, averaged over folds, or a function of
        (prediction, truth), each (n_held_out, q), giving one number or one per target; higher is better.

    Returns
    -------
    RidgeFit

    Raises
    ------
    ValueError
        If lengths differ, a penalty is negative, or several penalties come without folds.
    """
    checks.same_length("trial", x=x, y=y)
    return solve(factorise(x, folds), y, alphas, per_target=per_target, score=score)


def solve(
    factors: RidgeFactors,
    y: Tensor,
    alphas: Alphas,
    *,
    per_target: bool = False,
    score: str | Scorer = "r2",
) -> RidgeFit:
    """`fit_ridge` for further targets of the same `x`: refits under a permuted pairing are nearly free.

    Parameters
    ----------
    factors : RidgeFactors
        From `factorise`.
    y, alphas, per_target, score
        See `fit_ridge`.

    Returns
    -------
    RidgeFit
    """
    checks.n_axes("y", y, ("trial", "target"))
    checks.same_length("trial", x=factors.x, y=y)
    grid = _penalties(alphas, y)
    if len(grid) == 1:
        return _fitted([_given(factors, part, grid) for part in y.split(TARGETS_AT_ONCE, 1)], None)
    if callable(score):
        scores = cross_validate(factors, y, grid, score=score)
        chosen = choose_alpha(grid, scores, per_target=per_target).expand(y.shape[1])
        parts = zip(y.split(TARGETS_AT_ONCE, 1), chosen.split(TARGETS_AT_ONCE))
        return _fitted([_given(factors, part, alpha) for part, alpha in parts], scores)
    _check_can_choose(factors, score, grid)
    hats = _hats(factors, y.shape[1], grid)
    seen = [_seen(factors, part, grid, score, per_target, hats) for part in y.split(TARGETS_AT_ONCE, 1)]
    scores = torch.cat([part.scores for part in seen], 1)
    common = None if per_target else choose_alpha(grid, scores, per_target=False)
    return _fitted([_chosen(factors, part, grid, common) for part in seen], scores)


def ridge_path(x: Tensor, y: Tensor, alphas: Alphas) -> tuple[Tensor, Tensor]:
    """Weights (n_alphas, p, q) and intercepts (n_alphas, q) at every penalty, from one factorisation."""
    factors = factorise(x, None)
    moments = full_moments(factors, y)
    fits = [_weights(factors, moments, alpha.expand(y.shape[1])) for alpha in _penalties(alphas, y)]
    return torch.stack([weights for weights, _ in fits]), torch.stack([intercept for _, intercept in fits])


def ridge_predict(x: Tensor, fit: RidgeFit) -> Tensor:
    """Predictions (n, q) of a fitted ridge for features (n, p)."""
    return x.to(fit.weights.dtype) @ fit.weights + fit.intercept


def cross_validate(factors: RidgeFactors, y: Tensor, alphas: Alphas, *, score: str | Scorer = "r2") -> Tensor:
    """Score of the held-out rows at every penalty, mean over folds.

    Parameters
    ----------
    factors : RidgeFactors
        Made with folds; ``"loo"`` scores all left-out rows together, because one row has no correlation (which is then
        biased below zero, equally at every penalty that shrinks everything: choose by ``"neg_mse"`` or use folds).
    y, alphas, score
        See `fit_ridge`.

    Returns
    -------
    Tensor, shape (n_alphas, q) or (n_alphas,)
        The second for a scorer that gives one number.
    """
    grid = _penalties(alphas, y)
    _check_can_choose(factors, score, grid)
    if callable(score):
        return _scores_of_predictions(factors, y, grid, score)
    hats = _hats(factors, y.shape[1], grid)
    parts = [
        _named_scores(factors, row_totals(factors, part), part, grid, score, hats)
        for part in y.split(TARGETS_AT_ONCE, dim=1)
    ]
    return torch.cat(parts, dim=1)


def held_out_predictions(factors: RidgeFactors, y: Tensor, alpha: float | Tensor) -> Tensor:
    """Prediction of every row by a ridge that did not see its fold.

    Parameters
    ----------
    factors : RidgeFactors
        Made with folds or ``"loo"``.
    y : Tensor, shape (n, q)
    alpha : float or Tensor, shape (q,)
        Penalty, common or per target.

    Returns
    -------
    Tensor, shape (n, q)
        NaN for rows that no fold holds out.

    Notes
    -----
    Score these within folds. A fold's training mean lies opposite to the mean of its held-out rows, so a correlation
    over all rows together is negative for unrelated data (-0.1 at 200 rows in 5 folds).
    """
    penalty = torch.as_tensor(alpha, dtype=factors.x.dtype, device=factors.x.device).expand(y.shape[1])
    if factors.leave_one_out:
        return _leave_one_out(factors, y, penalty, full_moments(factors, y))
    out = torch.full(
        (len(factors.x), y.shape[1]), float("nan"), dtype=factors.x.dtype, device=factors.x.device
    )
    totals = row_totals(factors, y)
    for number, fold in enumerate(factors.folds):
        moments = fold_moments(factors, number, totals)
        out[fold.test] = fold.scores @ (moments.projected / (fold.values[:, None] + penalty)) + moments.mean
    return out


def choose_alpha(alphas: Tensor, scores: Tensor, *, per_target: bool) -> Tensor:
    """The penalty with the best score; of equals the largest.

    Parameters
    ----------
    alphas : Tensor, shape (n_alphas,)
    scores : Tensor, shape (n_alphas, q) or (n_alphas,)
    per_target : bool
        Choose for each column; else for the mean over columns.

    Returns
    -------
    Tensor, shape (q,) or (1,)

    Raises
    ------
    ValueError
        If a score is NaN, as those of targets that hold one are: no penalty is best.
    """
    if scores.ndim == 1 and per_target:
        raise ValueError(
            "per_target needs a score for every target, but this scorer gives one number for all."
        )
    bad = scores.reshape(len(alphas), -1).isnan().any(0)
    if bool(bad.any()):
        raise ValueError(
            f"scores of {int(bad.sum())} of {len(bad)} targets are NaN, first {int(bad.nonzero()[0])}, so no penalty "
            "is best; leave out targets that hold NaN, or give a score that is always a number."
        )
    table = scores if per_target else scores.reshape(len(alphas), -1).mean(1, keepdim=True)
    best = table >= table.amax(0)
    return torch.where(best, alphas[:, None].to(table), torch.full_like(table, -1.0)).amax(0).to(alphas.dtype)


class _Seen(NamedTuple):
    """Some targets after their folds: scores (n_alphas, q), a chosen penalty (q,) or none yet, and their moments."""

    scores: Tensor
    alpha: Tensor | None
    moments: Moments


def _seen(
    factors: RidgeFactors,
    y: Tensor,
    grid: Tensor,
    score: str,
    per_target: bool,
    hats: Sequence[Tensor | None],
) -> _Seen:
    totals = row_totals(factors, y)
    scores = _named_scores(factors, totals, y, grid, score, hats)
    alpha = choose_alpha(grid, scores, per_target=True) if per_target else None
    return _Seen(scores, alpha, moments_of(factors, totals))


def _chosen(factors: RidgeFactors, seen: _Seen, grid: Tensor, common: Tensor | None) -> RidgeFit:
    n_targets = seen.scores.shape[1]
    alpha = seen.alpha if seen.alpha is not None else (grid if common is None else common).expand(n_targets)
    return RidgeFit(*_weights(factors, seen.moments, alpha), alpha, None)


def _given(factors: RidgeFactors, y: Tensor, alpha: Tensor) -> RidgeFit:
    chosen = alpha.expand(y.shape[1])
    return RidgeFit(*_weights(factors, full_moments(factors, y), chosen), chosen, None)


def _fitted(parts: Sequence[RidgeFit], scores: Tensor | None) -> RidgeFit:
    weights, intercept, alpha, _ = zip(*parts)
    return RidgeFit(torch.cat(weights, 1), torch.cat(intercept), torch.cat(alpha), scores)


def _check_can_choose(factors: RidgeFactors, score: str | Scorer, grid: Tensor) -> None:
    if not factors.folds and not factors.leave_one_out:
        raise ValueError(
            f"folds must be given to choose among {len(grid)} penalties; pass held-out rows from "
            "braindec.maths.folds, or 'loo'."
        )
    if not callable(score):
        checks.one_of("score", score, NAMED_SCORES)


def _named_scores(
    factors: RidgeFactors, totals: Totals, y: Tensor, grid: Tensor, score: str, hats: Sequence[Tensor | None]
) -> Tensor:
    if factors.leave_one_out:
        moments = moments_of(factors, totals)
        return torch.stack(
            [named_score(score, _leave_one_out(factors, y, a.expand(y.shape[1]), moments), y) for a in grid]
        )
    total = torch.zeros(len(grid), y.shape[1], dtype=factors.x.dtype, device=y.device)
    for number, fold in enumerate(factors.folds):
        mean, cross = fold_products(factors, number, totals)
        held_out = totals.centred[fold.test].sub_(mean)
        hat = hats[number]
        if hat is not None:
            total += hat_scores(score, hat, cross, held_out)
        else:
            total += fold_scores(score, fold, mm(fold.basis.T, cross), held_out, grid)
    return total / len(factors.folds)


def _hats(factors: RidgeFactors, n_targets: int, grid: Tensor) -> list[Tensor | None]:
    """Of each fold, where there are enough targets to make it worth its making."""
    return [
        hat_rows(fold, grid) if n_targets > len(grid) * len(fold.test) else None for fold in factors.folds
    ]


def _scores_of_predictions(factors: RidgeFactors, y: Tensor, grid: Tensor, score: Scorer) -> Tensor:
    """A scorer of the caller's sees all targets of one fold at once (retrieval needs them together)."""
    if factors.leave_one_out:
        moments = full_moments(factors, y)
        return torch.stack(
            [score(_leave_one_out(factors, y, a.expand(y.shape[1]), moments), y) for a in grid]
        )
    per_fold = []
    totals = row_totals(factors, y)
    for number, fold in enumerate(factors.folds):
        moments = fold_moments(factors, number, totals)
        shrunk = (moments.projected / (fold.values + alpha)[:, None] for alpha in grid)
        truth = y[fold.test]
        per_fold.append(
            torch.stack([torch.as_tensor(score(fold.scores @ w + moments.mean, truth)) for w in shrunk])
        )
    return torch.stack(per_fold).mean(0)


def _leave_one_out(factors: RidgeFactors, y: Tensor, alpha: Tensor, moments: Moments) -> Tensor:
    """Predictions without each row: y - residual / (1 - leverage), the intercept refitted too."""
    shrink = 1 / (factors.values[:, None] + alpha)  # (component, target)
    fitted = factors.scores @ (moments.projected * shrink) + moments.mean
    distinct, which = alpha.unique(return_inverse=True)
    leverage = factors.scores.square() @ (1 / (factors.values[:, None] + distinct)) + 1 / len(y)
    return y - (y - fitted) / (1 - leverage[:, which]).clamp_min(torch.finfo(y.dtype).eps)


def _weights(factors: RidgeFactors, moments: Moments, alpha: Tensor) -> tuple[Tensor, Tensor]:
    weights = mm(factors.vectors, moments.projected / (factors.values[:, None] + alpha))
    return weights, moments.mean - factors.mean @ weights


def _penalties(alphas: Alphas, y: Tensor) -> Tensor:
    dtype = y.dtype if y.dtype in (torch.float32, torch.float64) else torch.float32
    grid = torch.as_tensor(alphas, dtype=dtype, device=y.device).flatten()
    checks.at_least("number of alphas", len(grid), 1)
    checks.at_least("smallest alpha", float(grid.min()), 0.0)
    return grid
