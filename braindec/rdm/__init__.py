"""Representational similarity: dissimilarity matrices, how they compare, and what may be concluded from it."""

from braindec.rdm.across_time import cross_temporal, mean_cross_temporal
from braindec.rdm.calculate import MEASURES, dissimilarity
from braindec.rdm.comparators import COMPARATORS, compare, compare_rdms, partial
from braindec.rdm.matrix import RDM, from_square, shared_conditions, stack
from braindec.rdm.noise import Noise, estimate, residuals
from braindec.rdm.nuisance import nuisances

__all__ = [
    "COMPARATORS",
    "MEASURES",
    "RDM",
    "Noise",
    "compare",
    "compare_rdms",
    "cross_temporal",
    "dissimilarity",
    "estimate",
    "from_square",
    "mean_cross_temporal",
    "nuisances",
    "partial",
    "residuals",
    "shared_conditions",
    "stack",
]
