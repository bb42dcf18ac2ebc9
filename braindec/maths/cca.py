"""Canonical correlations of two sets of features of the same rows, with shrunken covariances."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

RELATIVE_RANK = 1e-10  # singular values below this share of the largest are rounding of double precision


class Whitened(NamedTuple):
    """Scores of rows whose canonical correlations with other such scores are singular values of a product.

    basis: (n, r), float64, the rows on their principal axes, each of length sqrt(l / (l + penalty)) with l its sum of
    squares: of length one without a penalty; values: singular values of the centred rows, (r,); directions: (r, p).
    """

    basis: Tensor
    values: Tensor
    directions: Tensor


class Canonical(NamedTuple):
    """Canonical correlations, descending (r,), and the variates (n, r) of both sides, in the order of the former."""

    correlations: Tensor
    x: Tensor
    y: Tensor


def whitened(x: Tensor, *, ridge: float = 0.0, variance: float = 1.0) -> Whitened:
    """Rows without correlation between features.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    ridge : float
        >= 0: added to every eigenvalue of the covariance, as a share of their mean; 0 is classical CCA.
    variance : float
        In (0, 1]: only the first principal components that hold this share of variance are kept (0.99 is SVCCA).

    Returns
    -------
    Whitened
    """
    checks.n_axes("x", x, ("row", "feature"))
    checks.at_least("number of rows", len(x), 2)
    checks.at_least("ridge", ridge, 0.0)
    checks.in_range("variance", variance, 1e-6, 1.0)
    u, s, vh = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
    floor = max(RELATIVE_RANK, torch.finfo(x.dtype).eps * max(x.shape)) * s[:1].clamp_min(1e-300)
    kept = int((s > floor).sum()) if bool(s[:1] > 0) else 0
    power = s.square()
    if variance < 1.0 and kept:
        share = power.cumsum(0) / power.sum()
        kept = min(kept, 1 + int((share < variance * (1 - 1e-12)).sum()))
    u, s, vh, power = u[:, :kept], s[:kept], vh[:kept], power[:kept]
    penalty = ridge * power.sum() / min(x.shape[1], max(1, len(x) - 1))
    return Whitened(u * (power / (power + penalty)).sqrt(), s, vh)


def canonical_correlations(x: Whitened, y: Whitened) -> Tensor:
    """Canonical correlations, descending, shape (min(r_x, r_y),), in [0, 1], float64.

    Notes
    -----
    Hotelling 1936, doi:10.1093/biomet/28.3-4.321, by the singular values of U_x^T U_y (Bjorck & Golub 1973,
    doi:10.1090/S0025-5718-1973-0348991-3); with a penalty Vinod 1976, doi:10.1016/0304-4076(76)90010-5.
    """
    checks.same_length("row", x=x.basis, y=y.basis)
    if min(x.basis.shape[1], y.basis.shape[1]) == 0:
        return x.basis.new_zeros(1)
    return torch.linalg.svdvals(x.basis.T @ y.basis).clamp(0.0, 1.0)


def canonical_variates(x: Whitened, y: Whitened) -> Canonical:
    """Correlations as in `canonical_correlations`, with what correlates so: (n, r) of either side."""
    checks.same_length("row", x=x.basis, y=y.basis)
    u, s, vh = torch.linalg.svd(x.basis.T @ y.basis, full_matrices=False)
    return Canonical(s.clamp(0.0, 1.0), x.basis @ u, y.basis @ vh.T)
