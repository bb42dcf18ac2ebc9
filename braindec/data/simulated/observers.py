"""Ideal observers: how well pictures could be told from responses by someone who knows the brain, in closed form.

`oracle_image` compares a response with what the true map predicts for every candidate picture. `oracle_linear` is the
best linear decoder into a target embedding, told the truth. `oracle_n` (in `trained_observer`) is the best linear
decoder told only the priors (how weights are drawn, how noise and residuals covary) and the same n training responses
as any fitted decoder.

All three return log p(candidate | response) among the candidates. It is the best score for retrieval in both
directions: the picture of a response, and the response to a picture (one that favours every picture must not win).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import gammaln, logsumexp

from braindec import checks
from braindec.data.simulated.ceiling import Ceiling, Trial, Truth
from braindec.data.simulated.linear_estimate import Space, decoded, moments


def oracle_image(
    responses: np.ndarray,
    candidates: np.ndarray,
    target: np.ndarray,
    noise: Callable[[int], np.ndarray],
    n_repeats: np.ndarray,
    trial: Trial,
) -> Ceiling:
    """Likelihood of each response under each candidate picture.

    Parameters
    ----------
    responses : ndarray, shape (n_queries, n_features)
        Averages over repeats.
    candidates : ndarray, shape (n_candidates, n_features)
        Noise-free responses at gain 1.
    target : ndarray of int, shape (n_queries,)
        Candidate that was seen.
    noise : callable
        ``noise(query)`` gives the (n_features, n_features) covariance of the additive noise of that average.
    n_repeats : ndarray of int, shape (n_queries,)
        Trials averaged into each response.
    trial : Trial

    Returns
    -------
    Ceiling

    Notes
    -----
    Exact: a mixture over how many of the trials were seen, each a Gaussian whose covariance is the additive noise plus
    the rank-one variance of the gain.
    """
    checks.same_length("query", responses=responses, target=target, n_repeats=n_repeats)
    scores = np.empty((len(responses), len(candidates)))
    for q, response in enumerate(responses):
        lower = cholesky(noise(q), lower=True)
        white = solve_triangular(lower, np.column_stack([response, candidates.T]), lower=True)
        scores[q] = _mixture(white[:, 0], white[:, 1:], int(n_repeats[q]), trial)
    scores -= logsumexp(scores, axis=1, keepdims=True)
    return Ceiling("oracle_image", scores, np.asarray(target))


def _mixture(y: np.ndarray, s: np.ndarray, m: int, trial: Trial) -> np.ndarray:
    """Log likelihood (n_candidates,) of a whitened response under whitened candidates (n_features, n_candidates)."""
    yy, ys, ss = y @ y, y @ s, (s**2).sum(0)
    parts = []
    for seen in range(m + 1) if trial.lapse > 0 else (m,):
        share, c = seen / m, seen * trial.gain_sd**2 / m**2
        along = ys - share * ss
        fit = yy - 2 * share * ys + share**2 * ss - c * along**2 / (1 + c * ss)
        odds = seen * np.log(max(trial.mean, 1e-300)) + (m - seen) * np.log(max(trial.lapse, 1e-300))
        ways = gammaln(m + 1) - gammaln(seen + 1) - gammaln(m - seen + 1)
        parts.append(ways + odds - 0.5 * (fit + np.log1p(c * ss)))
    return logsumexp(np.stack(parts), axis=0)


def oracle_linear(
    responses: np.ndarray,
    gallery: np.ndarray,
    target: np.ndarray,
    truth: Truth,
    noise: np.ndarray,
    n_repeats: float,
) -> Ceiling:
    """The best linear decoder into an embedding, told the true second moments.

    Parameters
    ----------
    responses : ndarray, shape (n_queries, n_features)
        Averages over `n_repeats` trials.
    gallery : ndarray, shape (n_candidates, dim)
        Embeddings of the candidates.
    target : ndarray of int, shape (n_queries,)
        Candidate that was seen.
    truth : Truth
        Noise-free responses and embeddings of a large sample of scenes (not the gallery's).
    noise : ndarray, shape (n_features, n_features)
        Covariance of the additive noise of an average.
    n_repeats : float
        Their number, or its harmonic mean where it differs between queries.

    Returns
    -------
    Ceiling
        With the better of two scores of the estimate z = E_linear[embedding | response]: cosine with the centred
        candidates, or z' S^-1 c - c' (S^-1 - C^-1) c / 2 with S the error's and C the embedding's covariance. Top-1 of
        both stands in `details` as "cosine" and "likelihood".

    Notes
    -----
    The estimate is the linear minimum-mean-squared-error estimator; the second score is the log likelihood ratio when
    embedding and error are Gaussian.
    """
    space = Space.of(truth.embeddings)
    mean, cross, covariance = moments(space, truth, noise, n_repeats)
    return decoded("oracle_linear", responses, gallery, target, space, mean, cross, covariance)
