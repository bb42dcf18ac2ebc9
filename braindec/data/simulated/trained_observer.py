"""`oracle_n`: the best linear decoder told only how brains are drawn, and given the trials of any fitted decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from braindec import checks
from braindec.data.simulated.ceiling import Ceiling, Truth
from braindec.data.simulated.linear_estimate import Space, decoded, residual


@dataclass(frozen=True, eq=False)
class Prior:
    """How the weights of a brain were drawn.

    Parameters
    ----------
    features : ndarray, shape (n_scenes, n_stimulus_features)
        What the weights act on, for the scenes of `Truth`.
    variances : mapping of str to ndarray, shape (n_stimulus_features,)
        Prior variance of a weight on each of them, by region.
    members : mapping of str to ndarray of bool, shape (n_features,)
        Voxels (or sources) of each region; those of no region see nothing.
    kernel : ndarray, shape (n_features, n_features)
        Prior covariance of weights between voxels.
    scale : ndarray, shape (n_features,)
        Response per unit of drive: amplitude times the slope of the saturation.
    """

    features: np.ndarray
    variances: Mapping[str, np.ndarray]
    members: Mapping[str, np.ndarray]
    kernel: np.ndarray
    scale: np.ndarray


def oracle_n(
    responses: np.ndarray,
    gallery: np.ndarray,
    target: np.ndarray,
    train_responses: np.ndarray,
    train_embeddings: np.ndarray,
    truth: Truth,
    prior: Prior,
    noise: np.ndarray,
    train_noise: np.ndarray,
    n_repeats: float,
    train_repeats: float,
) -> Ceiling:
    """The best linear decoder told the priors, and given the trials that any fitted decoder is given.

    The response map A (feature by embedding direction) is estimated by Bayesian linear regression of the training
    responses on their embeddings, with the prior of the world's random weights and the true covariance of the
    residuals; the decoder is the linear estimator of the embedding under the posterior mean of A, whose uncertainty
    counts as noise.

    Parameters
    ----------
    responses, gallery, target, truth, noise, n_repeats
        As in `oracle_linear`; `truth` serves the prior and the residuals' covariance, never A itself.
    train_responses : ndarray, shape (n_images, n_features)
        Averages over `train_repeats` trials.
    train_embeddings : ndarray, shape (n_images, dim)
    prior : Prior
    train_noise : ndarray, shape (n_features, n_features)
        Covariance of the additive noise of a training average.
    train_repeats : float

    Returns
    -------
    Ceiling
        Approaches `oracle_linear` as n grows. "cosine" and "likelihood" in `details` as there.

    Notes
    -----
    Regions have different priors and are estimated one by one: their residuals' covariance is ignored in the regression
    (with equal regressors it carries no information but through the prior) and used in the decoder.
    """
    checks.same_length("training image", train_responses=train_responses, train_embeddings=train_embeddings)
    space = Space.of(truth.embeddings)
    z = space.whiten(train_embeddings)
    centre_z, centre_y = z.mean(0), train_responses.mean(0)
    train_rest = residual(space, truth, train_noise, train_repeats)
    rest = residual(space, truth, noise, n_repeats)
    onto = (prior.features - prior.features.mean(0)).T @ space.whiten(truth.embeddings) / len(prior.features)
    a, unsure = posterior(z - centre_z, train_responses - centre_y, prior, onto, train_rest)
    covariance = a @ a.T + rest + unsure
    mean = centre_y - a @ centre_z
    return decoded("oracle_n", responses, gallery, target, space, mean, a.T, covariance)


def posterior(
    z: np.ndarray, y: np.ndarray, prior: Prior, onto: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean of the response map (n_features, dim) and the variance its uncertainty adds to a response.

    `onto` is the covariance of stimulus features and whitened embedding, (n_stimulus_features, dim).
    """
    n_features = y.shape[1]
    a, unsure = np.zeros((n_features, z.shape[1])), np.zeros((n_features, n_features))
    for region, variance in prior.variances.items():
        rows = np.flatnonzero(prior.members[region])
        block = np.ix_(rows, rows)
        between = prior.kernel[block] * prior.scale[rows][:, None] * prior.scale[rows]
        half = onto.T * np.sqrt(
            variance
        )  # (dim, stimulus feature): half @ half.T is the prior over directions
        a[rows], unsure[block] = kronecker(z, y[:, rows], between, half, residual[block])
    return a, unsure


def kronecker(
    z: np.ndarray, y: np.ndarray, between: np.ndarray, half: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bayesian regression y = z A' + e, A ~ MN(0, between, half half'), e ~ N(0, residual), in the joint eigenbasis."""
    lower = cholesky(residual, lower=True)
    white = solve_triangular(lower, solve_triangular(lower, between, lower=True).T, lower=True)
    k, v = np.linalg.eigh((white + white.T) / 2)
    k = np.maximum(k, 0)
    values, u = np.linalg.eigh(half.T @ (z.T @ z) @ half)
    sums = v.T @ solve_triangular(lower, y.T @ z @ half @ u, lower=True)
    shrunk = k[:, None] / (1 + k[:, None] * np.maximum(values, 0))  # posterior variance of each coefficient
    back = lower @ v
    length = ((half @ u) ** 2).sum(0)
    return back @ (shrunk * sums) @ (half @ u).T, (back * (shrunk @ length)) @ back.T
