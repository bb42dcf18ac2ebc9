"""Ridge regression whose weights have a limited rank, and the parts of it for targets too large for memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import factorise, full_moments, positive_eigh_
from braindec.maths.folds import Folds, parts_of
from braindec.maths.gemm import mm
from braindec.maths.ridge import RidgeFit

OVERSAMPLED = 16  # directions beyond the rank that are iterated on, as Halko et al. advise (5 to 20)


def fit_reduced_rank(x: Tensor, y: Tensor, alpha: float, rank: int) -> RidgeFit:
    """Ridge weights of at most `rank`, the best for |y - x w - b|^2 + alpha |w|^2.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Features.
    y : Tensor, shape (n, q)
        Targets.
    alpha : float
        Penalty >= 0.
    rank : int
        In [1, min(p, q)].

    Returns
    -------
    RidgeFit
        Without cv_scores; `alpha` repeated for every target.

    Raises
    ------
    ValueError
        If lengths differ, or `rank` or `alpha` is outside its range.

    Notes
    -----
    The full ridge solution projected on the leading directions of its fit to the rows augmented by sqrt(alpha) I:
    Mukherjee & Zhu 2011, doi:10.1002/sam.10138.
    """
    n_features, n_targets = x.shape[1], checks.n_axes("y", y, ("trial", "target")).shape[1]
    checks.same_length("trial", x=x, y=y)
    checks.in_range("rank", rank, 1, min(n_features, n_targets))
    checks.at_least("alpha", alpha, 0.0)
    factors = factorise(x)
    moments = full_moments(factors, y)
    ridge = moments.projected / (factors.values + alpha)[:, None]  # (component, target)
    # Fitted augmented rows have the inner products ridge' diag(values + alpha) ridge.
    fitted = ridge * (factors.values + alpha).sqrt()[:, None]
    leading = torch.linalg.svd(fitted, full_matrices=False).Vh[:rank]  # (rank, target)
    weights = factors.vectors @ (ridge @ leading.T) @ leading
    penalty = torch.full((n_targets,), float(alpha), dtype=weights.dtype, device=weights.device)
    return RidgeFit(weights, moments.mean - factors.mean @ weights, penalty, None)


class Spectrum(NamedTuple):
    """Of centred rows x: eigenvalues (r,) of x x' and its orthonormal eigenvectors, rows (n, r)."""

    values: Tensor
    rows: Tensor


def spectrum_of_kernel(kernel: Tensor) -> Spectrum:
    """The spectrum of rows whose inner products (n, n), float64 and contiguous, are given; they are overwritten."""
    column = kernel.mean(0)
    centred = kernel.sub_(column).sub_(column[:, None]).add_(column.mean())
    return Spectrum(*positive_eigh_(centred, len(kernel)))


def left_out(spectrum: Spectrum, y: Tensor, alpha: float, folds: Folds) -> Tensor:
    """What ridges that did not see a row's fold predict for it, without fitting any of them.

    Parameters
    ----------
    spectrum : Spectrum
        Of all n rows.
    y : Tensor, shape (n, q)
    alpha : float
        Penalty > 0.
    folds : tuple of Tensor
        Held-out rows; rows that no fold holds out keep NaN.

    Returns
    -------
    Tensor, shape (n, q)

    Notes
    -----
    With the hat matrix H of all rows, intercept included, residuals of a left-out fold are (I - H_ff)^-1 (y - H y)_f:
    exact for penalised least squares, whatever the fold's size (the PRESS identity of blocks).
    """
    n = checks.same_length("row", spectrum=spectrum.rows, y=y)
    shrunk = (spectrum.values / (spectrum.values + alpha)).to(y)
    rows = spectrum.rows.to(y)
    mean = y.mean(0)
    residual = (y - mean).sub_(mm(rows, shrunk[:, None] * mm(rows.T, y)))
    out = torch.full_like(y, float("nan"))
    for fold in folds:
        test = parts_of(n, fold)[0].to(y.device)
        out[test] = y[test] - _without(rows[test], shrunk, n, residual[test])
    return out


def _without(rows: Tensor, shrunk: Tensor, n: int, residual: Tensor) -> Tensor:
    """(I - H_ff)^-1 residual, through whichever matrix is smaller: over the fold's rows or over components."""
    constant = torch.full((len(rows), 1), n**-0.5, dtype=torch.float64, device=rows.device)
    half = torch.cat([constant, rows.double() * shrunk.double().sqrt()], 1)
    if len(rows) <= half.shape[1]:
        inner = torch.eye(len(rows), dtype=half.dtype, device=half.device) - half @ half.T
        return torch.linalg.solve(inner, residual.double()).to(residual)
    inner = torch.eye(half.shape[1], dtype=half.dtype, device=half.device) - half.T @ half
    wide = residual.double()
    return (wide + half @ torch.linalg.solve(inner, half.T @ wide)).to(residual)


def leading_directions(
    apply: Callable[[Tensor], Tensor],
    n_targets: int,
    rank: int,
    generator: torch.Generator,
    *,
    n_iterations: int = 2,
    exact_up_to: int = 4096,
) -> Tensor:
    """Leading eigenvectors (n_targets, rank), float32, of a positive semi-definite matrix that is only applied.

    Parameters
    ----------
    apply : callable
        (n_targets, k) to its product with the matrix.
    n_targets : int
        Up to `exact_up_to` the matrix itself is made and decomposed in float64; beyond, subspace iteration.
    rank : int
        In [1, n_targets].
    n_iterations : int
        Of the subspace; one further application orders what it found.

    Notes
    -----
    Halko, Martinsson & Tropp 2011, arXiv:0909.4061: what is lost of the matrix falls with n_iterations as powers of
    the ratio of the eigenvalues beyond `rank` to those within.
    """
    checks.in_range("rank", rank, 1, n_targets)
    if n_targets <= exact_up_to:
        matrix = torch.cat([apply(c) for c in torch.eye(n_targets).split(512, 1)], 1).double()
        return torch.linalg.eigh((matrix + matrix.T) / 2).eigenvectors[:, -rank:].flip(1).float()
    width = min(rank + OVERSAMPLED, n_targets)
    basis = torch.linalg.qr(torch.randn(n_targets, width, generator=generator)).Q
    for _ in range(n_iterations):
        basis = torch.linalg.qr(apply(basis)).Q
    seen = (basis.T @ apply(basis)).double()
    return basis @ torch.linalg.eigh((seen + seen.T) / 2).eigenvectors[:, -rank:].flip(1).float()
