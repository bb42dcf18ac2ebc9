"""Shrunken covariance and whitening, learnt from training rows and applied to any row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

Parts = Callable[[], Iterable[Tensor]]


class Covariance(NamedTuple):
    """Mean (p,), covariance (p, p), the share of the target mixed in, in [0, 1], and the covariance without it."""

    mean: Tensor
    matrix: Tensor
    shrinkage: float
    sample: Tensor


class Whitening(NamedTuple):
    """Mean (p,) and symmetric matrix (p, p) that make the training rows uncorrelated with unit variance."""

    mean: Tensor
    matrix: Tensor
    shrinkage: float


def ledoit_wolf(x: Tensor, *, centred: bool = False) -> Covariance:
    """Covariance shrunken towards a multiple of the identity by the Ledoit-Wolf amount.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Rows are observations, n >= 2.
    centred : bool
        True when the rows already have mean zero (residuals).

    Returns
    -------
    Covariance
        (1 - s) S + s m I with S the maximum-likelihood covariance and m its mean variance.

    Raises
    ------
    ValueError
        If there are fewer than two rows.

    Notes
    -----
    Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4. The sum over squared products needs no (n, p, p) array.
    """
    checks.n_axes("x", x, ("observation", "feature"))
    return _estimate(lambda: (x,), centred=centred)


def _estimate(parts: Parts, *, centred: bool = False) -> Covariance:
    """`ledoit_wolf` of rows that come in parts, the same ones at each call."""
    n, total = 0, torch.zeros(())
    for x in parts():
        n, total = n + len(x), total.to(x) + x.sum(0)
    checks.at_least("number of rows of x", n, 2)
    mean = torch.zeros_like(total) if centred else total / n
    p = len(mean)
    products, fourth = mean.new_zeros(p, p), mean.new_zeros((), dtype=torch.float64)
    for x in parts():
        z = x - mean
        products += z.T @ z
        fourth += z.square().sum(1).double().square().sum()
    sample = products / n
    # Fourth powers in double precision: of teslas, or of large numbers, single precision has none.
    squares, level = sample.double().square().sum(), sample.diagonal().double().mean()
    spread = squares - p * level.square()
    # sum_ij Var(z_i z_j) / n = (mean ||z||^4 - ||S||^2) / n
    noise = (fourth / n - squares) / n
    share = float((noise / spread).clamp(0.0, 1.0)) if float(spread) > 0 else 0.0
    return Covariance(mean, shrink(sample, share), share, sample)


def shrink(matrix: Tensor, share: float) -> Tensor:
    """(1 - share) matrix + share * (mean of its diagonal) * identity.

    Parameters
    ----------
    matrix : Tensor, shape (p, p)
    share : float
        In [0, 1].
    """
    checks.in_range("share", share, 0.0, 1.0)
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return (1 - share) * matrix + share * matrix.diagonal().mean() * identity


def inverse_root(matrix: Tensor, *, floor: float = 1e-10) -> Tensor:
    """Symmetric inverse square root of a covariance.

    Parameters
    ----------
    matrix : Tensor, shape (p, p)
        Symmetric, positive semi-definite.
    floor : float
        Directions with less than this share of the largest variance hold nothing and are mapped to zero.
    """
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > floor * values[-1]
    scale = torch.where(
        kept, values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt(), torch.zeros_like(values)
    )
    return (vectors * scale) @ vectors.T


def fit_whitening(x: Tensor, shrinkage: float | None = None) -> Whitening:
    """Whitening learnt from the rows of `x` (training rows only).

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Rows are observations, n >= 2.
    shrinkage : float or None
        In [0, 1]; None estimates it (Ledoit-Wolf).

    Returns
    -------
    Whitening
    """
    checks.n_axes("x", x, ("observation", "feature"))
    return whitening_of(lambda: (x,), shrinkage)


def whitening_of(parts: Parts, shrinkage: float | None = None) -> Whitening:
    """`fit_whitening` of rows that are too many for memory.

    Parameters
    ----------
    parts : callable
        ``parts()`` gives tensors (n_i, p), the same ones at each call.
    shrinkage : float or None
        In [0, 1]; None estimates it (Ledoit-Wolf).
    """
    estimate = _estimate(parts)
    if shrinkage is None:
        return Whitening(estimate.mean, inverse_root(estimate.matrix), estimate.shrinkage)
    return Whitening(estimate.mean, inverse_root(shrink(estimate.sample, shrinkage)), float(shrinkage))


def whiten(x: Tensor, whitening: Whitening) -> Tensor:
    """Rows of `x` (n, p) minus the training mean, times the whitening matrix."""
    return (x - whitening.mean) @ whitening.matrix
