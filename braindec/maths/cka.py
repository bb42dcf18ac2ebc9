"""Dependence of two sets of features of the same rows (HSIC) and its normalised form, centred kernel alignment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.gemm import mm

BLOCK = 2048  # rows multiplied at once in single precision and added up in double
FEWEST = 4  # the unbiased estimator divides by n - 3


def linear_hsic(x: Tensor, y: Tensor, *, debiased: bool = True) -> Tensor:
    """Squared covariance of all pairs of features, summed: zero where rows of `x` and `y` are independent.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    y : Tensor, shape (n, q)
        Rows in the order of x's; n >= 4 where debiased, else n >= 2.
    debiased : bool
        The unbiased estimator, which may be negative; else the one that is positive for any finite sample.

    Returns
    -------
    Tensor, shape (), float64
        In the units of x^2 y^2.

    Notes
    -----
    Biased: tr(K H L H) / (n - 1)^2, Gretton et al. 2005, doi:10.1007/11564089_7. Unbiased: Song et al. 2012,
    "Feature selection via dependence maximization", equation 5. No (n, n) matrix is formed where n exceeds both p and
    q: tr(K L) is ||X^T Y||^2, from which the diagonal's part is subtracted. Sums are double; products of single
    precision are so in blocks of rows.
    """
    return _linear((x, y), ((0, 1),), debiased)[0]


def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = True) -> Tensor:
    """Centred kernel alignment of two sets of features under linear kernels.

    Parameters
    ----------
    x, y, debiased
        See `linear_hsic`.

    Returns
    -------
    Tensor, shape (), float64
        Biased in [0, 1] and far above 0 for unrelated features where n is not far above p and q; debiased in [-1, 1]
        and about 0 there. 0 where either side is constant.

    Notes
    -----
    Kornblith et al. 2019, arXiv:1905.00414; debiased Nguyen et al. 2020, arXiv:2010.15327. Unchanged by rotations and
    by scaling of all features of a side together.
    """
    return aligned(*_linear((x, y), ((0, 1), (0, 0), (1, 1)), debiased))


def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Debiased linear CKA of rows that come in batches and are never held together.

    Parameters
    ----------
    batches : iterable of (Tensor, Tensor), shapes (b, p) and (b, q)
        At least 4 rows each; batches drawn at random from all rows.

    Returns
    -------
    Tensor, shape (), float64
        In [-1, 1]. The unbiased HSICs are summed over batches before the ratio is taken, so that its expectation does
        not depend on the size of a batch.

    Notes
    -----
    Nguyen et al. 2020, arXiv:2010.15327, equation 3.
    """
    sums = torch.zeros(3, dtype=torch.float64)
    for pair in batches:
        sums += torch.stack(_linear(pair, ((0, 1), (0, 0), (1, 1)), True)).cpu()
    return aligned(*sums)


def unbiased_hsic(k: Tensor, l: Tensor) -> Tensor:
    """The unbiased estimator from two kernel matrices.

    Parameters
    ----------
    k, l : Tensor, shape (n, n)
        Symmetric, n >= 4; the diagonals are not read.

    Returns
    -------
    Tensor, shape (), float64
    """
    trace = k.new_zeros((), dtype=torch.float64)
    rows_k, rows_l = [], []
    for start, a, b in _row_blocks(k, l):
        a.diagonal(start).zero_()
        b.diagonal(start).zero_()
        trace += (a * b).sum()
        rows_k.append(a.sum(1))
        rows_l.append(b.sum(1))
    return _song(trace, torch.cat(rows_k), torch.cat(rows_l))


def biased_hsic(k: Tensor, l: Tensor) -> Tensor:
    """The biased estimator tr(K H L H) / (n - 1)^2 from two symmetric kernel matrices (n, n), float64."""
    n = len(k)
    trace = k.new_zeros((), dtype=torch.float64)
    for _, a, b in _row_blocks(k, l):
        trace += (a * b).sum()
    rows_k, rows_l = k.double().sum(1), l.double().sum(1)
    centred = trace - 2 * (rows_k @ rows_l) / n + rows_k.sum() * rows_l.sum() / n**2
    return centred / (n - 1) ** 2


def kernel_cka(k: Tensor, l: Tensor, *, debiased: bool = True) -> Tensor:
    """Centred kernel alignment of two kernel matrices (n, n), float64; ranges as of `linear_cka`."""
    checks.same_length("row", k=k, l=l)
    checks.at_least("number of rows", len(k), FEWEST if debiased else 2)
    hsic = unbiased_hsic if debiased else biased_hsic
    return aligned(hsic(k, l), hsic(k, k), hsic(l, l))


def rbf_kernel(x: Tensor, width: float = 0.5) -> Tensor:
    """Gaussian kernel of all pairs of rows.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    width : float
        Standard deviation as a share of the median distance between rows, > 0.

    Returns
    -------
    Tensor, shape (n, n)
        In [0, 1], of x's dtype, the only matrix of this size that is kept. Ones where all rows are equal.
    """
    checks.n_axes("x", x, ("row", "feature"))
    checks.at_least("width", width, 1e-6)
    centred = x - x.mean(0)
    norms = centred.square().sum(1)
    squared = mm(centred, centred.T).mul_(-2).add_(norms[:, None]).add_(norms).clamp_min_(0.0)
    squared.fill_diagonal_(0.0)
    n = len(x)
    # Of the n^2 entries n are zeros of the diagonal: this one is the median of the others.
    middle = squared.flatten().kthvalue(n + (n * n - n + 1) // 2).values if n > 1 else squared.sum()
    if not bool(middle > 0):
        return (squared <= 0).to(x.dtype)
    return squared.div_(-2 * width**2 * middle).exp_()


def cross_products(x: Tensor, y: Tensor) -> Tensor:
    """X^T Y (p, q) of sides about their means, in float64.

    Single precision is multiplied in blocks of rows and added up in double; no copy of either side is made.
    """
    a, b = _side(x), _side(y)
    return _cross_products(a, b)


def aligned(cross: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """cross / sqrt(first second); 0 where either of these is not positive."""
    scale = first.clamp_min(0).sqrt() * second.clamp_min(0).sqrt()
    return torch.where(scale > 0, cross / scale.clamp_min(torch.finfo(torch.float64).tiny), 0.0).clamp(-1, 1)


class _Side(NamedTuple):
    """Rows (n, p) and their mean (p,), which is taken off wherever some rows are used."""

    rows: Tensor
    mean: Tensor

    def blocks(self) -> Iterator[Tensor]:
        """Some centred rows at a time: estimators do not change with the mean, rounding does."""
        return (rows - self.mean for rows in self.rows.split(BLOCK))


def _side(x: Tensor) -> _Side:
    return _Side(x, x.mean(0))


def _linear(pair: tuple[Tensor, Tensor], wanted: tuple[tuple[int, int], ...], debiased: bool) -> list[Tensor]:
    """HSIC of the wanted pairs of the two sides, with what each side takes alone done once."""
    x, y = pair
    checks.n_axes("x", x, ("row", "feature"))
    checks.n_axes("y", y, ("row", "feature"))
    n = checks.at_least("number of rows", checks.same_length("row", x=x, y=y), FEWEST if debiased else 2)
    sides = [_side(z) for z in pair]
    if n <= max(x.shape[1], y.shape[1]):  # the smaller of the two forms, and without cancellation
        kernels = [mm(c, c.T) for c in (side.rows - side.mean for side in sides)]
        hsic = unbiased_hsic if debiased else biased_hsic
        return [hsic(kernels[i], kernels[j]) for i, j in wanted]
    traces = [_cross_products(sides[i], sides[j]).square().sum() for i, j in wanted]
    if not debiased:
        return [trace / (n - 1) ** 2 for trace in traces]
    norms, sums = zip(*(_rows(side) for side in sides), strict=True)
    return [
        _song(trace - norms[i] @ norms[j], sums[i], sums[j])
        for trace, (i, j) in zip(traces, wanted, strict=True)
    ]


def _cross_products(a: _Side, b: _Side) -> Tensor:
    total = a.rows.new_zeros(a.rows.shape[1], b.rows.shape[1], dtype=torch.float64)
    for first, second in zip(a.blocks(), b.blocks(), strict=True):
        if first.dtype == second.dtype:
            total += mm(first.T, second)
        else:
            total += first.double().T @ second.double()
    return total


def _rows(side: _Side) -> tuple[Tensor, Tensor]:
    """Squared length of each row, and its sum of products with all other rows, (n,) each, float64."""
    total = torch.stack([rows.double().sum(0) for rows in side.blocks()]).sum(0)
    norms, sums = [], []
    for rows in side.blocks():
        values = rows.double()
        norms.append(values.square().sum(1))
        sums.append(values @ total - norms[-1])
    return torch.cat(norms), torch.cat(sums)


def _song(trace: Tensor, rows_k: Tensor, rows_l: Tensor) -> Tensor:
    """Song's estimator from tr(K L) and the row sums of both, diagonals zero."""
    n = len(rows_k)
    correction = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2)) - 2 * (rows_k @ rows_l) / (n - 2)
    return (trace + correction) / (n * (n - 3))


def _row_blocks(k: Tensor, l: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Some rows of both at a time, as double copies, with the number of the first."""
    step = max(1, 2**22 // len(k))
    for start in range(0, len(k), step):
        yield start, k[start : start + step].double().clone(), l[start : start + step].double().clone()
