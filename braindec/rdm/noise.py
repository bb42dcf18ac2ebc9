"""Shrunken noise covariance without a voxel-by-voxel matrix: a diagonal plus as many directions as there are trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.gemm import mm
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm.patterns import labelled

KINDS = ("shrinkage", "ledoit_wolf", "diagonal")


class Residuals(NamedTuple):
    """Trials minus what was shown, (..., trial, channel), and the degrees of freedom that are left."""

    values: Tensor
    dof: int


@dataclass(frozen=True, eq=False)
class Noise:
    """Covariance diag(diagonal) + rows^T rows of the noise.

    Parameters
    ----------
    diagonal : Tensor, shape (..., channel)
        > 0.
    rows : Tensor, shape (..., row, channel)
        Scaled residuals; no rows at all for a diagonal covariance.
    shrinkage : Tensor, shape (...)
        Share of the target mixed in, in [0, 1].
    """

    diagonal: Tensor
    rows: Tensor
    shrinkage: Tensor

    def covariance(self) -> Tensor:
        """The matrix, shape (..., channel, channel): for few channels."""
        return torch.diag_embed(self.diagonal) + self.rows.mT @ self.rows

    def precision(self) -> Tensor:
        """Its inverse, shape (..., channel, channel): for few channels."""
        return torch.cholesky_inverse(torch.linalg.cholesky(self.covariance()))

    @property
    def small(self) -> bool:
        """Whether the full matrix is smaller than the rows, and so the faster form."""
        return self.rows.shape[-1] <= 2 * self.rows.shape[-2]


def residuals(x: Array, *labels: Any) -> Residuals:
    """Trials minus the mean of all trials with the same labels.

    Parameters
    ----------
    x : Tensor or array, shape (..., trial, channel)
    *labels : sequences, length n_trials
        Condition; or condition and run, where conditions repeat within runs.

    Raises
    ------
    ValueError
        If no combination of labels repeats: nothing tells noise from signal then.
    """
    x = as_tensor("x", x, floating=True)
    numbers = [torch.from_numpy(labelled(one)[0]) for one in labels]
    group = numbers[0]
    for other in numbers[1:]:
        group = group * (int(other.max()) + 1) + other
    group = torch.unique(group, return_inverse=True)[1].to(x.device)
    checks.same_length("trial", x=x.mT[..., 0, :].reshape(-1, x.shape[-2])[0], labels=group)
    n_groups = int(group.max()) + 1
    dof = len(group) - n_groups
    if dof < 1:
        raise ValueError(
            "no condition repeats, so that noise cannot be told from signal; give noise=None or a Noise of other data."
        )
    counts = torch.bincount(group).to(x.dtype)[:, None]
    shape = (*x.shape[:-2], n_groups, x.shape[-1])
    means = x.new_zeros(shape).index_add_(x.ndim - 2, group, x) / counts
    values = x - means.index_select(x.ndim - 2, group)
    # What the means' rounding leaves of a channel that never changes is no noise.
    dead = x.amin(-2, keepdim=True) == x.amax(-2, keepdim=True)
    return Residuals(values.masked_fill_(dead, 0.0) if bool(dead.any()) else values, dof)


def estimate(found: Residuals, kind: str = "shrinkage") -> Noise:
    """The shrunken noise covariance of residuals.

    Parameters
    ----------
    found : Residuals
    kind : str
        ``"shrinkage"``: off-diagonals are scaled down by the amount of Schaefer and Strimmer; ``"ledoit_wolf"``:
        towards a multiple of the identity; ``"diagonal"``: variances alone.

    Returns
    -------
    Noise

    Raises
    ------
    ValueError
        If a channel has no noise at all: distances along it would be infinite.

    Notes
    -----
    Schaefer & Strimmer 2005, doi:10.2202/1544-6115.1175; Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4. The
    sums over pairs of channels are read off the trial-by-trial products, so that memory and time are those of one Gram
    matrix whatever the number of channels.
    """
    checks.one_of("noise", kind, KINDS)
    e, dof = as_tensor("residuals", found.values, floating=True), found.dof
    n = e.shape[-2]
    variance = e.square().sum(-2) / dof
    dead = int((variance <= 0).sum())
    if dead:
        raise ValueError(f"{dead} channels have no noise variance; leave out channels that never change.")
    if kind == "diagonal":
        one = torch.ones_like(variance[..., 0])
        return Noise(variance, e[..., :0, :], one)
    if kind == "ledoit_wolf":
        return _ledoit_wolf(e, variance, n, dof)
    share = schaefer_strimmer(e * variance.rsqrt()[..., None, :], n, dof)
    return Noise(floored(share)[..., None] * variance, e * ((1 - share) / dof).sqrt()[..., None, None], share)


def pooled(noises: Sequence[Noise]) -> Noise:
    """The mean of covariances: noise of pairs of runs, each with its own."""
    n = len(noises)
    diagonal = torch.stack([one.diagonal for one in noises]).mean(0)
    rows = torch.cat([one.rows for one in noises], dim=-2) / n**0.5
    return Noise(diagonal, rows, torch.stack([one.shrinkage for one in noises]).mean(0))


def whitened(x: Tensor, noise: Noise | Tensor) -> Tensor:
    """Patterns in which the noise has unit covariance, for as few channels as allow it.

    Parameters
    ----------
    x : Tensor, shape (..., row, channel)
    noise : Noise, or Tensor (..., channel, channel)
        A tensor is a precision (inverse covariance) matrix.
    """
    if isinstance(noise, Tensor):
        return x @ torch.linalg.cholesky(noise)
    root = torch.linalg.cholesky(noise.covariance())
    identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device).expand_as(root)
    # The inverse of a few channels' root and one product are faster than a triangular solve of many patterns.
    return x @ torch.linalg.solve_triangular(root, identity, upper=False).mT


def inner(x: Tensor, y: Tensor, noise: Noise | Tensor | None) -> Tensor:
    """x S^-1 y^T under a noise covariance S.

    Parameters
    ----------
    x : Tensor, shape (..., a, channel)
    y : Tensor, shape (..., b, channel)
    noise : Noise, Tensor or None
        None is the identity; a tensor is a precision matrix.

    Returns
    -------
    Tensor, shape (..., a, b)
    """
    if noise is None:
        return product(x, y.mT)
    if isinstance(noise, Tensor):
        return product(product(x, noise), y.mT)
    scale = noise.diagonal.rsqrt()[..., None, :]
    a, b, f = x * scale, y * scale, noise.rows * scale
    if f.shape[-2] == 0:
        return product(a, b.mT)
    inside = product(f, f.mT)
    inside.diagonal(dim1=-2, dim2=-1).add_(1.0)
    left, right = product(f, a.mT), product(f, b.mT)
    return product(a, b.mT) - left.mT @ torch.cholesky_solve(right, torch.linalg.cholesky(inside))


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b, matrices by the faster kernel there is."""
    return mm(a, b) if a.ndim == b.ndim == 2 else a @ b


def squared_sum_of_products(z: Tensor) -> Tensor:
    """||Z^T Z||_F^2 of rows (..., n, p), by the smaller of the two Gram matrices, in float64."""
    gram = product(z, z.mT) if z.shape[-2] <= z.shape[-1] else product(z.mT, z)
    return gram.double().square().sum((-2, -1))


def schaefer_strimmer_share(
    products: Tensor, diagonal: Tensor, fourth: Tensor, lengths: Tensor, n: int, dof: int
) -> Tensor:
    """Shrinkage from sums over standardised residuals z (n, p).

    Parameters
    ----------
    products : Tensor, shape (...)
        Sum of squares of all entries of Z^T Z.
    diagonal : Tensor, shape (...)
        The part of it on the diagonal: sum over channels of (sum_n z^2)^2.
    fourth : Tensor, shape (...)
        Sum of z^4.
    lengths : Tensor, shape (...)
        Sum over rows of ||z_n||^4.
    n, dof : int
    """
    squares = (products - diagonal) / (n - 1) ** 2  # sum over pairs of channels of the squared mean product
    spread = n / dof**2 * ((lengths - fourth) / (n - 1) - squares)
    return (spread / squares.clamp_min(torch.finfo(squares.dtype).tiny)).clamp(0.0, 1.0)


def schaefer_strimmer(z: Tensor, n: int, dof: int) -> Tensor:
    square = z.square()
    lengths = square.sum(-1).double().square().sum(-1)
    diagonal = square.sum(-2).double().square().sum(-1)
    fourth = square.square().sum(-2).double().sum(-1)
    share = schaefer_strimmer_share(squared_sum_of_products(z), diagonal, fourth, lengths, n, dof)
    return share.to(z.dtype)


def _ledoit_wolf(e: Tensor, variance: Tensor, n: int, dof: int) -> Noise:
    squared = squared_sum_of_products(e) / n**2
    lengths = e.square().sum(-1).double().square().sum(-1)
    level = variance.double().mean(-1) * dof / n
    p = e.shape[-1]
    away = squared - p * level.square()
    share = (((lengths / n - squared) / n) / away.clamp_min(torch.finfo(torch.float64).tiny)).clamp(0.0, 1.0)
    share, level = share.to(e.dtype), level.to(e.dtype)
    diagonal = (floored(share) * level * n / dof)[..., None].expand(variance.shape).clone()
    return Noise(diagonal, e * ((1 - share) / dof).sqrt()[..., None, None], share)


def floored(share: Tensor) -> Tensor:
    """Without any shrinkage the covariance of few trials has no inverse; a trace of the target keeps one."""
    return share.clamp_min(64 * torch.finfo(share.dtype).eps)
