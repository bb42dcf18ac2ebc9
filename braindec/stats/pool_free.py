"""Retrieval scores that do not depend on the size of the gallery: bits per trial and predicted K-way accuracy.

Both come from one number a query, the surprisal of its truth: -log of the chance that a distractor, drawn at random,
is more similar to the query. In the bulk that chance is the query's own rank. Beyond the gallery's resolution it is
extrapolated: excesses over a threshold in each row, in units of the row's own spread, are pooled over all queries and
give the shape of the tail.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import digamma

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64

MAX_SURPRISAL = 100.0  # nats; no test set tells more from certainty
MIN_DISTRACTORS, MIN_QUERIES = 4, 3
TAIL_SHARE = 0.5  # of the pooled excesses that shape the tail; below, their own distribution is fine enough
COSINE_ROUNDING = 1e-5  # by which cosines of single precision may exceed 1
CHUNK_ELEMENTS = 2**22
GOLDEN = 0.6180339887498949  # fractional part of the golden ratio: its multiples fill [0, 1) evenly


def surprisal(similarity: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """-log of the chance that a random distractor is more similar to a query than its truth is.

    Parameters
    ----------
    similarity : array, shape (n_queries, n_gallery)
        Larger is closer. Rows may have any location and scale. Where all values lie in [-1, 1] but for rounding they
        are taken as cosines and stretched by arctanh, which changes no rank and undoes the crowding near 1.
    truth : integer array, shape (n_queries,)
        Column of each query's own entry.

    Returns
    -------
    float64 array, shape (n_queries,)
        Nats in [0, `MAX_SURPRISAL`]; for predictions that know nothing the exponential distribution of mean 1.

    Raises
    ------
    ValueError
        If there are fewer than `MIN_DISTRACTORS` distractors or `MIN_QUERIES` queries.

    Notes
    -----
    A truth that ties with distractors takes a place among them by its position in the input (multiples of the golden
    ratio), so that equal predictions are as surprising as chance.
    """
    return surprisal_of(stretched(similarity), truth)


def stretched(similarity: ArrayLike) -> np.ndarray:
    """Similarities (n_queries, n_gallery) as `surprisal` compares them, float64: arctanh of cosines, else as given."""
    table = as_float64("similarity", similarity, ("query", "gallery"))
    if np.abs(table).max() > 1.0 + COSINE_ROUNDING:
        return table
    return np.arctanh(np.clip(table, -1 + 1e-9, 1 - 1e-9))


def surprisal_of(table: np.ndarray, truth: ArrayLike) -> np.ndarray:
    """`surprisal` of a table that is `stretched`, or a part of one."""
    own = as_float64("truth", truth).astype(np.int64)
    checks.same_length("query", similarity=table, truth=own)
    checks.at_least("number of queries", len(table), MIN_QUERIES)
    checks.at_least("number of distractors", table.shape[1] - 1, MIN_DISTRACTORS)
    checks.in_range("smallest truth", int(own.min()), 0, table.shape[1] - 1)
    checks.in_range("largest truth", int(own.max()), 0, table.shape[1] - 1)
    step = max(1, CHUNK_ELEMENTS // table.shape[1])
    parts = [_rows(table[i : i + step], own[i : i + step]) for i in range(0, len(table), step)]
    rows = _Rows(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return _surprisal(rows, table.shape[1] - 1)


def predicted_top1(surprisals: np.ndarray, ways: int) -> np.ndarray:
    """Chance that each truth is the most similar of a gallery of `ways`: (1 - exp(-surprisal)) ** (ways - 1).

    Parameters
    ----------
    surprisals : array, shape (n,)
        From `surprisal`.
    ways : int
        >= 1; 1 / ways is chance.

    Returns
    -------
    float64 array, shape (n,)
        In [0, 1]; their mean is the predicted accuracy among distractors drawn like those of the test set.
    """
    checks.at_least("ways", ways, 1)
    beaten = np.exp(-np.asarray(surprisals, dtype=np.float64))
    return np.exp((ways - 1) * np.log1p(-np.minimum(beaten, 1 - 1e-16)))


def information(surprisals: np.ndarray) -> np.ndarray:
    """What each trial tells of its stimulus, in bits; their mean is the bits per trial.

    The mean estimates D(g || f), the divergence of the surprisals g of true entries from those f of distractors
    (exponential): the mutual information between a trial and the identity of its stimulus in a gallery without end, as
    far as the similarities tell it. A gallery of 2 ** bits entries is about the largest that can be told apart. 0 for
    predictions that know nothing, and never clipped: the estimate may fall a little below.

    Parameters
    ----------
    surprisals : array, shape (n,)
        From `surprisal`.

    Returns
    -------
    float64 array, shape (n,)
        log2 g / f at each query, g from its nearest neighbours.

    Notes
    -----
    Mean minus entropy of the surprisal, computed on the log odds of winning, whose distribution has no edge. Entropy by
    nearest neighbours: Kozachenko & Leonenko 1987; Kraskov et al. 2004, doi:10.1103/PhysRevE.69.066138. Its bias is in
    proportion to k / n in the tails: twice the estimate of k = sqrt(n) neighbours less that of 2 k has none of it
    (measured on predictions that know nothing: 0.06 bits of 200 queries become 0.01).
    """
    x = log_odds(surprisals)
    k = max(3, round(len(x) ** 0.5))
    density = 2 * _log_density(x, k) - _log_density(x, 2 * k)
    return (density + x + 2 * np.logaddexp(0.0, -x)) / np.log(2)


def log_odds(surprisals: np.ndarray) -> np.ndarray:
    """Log odds that the truth beats a random distractor, from its surprisal; logistic where nothing is known."""
    t = np.maximum(np.asarray(surprisals, dtype=np.float64), 1e-12)
    return np.log(-np.expm1(-t)) + t


class _Rows(NamedTuple):
    """What is kept of each query: truth and largest distractors in units of the row, and where the truth ranks."""

    own: np.ndarray  # (n,)
    top: np.ndarray  # (n, k + 1), ascending
    better: np.ndarray  # (n,)
    tied: np.ndarray  # (n,)
    between: np.ndarray  # (n,), place between the two distractors around the truth, 0 at the upper one


def _rows(block: np.ndarray, truth: np.ndarray) -> _Rows:
    n, m = len(block), block.shape[1] - 1
    rest = np.ones(block.shape, dtype=bool)
    rest[np.arange(n), truth] = False
    others = np.sort(block[rest].reshape(n, m), axis=1)
    own = block[np.arange(n), truth]
    mean, spread = others.mean(1, keepdims=True), others.std(1, ddof=1, keepdims=True)
    spread = np.maximum(spread, 1e-12 * np.maximum(np.abs(block).max(1, keepdims=True), 1e-300))
    k = _n_top(m)
    z = (others[:, -k - 1 :] - mean) / spread
    # A distractor has pulled mean and SD its own way, the truth has not: half of leaving it out undoes, to first order,
    # both that and the noise of the row's mean and SD in the tail.
    z = z * (m / np.maximum(m - z**2, 1.0)) ** 0.25
    better, tied = (others > own[:, None]).sum(1), (others == own[:, None]).sum(1)
    upper = np.take_along_axis(others, np.minimum(m - better, m - 1)[:, None], 1)[:, 0]
    lower = np.take_along_axis(others, np.maximum(m - better - 1, 0)[:, None], 1)[:, 0]
    gap = upper - lower
    inside = (better > 0) & (better < m) & (gap > 0)
    between = np.where(inside, (upper - own) / np.where(inside, gap, 1.0), 0.5)
    return _Rows((own - mean[:, 0]) / spread[:, 0], z, better, tied, between)


def _n_top(n_distractors: int) -> int:
    """Distractors of a row that may lie in its tail: sqrt of all, so that both their number and their rarity grow."""
    return min(max(5, round(n_distractors**0.5)), n_distractors // 2)


def _surprisal(rows: _Rows, m: int) -> np.ndarray:
    limit, scale, excess, share = _excesses(rows, m)
    place = np.where(rows.tied > 0, (np.arange(1, len(rows.own) + 1) * GOLDEN) % 1, rows.between)
    bulk = -np.log((rows.better + place * (rows.tied + 1)) / (m + 1))
    # No tail without spread: every distractor of every row lies at the same place.
    tail = _tail(excess) if len(excess) > 1 and excess.max() > 0 else lambda x: np.full_like(x, MAX_SURPRISAL)
    beyond = tail(np.maximum(rows.own - limit, 0.0) / scale) - np.log(share)
    return np.clip(np.where(rows.own > limit, beyond, bulk), 0.0, MAX_SURPRISAL)


def _excesses(rows: _Rows, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Threshold and scale of each row's tail, the pooled scaled excesses of distractors, and how many exceed.

    Rows differ in the shape of their tails (some items have near neighbours), and a row's own tail is known from few
    values: threshold and log scale are drawn towards those of all rows as far as their spread is noise.
    """
    k = rows.top.shape[1] - 1
    threshold, over = rows.top[:, 0], rows.top[:, 1:] - rows.top[:, :1]
    mean = np.maximum(over.mean(1), 1e-12)
    noise = (mean**2).mean() * (1 - k / m) / k - (
        1 + threshold.mean() ** 2 / 2
    ) / m  # mean and SD are removed
    limit, _ = _shrunk(threshold, max(noise, 0.0))
    log_scale, kept = _shrunk(np.log(mean), float((over.var(1) / mean**2).mean()) / k)
    scale = np.exp(log_scale)
    excess = rows.top - limit[:, None]
    row, _ = np.nonzero(excess > 0)
    found = excess[excess > 0]
    # Half of leaving it out, as for mean and SD: an excess has raised the scale that it is measured in.
    without = np.clip((k - found / mean[row]) / max(k - 1, 1), 0.2, None)
    return limit, scale, found / (scale[row] * without ** (kept / 2)), max(len(found), 1) / (len(limit) * m)


def _shrunk(values: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Values drawn towards their mean as far as their variance is noise, and the share that was kept."""
    spread = float(values.var())
    kept = max(0.0, 1 - noise / spread) if spread > 0 else 0.0
    return values.mean() + kept * (values - values.mean()), kept


def _tail(excess: np.ndarray) -> Any:
    """-log of the survival function of excesses: their own distribution, then a fitted tail."""
    ordered = np.sort(excess)
    n = len(ordered)
    k = min(n - 1, max(round(TAIL_SHARE * n), 20))
    start = ordered[n - k - 1]
    fitted = _fit_tail(ordered[n - k :] - start)
    steps = -np.log((n - np.arange(n + 1) + 0.5) / (n + 1))

    def cumulative_hazard(x: np.ndarray) -> np.ndarray:
        known = np.maximum(steps[np.searchsorted(ordered, x, side="right")], 0.0)
        return np.where(x > start, np.log(n / k) + fitted(np.maximum(x - start, 0.0)), known)

    return cumulative_hazard


def _fit_tail(x: np.ndarray) -> Any:
    """Cumulative hazard of positive values by maximum likelihood.

    A hazard b + 2 c x that rises (c > 0: a tail like the Gaussian's) or stays (exponential); where it would fall, a
    Pareto tail. None has an end, so no truth is impossible. At the maximum b mean(x) + c mean(x^2) = 1, which leaves
    one number to find.
    """
    first, second = float(x.mean()), float((x**2).mean())
    if first <= 0:
        return lambda y: np.where(y > 0, MAX_SURPRISAL, 0.0)

    def falling(w: float) -> float:
        return -float(np.log((1 - w) / first + 2 * w / second * x).mean())

    w = float(minimize_scalar(falling, bounds=(0.0, 1 - 1e-6), method="bounded").x)
    if w > 1e-3:
        return lambda y: (1 - w) / first * y + w / second * y**2

    def pareto(log_theta: float) -> float:
        shape = float(np.log1p(np.exp(log_theta) * x).mean())
        return float(np.log(shape)) - log_theta + shape

    low = np.log(1e-4 / first)
    theta = float(np.exp(minimize_scalar(pareto, bounds=(low, low + 14), method="bounded").x))
    shape = float(np.log1p(theta * x).mean())
    return lambda y: np.log1p(theta * y) / shape


def _log_density(values: np.ndarray, k: int) -> np.ndarray:
    """Log density at each value from the distance to its k-th neighbour, shape (n,)."""
    n = len(values)
    k = min(k, n - 1)
    # Equal values know no distance; none counts as closer than half of 1 / n.
    radius = np.maximum(_distance_to_neighbour(values, k), 0.5 / n)
    return digamma(k) - digamma(n) - np.log(2 * radius)


def _distance_to_neighbour(values: np.ndarray, k: int) -> np.ndarray:
    """Distance of each value to its k-th nearest other one, shape (n,)."""
    order = np.argsort(values, kind="stable")
    ordered = np.pad(values[order], k, constant_values=np.nan)
    ordered[:k], ordered[len(ordered) - k :] = -np.inf, np.inf
    # The k nearest are k neighbours in order: j to the left and k - j to the right, whichever reaches least far.
    n = len(values)
    reach = np.full(n, np.inf)
    centre = ordered[k : k + n]
    for j in range(k + 1):
        left, right = ordered[k - j : k - j + n], ordered[2 * k - j : 2 * k - j + n]
        reach = np.minimum(reach, np.maximum(centre - left, right - centre))
    out = np.empty(n)
    out[order] = reach
    return out
