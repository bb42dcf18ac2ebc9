"""The part of a ridge regression that does not depend on its targets, factorised once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.folds import Fold, Folds, complement, parts_of
from braindec.maths.gemm import mm


class FoldFactors(NamedTuple):
    """One fold, with r components of its training rows.

    test (n_test,) and train (n_train,) rows, removed: those not trained on (test, and its gap); mean (p,) of the
    training rows minus the mean of all rows; values (r,) eigenvalues; basis (p, r) of features or (n_train, r) of
    training rows that maps targets to components; scores (n_test, r) of the held-out rows. Where there are more
    held-out rows than components, scores = frame rows with frame (n_test, r) orthonormal and rows (r, r) upper
    triangular; else frame is None and rows are the scores.
    """

    test: Tensor
    train: Tensor
    removed: Tensor
    mean: Tensor
    values: Tensor
    basis: Tensor
    scores: Tensor
    rows: Tensor
    frame: Tensor | None


class RidgeFactors(NamedTuple):
    """All rows and every fold.

    x (n, p) centred; mean (p,); values (r,); vectors (p, r) orthonormal; scores (n, r) = x vectors; primal: whether the
    folds were factorised through (p, p) matrices; leave_one_out: whether held-out predictions come in closed form;
    covering: whether the folds remove every row once.
    """

    x: Tensor
    mean: Tensor
    values: Tensor
    vectors: Tensor
    scores: Tensor
    folds: tuple[FoldFactors, ...]
    primal: bool
    leave_one_out: bool
    covering: bool


class Moments(NamedTuple):
    """Targets seen through the components of some rows: mean (q,) and projected (r, q)."""

    mean: Tensor
    projected: Tensor


class Totals(NamedTuple):
    """Targets over all rows, computed once for all folds.

    mean (q,); centred (n, q), the rest; in the primal form with folds cross (p, q), the features' products with it, and
    removed, the part (p, q) of it that comes from the rows each fold removes.
    """

    mean: Tensor
    centred: Tensor
    cross: Tensor | None
    removed: tuple[Tensor, ...]


def factorise(x: Tensor, folds: Folds | str | None = None) -> RidgeFactors:
    """Eigendecompositions of all rows and of every fold's training rows.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Features, any unit; half precision is computed in float32.
    folds : tuple of folds, "loo" or None
        Held-out rows of each fold (`maths.folds`), leave-one-out in closed form, or no cross-validation.

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
    factored = tuple(_as_dtype(build(wide, gram, fold), x.dtype) for fold in parts)
    times = torch.zeros(n, dtype=torch.int64, device=x.device)
    for fold in factored:
        times[fold.removed] += 1
    return RidgeFactors(
        wide.to(x.dtype), mean.to(x.dtype), values.to(x.dtype), vectors.to(x.dtype), scores.to(x.dtype),
        factored, primal, isinstance(folds, str), bool((times == 1).all()),
    )  # fmt: skip


def full_moments(factors: RidgeFactors, y: Tensor) -> Moments:
    """Targets (n, q) through the components of all rows."""
    return moments_of(factors, row_totals(factors, y))


def row_totals(factors: RidgeFactors, y: Tensor) -> Totals:
    """What all folds share of targets (n, q), computed once."""
    y = y.to(factors.x.dtype)
    mean = y.mean(0)
    centred = y - mean
    if not (factors.primal and factors.folds):
        return Totals(mean, centred, None, ())
    parts = tuple(mm(factors.x[f.removed].T, centred[f.removed]) for f in factors.folds)
    # Folds that remove every row once need no further pass over the rows.
    cross = torch.stack(parts).sum(0) if factors.covering else mm(factors.x.T, centred)
    return Totals(mean, centred, cross, parts)


def moments_of(factors: RidgeFactors, totals: Totals) -> Moments:
    """Targets through the components of all rows, from what the folds share."""
    if totals.cross is not None:
        return Moments(totals.mean, mm(factors.vectors.T, totals.cross))
    return Moments(totals.mean, mm(factors.scores.T, totals.centred))


def fold_moments(factors: RidgeFactors, number: int, totals: Totals) -> Moments:
    """Targets through the components of the training rows of one of the folds."""
    mean, cross = fold_products(factors, number, totals)
    return Moments(totals.mean + mean, mm(factors.folds[number].basis.T, cross))


def fold_products(factors: RidgeFactors, number: int, totals: Totals) -> tuple[Tensor, Tensor]:
    """What a fold's basis is applied to, before it is.

    Returns
    -------
    mean : Tensor, shape (q,)
        Of the training rows, minus the mean of all rows.
    cross : Tensor, shape (p, q) in the primal form, else (n_train, q)
        Products of centred features and targets of the training rows, or these targets centred.
    """
    fold, y = factors.folds[number], totals.centred
    if totals.cross is None:
        train = y[fold.train]
        mean = train.mean(0)
        return mean, train.sub_(mean)
    mean = -y[fold.removed].sum(0) / len(fold.train)  # all rows sum to zero
    cross = totals.cross - totals.removed[number]
    return mean, cross.addr_(fold.mean, mean, alpha=-len(fold.train))


def _spectrum(gram: Tensor, x: Tensor, primal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (r,), feature directions (p, r) and row scores (n, r) of centred rows."""
    values, vectors = positive_eigh(gram, max(x.shape))
    if primal:
        return values, vectors, x @ vectors
    scores = vectors * values.sqrt()
    return values, x.T @ (vectors / values.sqrt()), scores


def positive_eigh(gram: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and -vectors of a symmetric float64 matrix, without those that are rounding for `size` rows."""
    values, vectors = torch.linalg.eigh(gram)
    kept = values > size * torch.finfo(values.dtype).eps * values[-1]
    return values[kept], vectors[:, kept]


def positive_eigh_(gram: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """As `positive_eigh`, of a contiguous matrix that the vectors overwrite: for those of which two are too many."""
    columns, values = gram.T, gram.new_empty(len(gram))
    torch.linalg.eigh(
        columns, out=(values, columns)
    )  # symmetric: the transposed view lies as LAPACK wants it
    n_rounding = int((values <= size * torch.finfo(values.dtype).eps * values[-1]).sum())
    return values[n_rounding:], columns[:, n_rounding:]


def _primal_fold(x: Tensor, gram: Tensor, fold: Fold) -> FoldFactors:
    test, train, removed = _parts(len(x), fold, x)
    rows = x[removed]
    mean = -rows.sum(0) / len(train)  # all rows sum to zero
    downdated = gram - rows.T @ rows - len(train) * torch.outer(mean, mean)
    values, vectors = positive_eigh(downdated, max(x.shape))
    scores = (x[test] - mean) @ vectors
    frame, compact = torch.linalg.qr(scores) if len(test) > len(values) else (None, scores)
    return FoldFactors(test, train, removed, mean, values, vectors, scores, compact, frame)


def _kernel_fold(x: Tensor, gram: Tensor, fold: Fold) -> FoldFactors:
    test, train, removed = _parts(len(x), fold, x)
    values, basis, scores = kernel_components(gram, test, train, max(x.shape))
    return FoldFactors(test, train, removed, x[train].mean(0), values, basis, scores, scores, None)


def kernel_components(
    kernel: Tensor, test: Tensor, train: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Components of training rows from inner products of all rows: values (r,), basis (n_train, r), scores (n_test, r).

    Parameters
    ----------
    kernel : Tensor, shape (n, n)
        float64, centred or not: the training rows' mean is removed here.
    test, train : int64 Tensor
    size : int
        Rows or features, whichever are more: what rounding grows with.
    """
    inner, outer = kernel[train][:, train], kernel[test][:, train]
    column = inner.mean(0)
    centred = inner - column - column[:, None] + column.mean()
    values, vectors = positive_eigh(centred, size)
    across = outer - outer.mean(1, keepdim=True) - column + column.mean()
    return values, vectors * values.sqrt(), across @ (vectors / values.sqrt())


def _parts(n: int, fold: Fold, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    test, train = (rows.to(x.device) for rows in parts_of(n, fold))
    checks.at_least("number of training rows of a fold", len(train), 2)
    checks.at_least("number of held-out rows of a fold", len(test), 1)
    return test, train, complement(n, train).to(x.device)


def _as_dtype(fold: FoldFactors, dtype: torch.dtype) -> FoldFactors:
    return fold._replace(
        mean=fold.mean.to(dtype), values=fold.values.to(dtype), basis=fold.basis.to(dtype),
        scores=fold.scores.to(dtype), rows=fold.rows.to(dtype),
        frame=None if fold.frame is None else fold.frame.to(dtype),
    )  # fmt: skip
