"""Shrunken covariance and whitening, learnt from training rows and applied to any row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks


class Covariance(NamedTuple):
    """Mean (p,), covariance (p, p) and the share of the target that was mixed in, in [0, 1]."""

    mean: Tensor
    matrix: Tensor
    shrinkage: float


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
    n, p = checks.n_axes("x", x, ("observation", "feature")).shape
    checks.at_least("number of rows of x", n, 2)
    mean = torch.zeros_like(x[0]) if centred else x.mean(0)
    z = x - mean
    sample = z.T @ z / n
    level = sample.diagonal().mean()
    spread = (sample - level * torch.eye(p, dtype=x.dtype, device=x.device)).square().sum()
    # sum_ij Var(z_i z_j) / n = (mean ||z||^4 - ||S||^2) / n
    noise = (z.square().sum(1).square().mean() - sample.square().sum()) / n
    share = float((noise / spread).clamp(0.0, 1.0)) if float(spread) > 0 else 0.0
    return Covariance(mean, shrink(sample, share), share)


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
    estimate = ledoit_wolf(x)
    if shrinkage is None:
        return Whitening(estimate.mean, inverse_root(estimate.matrix), estimate.shrinkage)
    z = x - estimate.mean
    return Whitening(estimate.mean, inverse_root(shrink(z.T @ z / len(x), shrinkage)), float(shrinkage))


def whiten(x: Tensor, whitening: Whitening) -> Tensor:
    """Rows of `x` (n, p) minus the training mean, times the whitening matrix."""
    return (x - whitening.mean) @ whitening.matrix
