"""Ridge regression from inner products of rows alone: more features than samples, or several feature spaces at once."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import FoldFactors, RidgeFactors, kernel_components, positive_eigh
from braindec.maths.folds import Folds, complement, parts_of


def factorise_kernel(kernel: Tensor, folds: Folds = (), *, dtype: torch.dtype | None = None) -> RidgeFactors:
    """The part of a kernel ridge that does not depend on its targets.

    Parameters
    ----------
    kernel : Tensor, shape (n, n)
        Inner products of all rows, symmetric; centred here, within every fold too.
    folds : tuple of folds
        See `maths.folds`.
    dtype : torch.dtype, optional
        Of the factors; the kernel's own by default. The decompositions run in float64.

    Returns
    -------
    RidgeFactors
        For `maths.ridge.solve`, whose weights are then dual coefficients (n, q): `dual_predict` predicts with them, and
        x.T @ weights are the weights of centred features `x`.

    Raises
    ------
    ValueError
        If the kernel is not square, or holds NaN.
    """
    n, other = checks.n_axes("kernel", kernel, ("row", "row")).shape
    if n != other:
        raise ValueError(f"kernel must be square, got {tuple(kernel.shape)}.")
    checks.finite("kernel", kernel)
    kept = dtype or kernel.dtype
    wide = kernel.double()
    column = wide.mean(0)
    values, vectors = positive_eigh(wide - column - column[:, None] + column.mean(), n)
    factored = tuple(_fold(wide, *parts_of(n, fold)) for fold in folds)
    root = values.sqrt()
    nothing = kernel.new_zeros(n, 0, dtype=kept)
    return RidgeFactors(
        nothing, kernel.new_zeros(n, dtype=kept), values.to(kept), (vectors / root).to(kept),
        (vectors * root).to(kept), tuple(_cast(f, kept) for f in factored), False, False, False,
    )  # fmt: skip


def dual_predict(cross: Tensor, kernel: Tensor, dual: Tensor, intercept: Tensor) -> Tensor:
    """Predictions (m, q) for new rows.

    Parameters
    ----------
    cross : Tensor, shape (m, n)
        Inner products of new rows with the training rows, not centred.
    kernel : Tensor, shape (n, n)
        Of the training rows, not centred.
    dual : Tensor, shape (n, q)
        From `maths.ridge.solve`; its columns sum to zero, so that only the training rows' mean has to be removed.
    intercept : Tensor, shape (q,)
    """
    return (cross - kernel.mean(0)).to(dual.dtype) @ dual + intercept


def _fold(kernel: Tensor, test: Tensor, train: Tensor) -> FoldFactors:
    test, train = test.to(kernel.device), train.to(kernel.device)
    values, basis, scores = kernel_components(kernel, test, train, len(kernel))
    removed = complement(len(kernel), train).to(kernel.device)
    return FoldFactors(test, train, removed, kernel.new_zeros(0), values, basis, scores, scores, None)


def _cast(fold: FoldFactors, dtype: torch.dtype) -> FoldFactors:
    scores = fold.scores.to(dtype)
    return fold._replace(
        mean=fold.mean.to(dtype),
        values=fold.values.to(dtype),
        basis=fold.basis.to(dtype),
        scores=scores,
        rows=scores,
    )
