"""Encoding models: from features of stimuli to every voxel or sensor, and what may be concluded from them.

Tensors in, tensors out; what joins prepared data and embeddings with these models is `evaluate.encode`. A further way
to use a fitted model (captions of voxels, stimuli for a region) is one file more.
"""

from __future__ import annotations

from braindec.encoding.banded import BandedEncoding, fit_banded, random_gammas
from braindec.encoding.delays import at_scans, canonical_response, convolved, delayed, undelayed
from braindec.encoding.fractional import FractionalFit, fit_fractional
from braindec.encoding.inversion import Inversion, invert
from braindec.encoding.judging import (
    Normalised,
    Significance,
    correlation,
    normalised,
    product_measure,
    r2,
    significance,
)
from braindec.encoding.layers import LayeredEncoding, fit_layers, stacking_weights
from braindec.encoding.model import VoxelwiseEncoding
from braindec.encoding.partition import VariancePartition, partition_variance
from braindec.encoding.voxel_captions import (
    Naming,
    VoxelCaptions,
    caption_voxels,
    project,
    random_directions,
    score_names,
)
from braindec.encoding.voxelwise import ALPHAS, fit, fit_factorised

__all__ = [
    "ALPHAS",
    "BandedEncoding",
    "FractionalFit",
    "Inversion",
    "LayeredEncoding",
    "Naming",
    "Normalised",
    "Significance",
    "VariancePartition",
    "VoxelCaptions",
    "VoxelwiseEncoding",
    "at_scans",
    "canonical_response",
    "caption_voxels",
    "convolved",
    "correlation",
    "delayed",
    "fit",
    "fit_banded",
    "fit_factorised",
    "fit_fractional",
    "fit_layers",
    "invert",
    "normalised",
    "partition_variance",
    "product_measure",
    "project",
    "r2",
    "random_directions",
    "random_gammas",
    "score_names",
    "significance",
    "stacking_weights",
    "undelayed",
]
