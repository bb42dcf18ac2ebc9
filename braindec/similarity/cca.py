"""Canonical correlations: how much of either side any linear map of the other contains."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from braindec.maths.cca import Whitened, canonical_correlations, canonical_variates, whitened
from braindec.similarity import ALWAYS, Measure, two_steps

RIDGE = 0.1  # of the mean eigenvalue: directions of less variance than this count less
KEPT = 0.99  # share of variance that SVCCA keeps; Raghu et al. 2017, section 2


def mean_correlation(x: Whitened, y: Whitened) -> Tensor:
    """Mean of the canonical correlations, in [0, 1]; 1 for any two sides of fewer stimuli than features."""
    return canonical_correlations(x, y).mean()


def projection_weighted(x: Whitened, y: Whitened) -> Tensor:
    """Mean of the canonical correlations weighted by how much of x's features each variate carries, in [0, 1].

    Parameters
    ----------
    x, y : Whitened
        Without ridge.

    Notes
    -----
    Morcos et al. 2018, arXiv:1806.05759, equation 2: weights are sums of |<variate of x, feature of x>|.
    """
    found = canonical_variates(x, y)
    if not len(found.correlations):
        return x.basis.new_zeros(())
    # Features are basis diag(values) directions, and the variates are a rotation of the basis.
    inner = (found.x.T @ x.basis) * x.values @ x.directions
    weights = inner.abs().sum(1)
    return (weights * found.correlations).sum() / weights.sum().clamp_min(1e-300)


def _take(side: Whitened, order: Tensor) -> Whitened:
    return side._replace(basis=side.basis[order])


CLASSICAL = two_steps(whitened, mean_correlation, _take)
REGULARISED = two_steps(partial(whitened, ridge=RIDGE), mean_correlation, _take)
TRUNCATED = two_steps(partial(whitened, variance=KEPT), mean_correlation, _take)
WEIGHTED = two_steps(whitened, projection_weighted, _take)

MEASURES = {
    "cca": Measure(
        "cca", CLASSICAL[0], True, "permuted_stimuli", "Hotelling 1936, doi:10.1093/biomet/28.3-4.321; mean",
        range=(0.0, 1.0), unchanged_by=(*ALWAYS, "linear", "unit_scale"), under=CLASSICAL[1],
    ),
    "cca_ridge": Measure(
        "cca_ridge", REGULARISED[0], True, "permuted_stimuli",
        f"Vinod 1976, doi:10.1016/0304-4076(76)90010-5; penalty {RIDGE} of the mean eigenvalue, mean correlation",
        range=(0.0, 1.0), of_itself=0.85, under=REGULARISED[1],
    ),
    "svcca": Measure(
        "svcca", TRUNCATED[0], True, "permuted_stimuli", "Raghu et al. 2017, arXiv:1706.05806; 99 % of variance",
        range=(0.0, 1.0), under=TRUNCATED[1],
    ),
    "pwcca": Measure(
        "pwcca", WEIGHTED[0], True, "permuted_stimuli", "Morcos et al. 2018, arXiv:1806.05759; weights of side one",
        range=(0.0, 1.0), symmetric=False, unchanged_by=("scale", "shift"), under=WEIGHTED[1],
    ),
}  # fmt: skip
