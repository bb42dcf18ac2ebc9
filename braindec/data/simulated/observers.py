"""Ideal observers: how well pictures could be told from responses by someone who knows the brain, in closed form.

`oracle_image` compares a response with what the true map predicts for every candidate picture. `oracle_linear` is the
best linear decoder into a target embedding, told the truth. `oracle_n` is the best linear decoder told only the priors
(how weights are drawn, how noise and residuals covary) and the same n training responses as any fitted decoder.

All three return log p(candidate | response) among the candidates. It is the best score for retrieval in both
directions: the picture of a response, and the response to a picture (one that favours every picture must not win).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.special import gammaln, logsumexp

from braindec import checks

MIN_SHARE = 1e-6  # directions of an embedding with less of the largest variance hold nothing


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What an observer makes of each response.

    Parameters
    ----------
    kind : str
        ``"oracle_image"``, ``"oracle_linear"`` or ``"oracle_n"``.
    scores : ndarray, shape (n_queries, n_candidates)
        Higher is more likely.
    target : ndarray of int, shape (n_queries,)
        Column of what was truly seen.
    details : mapping of str to float
        Further numbers, by name.
    """

    kind: str
    scores: np.ndarray
    target: np.ndarray
    details: Mapping[str, float] = field(default_factory=dict)

    def image_retrieval(self, k: int = 1) -> np.ndarray:
        """Whether each response has its picture among the k best, float 0 or 1, shape (n_queries,)."""
        own = np.take_along_axis(self.scores, self.target[:, None], 1)
        return ((self.scores > own).sum(1) < k).astype(float)

    def brain_retrieval(self, k: int = 1) -> np.ndarray:
        """Whether each picture has its response among the k best, float 0 or 1, shape (n_queries,)."""
        columns = self.scores[:, self.target]
        return ((columns > np.diag(columns)).sum(0) < k).astype(float)

    def two_way(self) -> np.ndarray:
        """Share of other candidates that score below the true one (ties count half), shape (n_queries,)."""
        own = np.take_along_axis(self.scores, self.target[:, None], 1)
        others = self.scores.shape[1] - 1
        return ((self.scores < own).sum(1) + 0.5 * ((self.scores == own).sum(1) - 1)) / others

    @property
    def top1(self) -> float:
        """Mean of `image_retrieval`."""
        return float(self.image_retrieval().mean())


@dataclass(frozen=True)
class Trial:
    """What happens to a response before noise is added: SD of the gain, probability of a lapse."""

    gain_sd: float = 0.0
    lapse: float = 0.0

    @property
    def mean(self) -> float:
        """Expected seen * gain."""
        return 1 - self.lapse

    @property
    def variance(self) -> float:
        """Variance of seen * gain."""
        return (1 - self.lapse) * (1 + self.gain_sd**2) - (1 - self.lapse) ** 2


@dataclass(frozen=True, eq=False)
class Truth:
    """What observers of one brain are told about a large sample of scenes.

    Parameters
    ----------
    responses : ndarray, shape (n_scenes, n_features)
        Noise-free responses at gain 1.
    embeddings : ndarray, shape (n_scenes, dim)
        Of the same scenes in the decoder's target space.
    trial : Trial
    """

    responses: np.ndarray
    embeddings: np.ndarray
    trial: Trial

    def __post_init__(self) -> None:
        checks.same_length("scene", responses=self.responses, embeddings=self.embeddings)


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
    space = _Space.of(truth.embeddings)
    mean, cross, covariance = _moments(space, truth, noise, n_repeats)
    return _decoded("oracle_linear", responses, gallery, target, space, mean, cross, covariance)


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
    space = _Space.of(truth.embeddings)
    z = space.whiten(train_embeddings)
    centre_z, centre_y = z.mean(0), train_responses.mean(0)
    train_residual = _residual(space, truth, train_noise, train_repeats)
    residual = _residual(space, truth, noise, n_repeats)
    onto = (prior.features - prior.features.mean(0)).T @ space.whiten(truth.embeddings) / len(prior.features)
    a, unsure = _posterior(z - centre_z, train_responses - centre_y, prior, onto, train_residual)
    covariance = a @ a.T + residual + unsure
    mean = centre_y - a @ centre_z
    return _decoded("oracle_n", responses, gallery, target, space, mean, a.T, covariance)


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


@dataclass(frozen=True, eq=False)
class _Space:
    """An embedding space in coordinates that are uncorrelated with unit variance over scenes."""

    mean: np.ndarray
    forward: np.ndarray  # (dim, n_kept)
    back: np.ndarray  # (n_kept, dim)

    @classmethod
    def of(cls, embeddings: np.ndarray) -> _Space:
        x = embeddings.astype(np.float64)
        mean = x.mean(0)
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        kept = values > MIN_SHARE * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        return cls(mean, vectors / np.sqrt(values), (vectors * np.sqrt(values)).T)

    def whiten(self, embeddings: np.ndarray) -> np.ndarray:
        return (embeddings - self.mean) @ self.forward


def _moments(
    space: _Space, truth: Truth, noise: np.ndarray, n_repeats: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean response, covariance of whitened embedding and response, covariance of the response."""
    t, s = truth.trial, truth.responses
    centre = s.mean(0)
    deviation = t.mean * (s - centre)
    cross = space.whiten(truth.embeddings).T @ deviation / len(s)
    covariance = deviation.T @ deviation / len(s) + noise + t.variance / n_repeats * (s.T @ s / len(s))
    return t.mean * centre, cross, covariance


def _residual(space: _Space, truth: Truth, noise: np.ndarray, n_repeats: float) -> np.ndarray:
    """Covariance of what the embedding does not explain linearly: nonlinear part, gain, lapses and noise."""
    _, cross, covariance = _moments(space, truth, noise, n_repeats)
    return covariance - cross.T @ cross


def _decoded(
    kind: str,
    responses: np.ndarray,
    gallery: np.ndarray,
    target: np.ndarray,
    space: _Space,
    mean: np.ndarray,
    cross: np.ndarray,
    covariance: np.ndarray,
) -> Ceiling:
    """Retrieval with the linear estimate cross covariance^-1 (response - mean), by likelihood or by cosine."""
    checks.same_length("query", responses=responses, target=target)
    gain = cho_solve(cho_factor(covariance), cross.T)  # (feature, dim)
    estimate = (responses - mean) @ gain  # whitened coordinates
    error = np.eye(cross.shape[0]) - cross @ gain
    z = space.whiten(gallery)
    likelihood = _log_ratio(estimate, error, z)
    likelihood -= logsumexp(likelihood, axis=1, keepdims=True)
    back, candidates = estimate @ space.back, gallery - space.mean
    cosine = _unit(back) @ _unit(candidates).T
    found = {
        name: Ceiling(kind, s, np.asarray(target))
        for name, s in (("likelihood", likelihood), ("cosine", cosine))
    }
    best = max(found, key=lambda name: found[name].top1)
    return Ceiling(kind, found[best].scores, np.asarray(target), {name: c.top1 for name, c in found.items()})


def _log_ratio(estimate: np.ndarray, error: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log N(z; estimate, error) - log N(z; 0, 1) up to a constant: (n_queries, n_candidates)."""
    precision = np.linalg.inv(error)
    score = estimate @ precision @ z.T
    score -= 0.5 * (z * (z @ (precision - np.eye(len(precision))))).sum(1)
    return score - 0.5 * (estimate * (estimate @ precision)).sum(1, keepdims=True)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _posterior(
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
        a[rows], unsure[block] = _kronecker(z, y[:, rows], between, half, residual[block])
    return a, unsure


def _kronecker(
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
