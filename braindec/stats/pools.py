"""Retrieval among pools drawn from a gallery: the exact expectation over all of them, and the draws that papers report.

A pool holds the true entry and `pool - 1` of the others, drawn without replacement. How many better entries it holds is
hypergeometric in the rank of the truth in the whole gallery, so no pool has to be drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64
from braindec.stats.intervals import Interval


def expected_hits(k: int, better: ArrayLike, tied: ArrayLike, n_gallery: int, pool: int) -> np.ndarray:
    """Chance of each query that its true entry is among the `k` nearest of a random pool.

    Parameters
    ----------
    k : int
        >= 1.
    better, tied : array, shape (n_queries,)
        Gallery entries that beat and that tie with the true one, itself in neither (`maths.nearest.truth_ranks`).
    n_gallery : int
        Entries of the whole gallery, the true one included.
    pool : int
        Entries of a pool, the true one included, in [1, n_gallery].

    Returns
    -------
    float64 array, shape (n_queries,)
        In [0, 1]; ties are broken at random in expectation, so a constant prediction scores k / pool. Their mean has
        no error from drawing; its interval comes from the queries alone, the gallery held fixed
        (`intervals.proportion_interval`).

    Raises
    ------
    ValueError
        If the pool is larger than the gallery, or ranks do not fit into it.

    Notes
    -----
    With r better entries, P(hit) = P(X <= k - 1), X ~ Hypergeometric(n_gallery - 1, r, pool - 1). Ties put the truth
    at each of the ranks better .. better + tied with equal chance.
    """
    checks.at_least("k", k, 1)
    checks.in_range("pool", pool, 1, n_gallery)
    first = as_float64("better", better, ("query",)).astype(np.int64)
    last = first + as_float64("tied", tied, ("query",)).astype(np.int64)
    checks.in_range("smallest rank", int(first.min()), 0, n_gallery - 1)
    checks.in_range("largest rank", int(last.max()), 0, n_gallery - 1)
    at_rank = stats.hypergeom.cdf(k - 1, n_gallery - 1, np.arange(n_gallery), pool - 1)
    up_to = np.concatenate([[0.0], np.cumsum(at_rank)])
    return np.clip((up_to[last + 1] - up_to[first]) / (last - first + 1), 0.0, 1.0)


class Draws(NamedTuple):
    """Top-1 shares of every drawn pool, each array of shape (n_draws,): who looks for whom is in the name."""

    image_of_brain: np.ndarray
    brain_of_image: np.ndarray


def drawn_top1(similarity: ArrayLike, pool: int, n_draws: int, seed: int) -> Draws:
    """Top-1 shares of `n_draws` random pools, as published; `expected_hits` is their limit without the luck.

    Parameters
    ----------
    similarity : array, shape (n, n)
        Rows are brain responses, columns images, own pairs on the diagonal.
    pool : int
        Pairs of a draw, in [1, n]. All of them are queries: queries and gallery are drawn together.
    n_draws : int
        >= 1.
    seed : int
        Of numpy's old global generator: ``numpy.random.seed(seed)`` and then ``choice(arange(n), pool, replace=False)``
        for each draw.

    Notes
    -----
    Scotti et al. 2024, arXiv:2403.11207, `final_evaluations`. A tie goes to the first entry, as topk gives it.
    """
    table = as_float64("similarity", similarity, ("brain", "image"))
    n = checks.same_length("pair", similarity=table, transposed=table.T)
    checks.in_range("pool", pool, 1, n)
    checks.at_least("n_draws", n_draws, 1)
    state, own = np.random.RandomState(seed), np.arange(pool)
    found = []
    for _ in range(n_draws):
        rows = state.choice(np.arange(n), pool, replace=False)
        drawn = table[np.ix_(rows, rows)]
        found.append([(drawn.argmax(1) == own).mean(), (drawn.argmax(0) == own).mean()])
    shares = np.array(found)
    return Draws(shares[:, 0], shares[:, 1])


def published_interval(shares: ArrayLike, level: float = 0.95) -> Interval:
    """Mean +- 1.96 standard errors over draws, as published, as far as a share goes.

    It says how well the draws know their own limit, nothing of other images or another brain: more draws shrink it to
    zero width. Shown only beside a score that is marked as published.
    """
    values = as_float64("shares", shares, ("draw",))
    half = float(stats.norm.ppf((1 + level) / 2) * values.std() / np.sqrt(len(values)))
    centre = float(values.mean())
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level, "normal_over_draws")
