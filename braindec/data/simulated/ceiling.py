"""What ideal observers are told, and what they make of each response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from braindec import checks
from braindec.maths.nearest import hits_at, ranks_in


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
        """Whether each response has its picture among the k best, shape (n_queries,): 0, 1, or with ties the chance."""
        return _hits(self.scores, self.target, k)

    def brain_retrieval(self, k: int = 1) -> np.ndarray:
        """Whether each picture has its response among the k best, as `image_retrieval`."""
        return _hits(self.scores[:, self.target].T, np.arange(len(self.target)), k)

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


def _hits(scores: np.ndarray, target: np.ndarray, k: int) -> np.ndarray:
    """As retrieval metrics count: scenes that differ in what a brain does not see have equal scores."""
    held = torch.from_numpy(np.ascontiguousarray(scores))
    return hits_at(k, *ranks_in(held, torch.from_numpy(target.astype(np.int64)))).numpy()
