"""Pool-free scores with intervals that hold for other trials and another gallery of the same kind.

The error of these scores has three parts: the queries, the gallery they were standardised with, and the tail that both
give together. Leaving items out, a twentieth at a time, with their queries and their columns, moves all three
at once. What resamples queries alone covers 86 % of worlds with 200 queries instead of 95 (benchmarks/pool_free.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64
from braindec.stats.intervals import Interval, log_odds_interval
from braindec.stats.pool_free import information, log_odds, predicted_top1, stretched, surprisal_of

N_GROUPS, MIN_ITEMS = 20, 8
MAX_ITEMS, MAX_GALLERY = 1000, 2000  # of which the error is estimated; it falls with the number of items
GRID = 400
NEIGHBOUR_NOISE = (
    3.4  # bits times n^(3/4): SD of `information` where it is 0 (20 to 3,000 surprisals, within 5 %)
)


class PoolFree(NamedTuple):
    """Bits per trial, predicted top-1 accuracy among `ways`, an interval for each, and the number of queries."""

    bits: float
    bits_interval: Interval
    top1: float
    top1_interval: Interval
    ways: int
    n: int


def pool_free(
    similarity: ArrayLike,
    truth: ArrayLike,
    generator: np.random.Generator,
    *,
    ways: int = 10_000,
    level: float = 0.95,
) -> PoolFree:
    """Both pool-free scores of a test set, with intervals over items: other stimuli in another gallery.

    Parameters
    ----------
    similarity, truth
        See `pool_free.surprisal`. Queries with the same truth are left out together.
    generator : numpy Generator
        Divides items into groups.
    ways : int
        Size of the gallery to predict for, >= 1.
    level : float
        In (0.5, 1).

    Raises
    ------
    ValueError
        If there are queries of fewer than `MIN_ITEMS` items.

    Notes
    -----
    Delete-a-group jackknife, a t interval with one degree of freedom less than groups, the accuracy's on its log odds.
    The bits' density ratio is held fixed while items are left out, smoothed: to first order a divergence
    changes with its samples alone. What is left where that vanishes is the noise of nearest neighbours, which
    depends on no density: `NEIGHBOUR_NOISE`, added in quadrature. Above `MAX_ITEMS` items their error is found on
    that many, drawn at random, and divided by the root of how many more there are.
    """
    table = stretched(similarity)
    own = as_float64("truth", truth).astype(np.int64)
    found = surprisal_of(table, own)
    bits, top1 = float(information(found).mean()), float(predicted_top1(found, ways).mean())
    ratio = _density_ratio(found)

    def both(part: np.ndarray) -> tuple[float, float]:
        return float(ratio(part).mean()), float(predicted_top1(part, ways).mean())

    errors, n_groups = _errors(table, own, both, generator)
    wide = float(stats.t.ppf((1 + level) / 2, n_groups - 1))
    half = wide * float(np.hypot(errors[0], NEIGHBOUR_NOISE * len(found) ** -0.75))
    around = Interval(bits - half, bits + half, level, "jackknife")
    # The degrees of freedom are those of groups; at 0 and 1 the queries count.
    error = errors[1] * wide / float(stats.t.ppf((1 + level) / 2, len(found) - 1))
    return PoolFree(bits, around, top1, log_odds_interval(top1, error, len(found), level), ways, len(found))


def _errors(
    table: np.ndarray,
    truth: np.ndarray,
    both: Callable[[np.ndarray], tuple[float, float]],
    generator: np.random.Generator,
) -> tuple[np.ndarray, int]:
    """Standard errors of the two scores, (2,), and the number of groups behind them."""
    shown = generator.permutation(np.unique(truth))
    checks.at_least("number of items with queries", len(shown), MIN_ITEMS)
    kept = shown[:MAX_ITEMS]
    others = generator.permutation(np.setdiff1d(np.arange(table.shape[1]), shown))[: MAX_GALLERY - len(kept)]
    n_groups = min(N_GROUPS, len(kept))
    group = np.full(table.shape[1], -1)
    for items in (kept, others):
        group[items] = np.arange(len(items)) % n_groups
    values = []
    for out in range(n_groups):
        columns = np.flatnonzero((group >= 0) & (group != out))
        rows = np.flatnonzero(np.isin(truth, columns))
        part = surprisal_of(table[np.ix_(rows, columns)], np.searchsorted(columns, truth[rows]))
        values.append(both(part))
    spread = np.array(values).var(0) * (n_groups - 1)
    return np.sqrt(spread * len(kept) / len(shown)), n_groups


def _density_ratio(surprisals: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """log2 of true entries' density over distractors', smooth in the log odds of winning (Silverman's bandwidth)."""
    x = log_odds(surprisals)
    middle = float(np.subtract(*np.quantile(x, [0.75, 0.25]))) / 1.349
    width = max(1.06 * min(float(x.std(ddof=1)), middle or np.inf) * len(x) ** -0.2, 1e-6)
    grid = np.linspace(x.min() - 3 * width, x.max() + 3 * width, GRID)
    density = np.zeros(GRID)
    for some in np.array_split(x, max(1, len(x) // 1000)):
        density += np.exp(-0.5 * ((grid[:, None] - some) / width) ** 2).sum(1)
    log_ratio = np.log(np.maximum(density / (len(x) * width * np.sqrt(2 * np.pi)), 1e-300))
    log_ratio += grid + 2 * np.logaddexp(0.0, -grid)  # distractors' log odds are logistic
    return lambda found: np.interp(log_odds(found), grid, log_ratio) / np.log(2)
