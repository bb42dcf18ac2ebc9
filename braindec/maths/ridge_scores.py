"""Scores of ridge predictions for many targets, from predictions or from their Gram matrix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import FoldFactors

NAMED_SCORES = ("r2", "correlation", "neg_mse")


class Sums(NamedTuple):
    """Per target, over n rows: sums of prediction p and truth t, of their squares and of their product."""

    n: int
    p: Tensor
    t: Tensor
    pp: Tensor
    tt: Tensor
    pt: Tensor


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
    # A shift of the truth changes no score when both move, and keeps the sums of squares small.
    shift = truth.mean(0)
    p, t = prediction - shift, truth - shift
    return score_from_sums(
        name, Sums(len(t), p.sum(0), t.sum(0), p.square().sum(0), t.square().sum(0), (p * t).sum(0))
    )


def compact_scores(name: str, fold: FoldFactors, projected: Tensor, truth: Tensor, alphas: Tensor) -> Tensor:
    """Scores (n_alphas, q) of a fold without forming its predictions.

    Parameters
    ----------
    name : str
        See `named_score`.
    fold : FoldFactors
        With `gram` (r, r) of its held-out component scores.
    projected : Tensor, shape (r, q)
        Training targets through the components.
    truth : Tensor, shape (n_test, q)
        Held-out targets minus the training mean.
    alphas : Tensor, shape (n_alphas,)
    """
    if fold.gram is None:
        raise ValueError("fold has no Gram matrix of its held-out rows; score its predictions instead.")
    cross = fold.scores.T @ truth  # (r, q)
    ones = fold.scores.sum(0)
    t, tt = truth.sum(0), truth.square().sum(0)
    rows = []
    for alpha in alphas:
        shrunk = projected / (fold.values + alpha)[:, None]
        pp = (shrunk * (fold.gram @ shrunk)).sum(0)
        rows.append(
            score_from_sums(name, Sums(len(truth), ones @ shrunk, t, pp, tt, (shrunk * cross).sum(0)))
        )
    return torch.stack(rows)


def score_from_sums(name: str, s: Sums) -> Tensor:
    """The named score from sums over rows."""
    checks.one_of("score", name, NAMED_SCORES)
    squared_error = (s.pp - 2 * s.pt + s.tt).clamp_min(0.0)
    if name == "neg_mse":
        return -squared_error / s.n
    t_spread = (s.tt - s.t.square() / s.n).clamp_min(0.0)
    if name == "r2":
        return torch.where(t_spread > 0, 1 - squared_error / t_spread, torch.zeros_like(t_spread))
    p_spread = (s.pp - s.p.square() / s.n).clamp_min(0.0)
    scale = (p_spread * t_spread).sqrt()
    # Rounding leaves a constant prediction with a spread of this order, whose direction means nothing.
    defined = scale > 16 * torch.finfo(scale.dtype).eps * (s.pp * s.tt).sqrt()
    return torch.where(defined, (s.pt - s.p * s.t / s.n) / scale, torch.zeros_like(scale))
