"""Scores of ridge predictions for many targets, from predictions or from their coordinates in a smaller space."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson
from braindec.maths.factors import FoldFactors
from braindec.maths.gemm import mm

NAMED_SCORES = ("r2", "correlation", "neg_mse")
TARGETS_IN_CACHE = 1024
ROWS_AT_ONCE = 1024  # of predictions at several penalties in one product
LARGEST_HAT = 2**25  # entries, of each fold
BLOCK = 128  # rows of a triangle multiplied at once: fewer save more of it, and slow the product down


class Sums(NamedTuple):
    """Per target, over n rows: sums of prediction p and truth t, of their squares, product and squared difference."""

    n: int
    p: Tensor
    t: Tensor
    pp: Tensor
    tt: Tensor
    pt: Tensor
    ee: Tensor


def named_score(name: str, prediction: Tensor, truth: Tensor) -> Tensor:
    """Score of each column.

    Parameters
    ----------
    name : str
        ``"r2"`` (about the mean of the truth given here; 0 where the truth is constant), ``"correlation"`` (0 where
        either is constant) or ``"neg_mse"``.
    prediction, truth : Tensor, shape (n, q)

    Returns
    -------
    Tensor, shape (q,)
        Higher is better.
    """
    checks.one_of("score", name, NAMED_SCORES)
    if name == "correlation":  # about both means: shrunken predictions vary far less than they are off
        return pearson(prediction, truth, 0)
    # A shift of the truth changes no score when both move, and keeps the sums of squares small.
    shift = truth.mean(0)
    p, t = prediction - shift, truth - shift
    products = p.square().sum(0), t.square().sum(0), (p * t).sum(0), (p - t).square().sum(0)
    return score_from_sums(name, Sums(len(t), p.sum(0), t.sum(0), *products))


def fold_scores(name: str, fold: FoldFactors, projected: Tensor, truth: Tensor, alphas: Tensor) -> Tensor:
    """Scores (n_alphas, q) of a fold's held-out rows at every penalty.

    Parameters
    ----------
    name : str
        See `named_score`.
    fold : FoldFactors
    projected : Tensor, shape (r, q)
        Training targets through the components.
    truth : Tensor, shape (n_test, q)
        Held-out targets minus the training mean.
    alphas : Tensor, shape (n_alphas,)

    Notes
    -----
    Where there are more held-out rows than components, predictions lie in the span of the fold's frame: differences
    are taken there, and what of the truth is outside of it is the same at every penalty.
    """
    checks.one_of("score", name, NAMED_SCORES)
    parts = zip(projected.split(TARGETS_IN_CACHE, 1), truth.split(TARGETS_IN_CACHE, 1))
    return torch.cat([_fold_scores(name, fold, p, t, alphas) for p, t in parts], dim=1)


def hat_rows(fold: FoldFactors, alphas: Tensor) -> Tensor | None:
    """What maps a fold's products to its predictions at every penalty, (n_alphas, n_test, p or n_train).

    Made once it spares every target a projection. None where predictions are not formed, or it would be large.
    """
    size = len(alphas) * len(fold.test) * len(fold.basis)
    if fold.frame is not None or size > LARGEST_HAT:
        return None
    return torch.stack([mm(fold.scores / (fold.values + alpha), fold.basis.T) for alpha in alphas])


def hat_scores(name: str, hat: Tensor, cross: Tensor, truth: Tensor) -> Tensor:
    """`fold_scores` from `hat_rows` and `factors.fold_products`."""
    n_alphas, n_test, _ = hat.shape
    at_once = max(1, ROWS_AT_ONCE // n_test)
    parts = []
    for some, wanted in zip(cross.split(TARGETS_IN_CACHE, 1), truth.split(TARGETS_IN_CACHE, 1)):
        t, tt = wanted.sum(0), wanted.square().sum(0)
        found = torch.empty(n_alphas, len(t), dtype=truth.dtype, device=truth.device)
        for start in range(0, n_alphas, at_once):
            rows = hat[start : start + at_once]
            made = mm(rows.flatten(0, 1), some).view(len(rows), n_test, -1)
            found[start : start + at_once] = _scores_of(name, made, wanted, t, tt)
        parts.append(found)
    return torch.cat(parts, 1)


def _scores_of(name: str, made: Tensor, wanted: Tensor, t: Tensor, tt: Tensor) -> Tensor:
    """Scores (n_alphas, q) of predictions (n_alphas, n_test, q), which are overwritten."""
    if name != "correlation":
        ee = made.sub_(wanted).square_().sum(1)
        return score_from_sums(name, Sums(len(wanted), t, t, tt, tt, tt, ee))
    p, pp, pt = made.sum(1), made.square().sum(1), made.mul_(wanted).sum(1)
    return score_from_sums(name, Sums(len(wanted), p, t, pp, tt, pt, tt))


def _fold_scores(name: str, fold: FoldFactors, projected: Tensor, truth: Tensor, alphas: Tensor) -> Tensor:
    t, tt = truth.sum(0), truth.square().sum(0)
    aim = truth if fold.frame is None else mm(fold.frame.T, truth)
    outside = torch.zeros_like(tt) if fold.frame is None else (tt - aim.square().sum(0)).clamp_min(0.0)
    ones = fold.scores.sum(0)
    found = torch.empty(len(alphas), truth.shape[1], dtype=truth.dtype, device=truth.device)
    shrunk = torch.empty_like(projected)
    for row, alpha in enumerate(alphas):
        torch.mul(projected, (1 / (fold.values + alpha))[:, None], out=shrunk)
        pp, pt, ee = torch.zeros_like(tt), torch.zeros_like(tt), outside.clone()
        for start, stop, first in _blocks(fold):
            made = mm(fold.rows[start:stop, first:], shrunk[first:])
            wanted = aim[start:stop]
            if name == "correlation":
                pp += made.square().sum(0)
                pt += (made * wanted).sum(0)
            else:
                ee += made.sub_(wanted).square_().sum(0)
        p = ones @ shrunk if name == "correlation" else t
        found[row] = score_from_sums(name, Sums(len(truth), p, t, pp, tt, pt, ee))
    return found


def _blocks(fold: FoldFactors) -> list[tuple[int, int, int]]:
    """(start, stop) rows and the first column that is not zero: nearly half of a triangle need not be multiplied."""
    n = len(fold.rows)
    if fold.frame is None:
        return [(0, n, 0)]
    return [(start, min(start + BLOCK, n), start) for start in range(0, n, BLOCK)]


def score_from_sums(name: str, s: Sums) -> Tensor:
    """The named score from sums over rows."""
    checks.one_of("score", name, NAMED_SCORES)
    if name == "neg_mse":
        return -s.ee / s.n
    t_spread = (s.tt - s.t.square() / s.n).clamp_min(0.0)
    if name == "r2":
        # Of a constant truth rounding leaves a spread of this order.
        varies = t_spread > 16 * torch.finfo(t_spread.dtype).eps * s.tt
        return torch.where(varies, 1 - s.ee / t_spread, torch.zeros_like(t_spread))
    p_spread = (s.pp - s.p.square() / s.n).clamp_min(0.0)
    scale = (p_spread * t_spread).sqrt()
    # Rounding leaves a constant prediction with a spread of this order, whose direction means nothing.
    defined = scale > 16 * torch.finfo(scale.dtype).eps * (s.pp * s.tt).sqrt()
    return torch.where(defined, (s.pt - s.p * s.t / s.n) / scale, torch.zeros_like(scale))
