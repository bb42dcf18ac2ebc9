"""RDMs as centred second moments, in which whitening their sampling covariance costs no pair-by-pair matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.rdm import pairs


def second_moments(distances: Tensor) -> Tensor:
    """Centred Gram matrices -H D H / 2 of squared distances.

    Parameters
    ----------
    distances : Tensor, shape (..., pair)

    Returns
    -------
    Tensor, shape (..., condition, condition)
        Symmetric, rows sum to zero.
    """
    g = pairs.square(distances) * -0.5
    rows = g.mean(-1, keepdim=True)
    return g - rows - rows.mT + rows.mean(-2, keepdim=True)


def whitened(distances: Tensor, condition_covariance: Tensor | None = None) -> Tensor:
    """Vectors whose plain inner products are x^T V^-1 y, with V the sampling covariance of the distances.

    Parameters
    ----------
    distances : Tensor, shape (..., pair)
    condition_covariance : Tensor, shape (condition, condition), optional
        Covariance of the conditions' pattern estimates, S_k; None is the identity (equally many independent trials).

    Returns
    -------
    Tensor, shape (..., k)
        k = n^2 for the identity, else (n - 1)^2.

    Notes
    -----
    V = (C S_k C^T) squared entry by entry (Diedrichsen et al. 2021, arXiv:2007.02789). Distances are a linear map L of
    a centred Gram matrix K, and V = L (S_k x S_k) L^T; so x^T V^-1 y = tr(S^-1 K_x S^-1 K_y) with S the covariance
    among centred conditions. For S_k = I this is the inner product behind linear CKA.
    """
    g = second_moments(distances)
    if condition_covariance is None:
        return g.flatten(-2)
    n = g.shape[-1]
    if tuple(condition_covariance.shape) != (n, n):
        raise ValueError(
            f"condition_covariance must be ({n}, {n}) for {n} conditions, got {tuple(condition_covariance.shape)}."
        )
    basis = _contrasts(n).to(g)
    inside = basis.T @ checks.finite("condition_covariance", condition_covariance).to(g) @ basis
    root = torch.linalg.cholesky(inside)
    half = torch.linalg.solve_triangular(root, basis.T @ g @ basis, upper=False)
    return torch.linalg.solve_triangular(root, half.mT, upper=False).flatten(-2)


def _contrasts(n: int) -> Tensor:
    """Orthonormal basis (n, n - 1) of what sums to zero (Helmert's)."""
    basis = torch.zeros(n, n - 1, dtype=torch.float64)
    for k in range(1, n):
        basis[:k, k - 1] = 1.0
        basis[k, k - 1] = -float(k)
        basis[:, k - 1] /= (k * (k + 1)) ** 0.5
    return basis
