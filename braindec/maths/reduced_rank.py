"""Ridge regression whose weights have a limited rank."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.factors import factorise, full_moments
from braindec.maths.ridge import RidgeFit


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
