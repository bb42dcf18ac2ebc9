"""Dependence of two sets of features of the same rows (HSIC) and its normalised form, centred kernel alignment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    a, b = _checked(x, y, FEWEST if debiased else 2)
    if not debiased:
        return products(a, b) / (len(a) - 1) ** 2
    if len(a) <= max(a.shape[1], b.shape[1]):  # the smaller of the two forms, and without cancellation
        return unbiased_hsic(mm(a, a.T), mm(b, b.T))
    na, nb = (z.double().square().sum(1) for z in (a, b))
    trace = products(a, b) - na @ nb
    rows_a, rows_b = (_row_sums(z, norms) for z, norms in ((a, na), (b, nb)))
    return _song(trace, rows_a, rows_b)


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
    cross = linear_hsic(x, y, debiased=debiased)
    return aligned(cross, linear_hsic(x, x, debiased=debiased), linear_hsic(y, y, debiased=debiased))


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
    for x, y in batches:
        pairs = (x, y), (x, x), (y, y)
        sums += torch.stack([linear_hsic(a, b).cpu() for a, b in pairs])
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


def products(x: Tensor, y: Tensor) -> Tensor:
    """||X^T Y||^2, float64, of rows (n, p) and (n, q): in the smaller of the feature and the row space."""
    if len(x) < min(x.shape[1], y.shape[1]):
        return (mm(x, x.T).double() * mm(y, y.T).double()).sum()
    return cross_products(x, y).square().sum()


def cross_products(x: Tensor, y: Tensor) -> Tensor:
    """X^T Y (p, q) in float64; single precision is multiplied in blocks of rows and added up in double."""
    if x.dtype == torch.float64 or y.dtype == torch.float64:
        return x.double().T @ y.double()
    total = x.new_zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    for a, b in zip(x.split(BLOCK), y.split(BLOCK), strict=True):
        total += mm(a.T, b)
    return total


def aligned(cross: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """cross / sqrt(first second); 0 where either of these is not positive."""
    scale = first.clamp_min(0).sqrt() * second.clamp_min(0).sqrt()
    return torch.where(scale > 0, cross / scale.clamp_min(torch.finfo(torch.float64).tiny), 0.0).clamp(-1, 1)


def _checked(x: Tensor, y: Tensor, fewest: int) -> tuple[Tensor, Tensor]:
    """Both sides about their means: the estimators do not change, rounding does."""
    checks.n_axes("x", x, ("row", "feature"))
    checks.n_axes("y", y, ("row", "feature"))
    checks.at_least("number of rows", checks.same_length("row", x=x, y=y), fewest)
    a = x - x.mean(0)
    return a, (a if x is y else y - y.mean(0))


def _row_sums(x: Tensor, norms: Tensor) -> Tensor:
    """Row sums (n,) of X X^T without its diagonal, float64."""
    total = x.double().sum(0)
    return torch.cat([rows.double() @ total for rows in x.split(BLOCK)]) - norms


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
