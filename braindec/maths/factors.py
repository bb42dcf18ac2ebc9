"""The part of a ridge regression that does not depend on its targets, factorised once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.folds import Folds, complement


class FoldFactors(NamedTuple):
    """One fold, with r components of its training rows.

    test (n_test,) and train (n_train,) rows; mean (p,) of the training rows minus the mean of all rows; values (r,)
    eigenvalues; basis (p, r) of features or (n_train, r) of training rows that maps targets to components; scores
    (n_test, r) of the held-out rows; gram (r, r) = scores' scores where that is the smaller problem, else None.
    """

    test: Tensor
    train: Tensor
    mean: Tensor
    values: Tensor
    basis: Tensor
    scores: Tensor
    gram: Tensor | None


class RidgeFactors(NamedTuple):
    """All rows and every fold.

    x (n, p) centred; mean (p,); values (r,); vectors (p, r) orthonormal; scores (n, r) = x vectors; primal: whether the
    folds were factorised through (p, p) matrices; leave_one_out: whether held-out predictions come in closed form.
    """

    x: Tensor
    mean: Tensor
    values: Tensor
    vectors: Tensor
    scores: Tensor
    folds: tuple[FoldFactors, ...]
    primal: bool
    leave_one_out: bool


class Moments(NamedTuple):
    """Targets seen through the components of some rows: mean (q,) and projected (r, q)."""

    mean: Tensor
    projected: Tensor


class Totals(NamedTuple):
    """Targets over all rows: mean (q,), the rest (n, q), and features' products with it (p, q) in the primal form."""

    mean: Tensor
    centred: Tensor
    cross: Tensor | None


def factorise(x: Tensor, folds: Folds | str | None = None) -> RidgeFactors:
    """Eigendecompositions of all rows and of every fold's training rows.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Features, any unit; half precision is computed in float32.
    folds : tuple of Tensor, "loo" or None
        Held-out rows of each fold, leave-one-out in closed form, or no cross-validation.

    Returns
    -------
    RidgeFactors
        Of the device and dtype of `x`; the decompositions themselves run in float64.

    Raises
    ------
    ValueError
        If `x` has no two axes, holds NaN, or a fold leaves fewer than two rows for training.
    """
    n, p = checks.n_axes("x", x, ("trial", "feature")).shape
    if isinstance(folds, str):
        checks.one_of("folds", folds, ("loo",))
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    if not bool(torch.isfinite(x).all()):
        checks.finite("x", x)
    mean = x.double().mean(0)
    wide = x.double() - mean  # float64: a Gram matrix squares the condition number
    primal = p <= n
    gram = wide.T @ wide if primal else wide @ wide.T
    values, vectors, scores = _spectrum(gram, wide, primal)
    parts = () if folds is None or isinstance(folds, str) else folds
    build = _primal_fold if primal else _kernel_fold
    factored = tuple(_as_dtype(build(wide, gram, test.to(x.device)), x.dtype) for test in parts)
    return RidgeFactors(
        wide.to(x.dtype), mean.to(x.dtype), values.to(x.dtype), vectors.to(x.dtype), scores.to(x.dtype),
        factored, primal, isinstance(folds, str),
    )  # fmt: skip


def full_moments(factors: RidgeFactors, y: Tensor) -> Moments:
    """Targets (n, q) through the components of all rows."""
    y = y.to(factors.x.dtype)
    mean = y.mean(0)
    return Moments(mean, factors.scores.T @ (y - mean))


def row_totals(factors: RidgeFactors, y: Tensor) -> Totals:
    """What all folds share of targets (n, q), computed once."""
    y = y.to(factors.x.dtype)
    mean = y.mean(0)
    centred = y - mean
    return Totals(mean, centred, factors.x.T @ centred if factors.primal and factors.folds else None)


def fold_moments(factors: RidgeFactors, fold: FoldFactors, totals: Totals) -> Moments:
    """Targets through the components of a fold's training rows."""
    y = totals.centred
    if totals.cross is None:
        train = y[fold.train]
        mean = train.mean(0)
        return Moments(totals.mean + mean, fold.basis.T @ (train - mean))
    held_out = y[fold.test]
    mean = -held_out.sum(0) / len(fold.train)  # all rows sum to zero
    cross = totals.cross - factors.x[fold.test].T @ held_out - len(fold.train) * torch.outer(fold.mean, mean)
    return Moments(totals.mean + mean, fold.basis.T @ cross)


def _spectrum(gram: Tensor, x: Tensor, primal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (r,), feature directions (p, r) and row scores (n, r) of centred rows."""
    values, vectors = _positive_eigh(gram, max(x.shape))
    if primal:
        return values, vectors, x @ vectors
    scores = vectors * values.sqrt()
    return values, x.T @ (vectors / values.sqrt()), scores


def _positive_eigh(gram: Tensor, size: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(gram)
    # Directions without variance carry only rounding.
    kept = values > size * torch.finfo(values.dtype).eps * values[-1]
    return values[kept], vectors[:, kept]


def _primal_fold(x: Tensor, gram: Tensor, test: Tensor) -> FoldFactors:
    train = _training_rows(len(x), test)
    held_out = x[test]
    mean = -held_out.sum(0) / len(train)  # all rows sum to zero
    downdated = gram - held_out.T @ held_out - len(train) * torch.outer(mean, mean)
    values, vectors = _positive_eigh(downdated, max(x.shape))
    scores = (held_out - mean) @ vectors
    compact = scores.T @ scores if len(test) > len(values) else None
    return FoldFactors(test, train, mean, values, vectors, scores, compact)


def _kernel_fold(x: Tensor, gram: Tensor, test: Tensor) -> FoldFactors:
    train = _training_rows(len(x), test)
    inner, outer = gram[train][:, train], gram[test][:, train]
    column = inner.mean(0)
    centred = inner - column - column[:, None] + column.mean()
    values, vectors = _positive_eigh(centred, max(x.shape))
    across = outer - outer.mean(1, keepdim=True) - column + column.mean()
    scores = across @ (vectors / values.sqrt())
    return FoldFactors(test, train, x[train].mean(0), values, vectors * values.sqrt(), scores, None)


def _training_rows(n: int, test: Tensor) -> Tensor:
    train = complement(n, test).to(test.device)
    checks.at_least("number of training rows of a fold", len(train), 2)
    checks.at_least("number of held-out rows of a fold", len(test), 1)
    return train


def _as_dtype(fold: FoldFactors, dtype: torch.dtype) -> FoldFactors:
    gram = None if fold.gram is None else fold.gram.to(dtype)
    return fold._replace(
        mean=fold.mean.to(dtype), values=fold.values.to(dtype), basis=fold.basis.to(dtype),
        scores=fold.scores.to(dtype), gram=gram,
    )  # fmt: skip
