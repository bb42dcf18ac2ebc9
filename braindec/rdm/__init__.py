"""Representational similarity: dissimilarity matrices, how they compare, and what may be concluded from it."""

from braindec.rdm.across_time import cross_temporal, mean_cross_temporal
from braindec.rdm.calculate import MEASURES, dissimilarity
from braindec.rdm.ceilings import Ceiling, noise_ceiling
from braindec.rdm.comparators import COMPARATORS, compare, compare_rdms, partial
from braindec.rdm.decoding import DecodedPlaces, decoding_searchlight
from braindec.rdm.fusion import Fusion, commonality, fuse
from braindec.rdm.inference import Difference, Inference, infer
from braindec.rdm.matrix import RDM, from_square, shared_conditions, stack
from braindec.rdm.neighbourhoods import Neighbourhoods, disks, rings, sensors, spheres
from braindec.rdm.noise import Noise, estimate, residuals
from braindec.rdm.nuisance import nuisances
from braindec.rdm.permutation import permutation_null
from braindec.rdm.searching import searchlight
from braindec.rdm.transforms import geo_topological, geodesic, ranked
from braindec.rdm.weighted import CrossValidated, cross_validated, fit_weights

__all__ = [
    "COMPARATORS",
    "MEASURES",
    "RDM",
    "Ceiling",
    "CrossValidated",
    "DecodedPlaces",
    "Difference",
    "Fusion",
    "Inference",
    "Neighbourhoods",
    "Noise",
    "commonality",
    "compare",
    "compare_rdms",
    "cross_temporal",
    "cross_validated",
    "decoding_searchlight",
    "disks",
    "dissimilarity",
    "estimate",
    "fit_weights",
    "from_square",
    "fuse",
    "geo_topological",
    "geodesic",
    "infer",
    "mean_cross_temporal",
    "noise_ceiling",
    "nuisances",
    "partial",
    "permutation_null",
    "ranked",
    "residuals",
    "rings",
    "searchlight",
    "sensors",
    "shared_conditions",
    "spheres",
    "stack",
]
