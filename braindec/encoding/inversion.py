"""From an encoding model back to the stimulus: the most probable features, and which of several stimuli was seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.encoding.model import VoxelwiseEncoding
from braindec.maths.covariance import ledoit_wolf
from braindec.maths.tensors import Array, as_tensor

FLOOR = 1e-6  # of the mean noise variance, so that a voxel without noise does not decide alone


@dataclass(frozen=True, eq=False)
class Inversion:
    """A Gaussian decoder made of an encoding model; make one with `invert`.

    Parameters
    ----------
    model : VoxelwiseEncoding
    precision : Tensor, shape (n_voxels, n_voxels)
        Inverse covariance of the noise, float64.
    prior_mean : Tensor, shape (n_features,)
    prior_covariance : Tensor, shape (n_features, n_features)
        Of features of stimuli at large, float64.
    """

    model: VoxelwiseEncoding
    precision: Tensor
    prior_mean: Tensor
    prior_covariance: Tensor

    def decode(self, responses: Array, n_repeats: float = 1.0) -> Tensor:
        """The posterior mean of the features (n, n_features) for responses (n, n_voxels).

        Parameters
        ----------
        responses : Tensor or array
        n_repeats : float
            Trials averaged into each response, relative to those behind the noise covariance: noise shrinks by it.

        Notes
        -----
        (C^-1 + W S^-1 W')^-1 W S^-1 (y - b - W' m) + m, computed without inverting C, which may be singular.
        """
        responses, weights = as_tensor("responses", responses, floating=True), self.model.weights.double()
        reach = self.prior_covariance @ weights @ (n_repeats * self.precision)  # (feature, voxel)
        eye = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
        left = responses.double() - self.model.intercept.double() - self.prior_mean @ weights
        found = torch.linalg.solve(eye + reach @ weights.T, reach @ left.T).T + self.prior_mean
        return found.to(responses.dtype)

    def log_likelihood(self, responses: Array, candidates: Array) -> Tensor:
        """How well each candidate explains each response, (n, n_candidates), up to a constant for all.

        Parameters
        ----------
        responses : Tensor or array, shape (n, n_voxels)
        candidates : Tensor or array, shape (n_candidates, n_features)
            Their position of the largest value identifies the stimulus.
        """
        responses = as_tensor("responses", responses, floating=True)
        made, y = self.model.predict(candidates).double(), responses.double()
        weighted = made @ self.precision
        found = (
            y @ weighted.T - 0.5 * (weighted * made).sum(1) - 0.5 * ((y @ self.precision) * y).sum(1)[:, None]
        )
        return found.to(responses.dtype)


def invert(
    model: VoxelwiseEncoding, residuals: Array, features: Array, *, diagonal: bool = False
) -> Inversion:
    """The Gaussian decoder that belongs to an encoding model.

    Parameters
    ----------
    model : VoxelwiseEncoding
        Of the voxels to decode from: choose them by `cv_score`, on training data (`model.take`).
    residuals : Tensor or array, shape (n_samples, n_voxels)
        Held-out training responses minus their prediction (`maths.ridge.held_out_predictions`): those of rows that the
        model was fitted on are too small.
    features : Tensor or array, shape (n_stimuli, n_features)
        Of stimuli at large: their mean and shrunk covariance are the prior.
    diagonal : bool
        Take the noise of voxels as independent.

    Notes
    -----
    Naselaris et al. 2009, doi:10.1016/j.neuron.2009.09.006; covariances by Ledoit and Wolf 2004.
    """
    residuals, features = as_tensor("residuals", residuals), as_tensor("features", features)
    checks.same_length("voxel", residuals=residuals.T, weights=model.weights.T)
    checks.same_length("feature", features=features.T, weights=model.weights)
    if diagonal:
        variance = residuals.double().var(0)
        precision = (1 / variance.clamp_min(FLOOR * variance.mean())).diag()
    else:
        precision = torch.linalg.inv(ledoit_wolf(residuals.double()).matrix)
    prior = ledoit_wolf(features.double())
    return Inversion(model, precision, prior.mean, prior.matrix)
