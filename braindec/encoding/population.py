"""Encoding weights of a new subject's voxels in closed form, with other people's weights as their prior."""

from __future__ import annotations

import torch

from braindec import checks
from braindec.encoding.model import VoxelwiseEncoding
from braindec.maths.empirical_bayes import Population, fit_channels, pairs_of
from braindec.maths.tensors import Array, as_tensor


def from_population(population: Population, features: Array, responses: Array) -> VoxelwiseEncoding:
    """Posterior mean weights of a subject's voxels, given examples and the distribution of other people's weights.

    Parameters
    ----------
    population : Population
        From `maths.empirical_bayes.fit_population`, of features in the same space.
    features : Tensor or array, shape (n_examples, n_features)
    responses : Tensor or array, shape (n_examples, n_voxels)

    Returns
    -------
    VoxelwiseEncoding
        Without penalty and cross-validated score (NaN): the subject's covariances between voxels take their place.
    """
    features, responses = as_tensor("features", features), as_tensor("responses", responses)
    n = checks.same_length("stimulus", features=features, responses=responses)
    pairs = pairs_of(responses, features)
    fit = fit_channels(pairs, population)
    weights = torch.linalg.solve(
        fit.frame.T, fit.weights.T
    ).T  # responses times the frame are embeddings times these
    intercept = fit.response - fit.embedding @ weights
    none = torch.full_like(intercept, torch.nan).float()
    return VoxelwiseEncoding(
        weights.float().contiguous(),
        intercept.float(),
        none,
        none.clone(),
        "r2",
        n,
        about={"fit": "population"},
    )
