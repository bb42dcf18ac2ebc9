"""Linear estimates of an embedding from responses, told second moments, and retrieval with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp

from braindec import checks
from braindec.data.simulated.ceiling import Ceiling, Truth

MIN_SHARE = 1e-6  # directions of an embedding with less of the largest variance hold nothing


@dataclass(frozen=True, eq=False)
class Space:
    """An embedding space in coordinates that are uncorrelated with unit variance over scenes."""

    mean: np.ndarray
    forward: np.ndarray  # (dim, n_kept)
    back: np.ndarray  # (n_kept, dim)

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Space:
        """The space over a sample of embeddings (n_scenes, dim)."""
        x = embeddings.astype(np.float64)
        mean = x.mean(0)
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        kept = values > MIN_SHARE * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        return cls(mean, vectors / np.sqrt(values), (vectors * np.sqrt(values)).T)

    def whiten(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings (n, dim) in these coordinates, (n, n_kept)."""
        return (embeddings - self.mean) @ self.forward


def moments(
    space: Space, truth: Truth, noise: np.ndarray, n_repeats: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean response, covariance of whitened embedding and response, covariance of the response."""
    t, s = truth.trial, truth.responses
    centre = s.mean(0)
    deviation = t.mean * (s - centre)
    cross = space.whiten(truth.embeddings).T @ deviation / len(s)
    covariance = deviation.T @ deviation / len(s) + noise + t.variance / n_repeats * (s.T @ s / len(s))
    return t.mean * centre, cross, covariance


def residual(space: Space, truth: Truth, noise: np.ndarray, n_repeats: float) -> np.ndarray:
    """Covariance of what the embedding does not explain linearly: nonlinear part, gain, lapses and noise."""
    _, cross, covariance = moments(space, truth, noise, n_repeats)
    return covariance - cross.T @ cross


def decoded(
    kind: str,
    responses: np.ndarray,
    gallery: np.ndarray,
    target: np.ndarray,
    space: Space,
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
    likelihood = log_ratio(estimate, error, z)
    likelihood -= logsumexp(likelihood, axis=1, keepdims=True)
    back, candidates = estimate @ space.back, gallery - space.mean
    cosine = unit(back) @ unit(candidates).T
    found = {
        name: Ceiling(kind, s, np.asarray(target))
        for name, s in (("likelihood", likelihood), ("cosine", cosine))
    }
    best = max(found, key=lambda name: found[name].top1)
    return Ceiling(kind, found[best].scores, np.asarray(target), {name: c.top1 for name, c in found.items()})


def log_ratio(estimate: np.ndarray, error: np.ndarray, z: np.ndarray) -> np.ndarray:
    """log N(z; estimate, error) - log N(z; 0, 1) up to a constant: (n_queries, n_candidates)."""
    precision = np.linalg.inv(error)
    score = estimate @ precision @ z.T
    score -= 0.5 * (z * (z @ (precision - np.eye(len(precision))))).sum(1)
    return score - 0.5 * (estimate * (estimate @ precision)).sum(1, keepdims=True)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at unit length."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
