"""Intervals for means, proportions and a handful of subjects, each chosen because it covers what it promises.

Measured on 1,000 to 1,500 simulated worlds per case (12 to 200 units; hits, clustered hits, skewed and normal values):
the percentile bootstrap covers 87-95 % and, with rare misses, 43 %; the intervals below cover 93-98 %.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64, as_labels

EDGE = 1e-12  # far below one lost pair of 10,000 x 10,000
WEIGHTS_AT_ONCE = 2**23  # of units in resamples: 64 MiB
FEW_UNITS = 8  # below this a bootstrap resamples too few values to know their spread


class Interval(NamedTuple):
    """Limits low <= high that cover the true value in a share `level` of repetitions, and how they were found."""

    low: float
    high: float
    level: float
    method: str


class SubjectSummary(NamedTuple):
    """Every subject's value, their mean and its interval; print `values`, not the mean alone, below 8 subjects."""

    values: tuple[float, ...]
    mean: float
    interval: Interval


def wilson(n_hits: float, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion of independent hits.

    Parameters
    ----------
    n_hits : float
        In [0, n].
    n : int
        Number of queries, >= 1.
    level : float
        In (0, 1).

    Notes
    -----
    Wilson 1927, doi:10.1080/01621459.1927.10502953. Mean coverage is the nominal one; for a given proportion it
    can be a few percent off either way (`clopper_pearson` never covers less).
    """
    checks.at_least("n", n, 1)
    checks.in_range("n_hits", n_hits, 0, n)
    z2 = _normal_quantile(level) ** 2
    share = n_hits / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # At no or only hits one limit is exactly the edge; rounding must not move it past the value.
    low = 0.0 if n_hits == 0 else max(0.0, float(centre - half))
    high = 1.0 if n_hits == n else min(1.0, float(centre + half))
    return Interval(low, high, level, "wilson")


def clopper_pearson(n_hits: int, n: int, level: float = 0.95) -> Interval:
    """Exact interval of a proportion of independent hits: covers at least `level` for every proportion.

    Parameters
    ----------
    n_hits, n : int
        0 <= n_hits <= n, n >= 1.
    level : float
        In (0, 1).

    Notes
    -----
    Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    checks.at_least("n", n, 1)
    checks.in_range("n_hits", n_hits, 0, n)
    tail = (1 - _level(level)) / 2
    low = float(stats.beta.ppf(tail, n_hits, n - n_hits + 1)) if n_hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, n_hits + 1, n - n_hits)) if n_hits < n else 1.0
    return Interval(low, high, level, "clopper_pearson")


def proportion_interval(values: ArrayLike, *, units: Any | None = None, level: float = 0.95) -> Interval:
    """Interval of the mean of values in [0, 1], over queries with the gallery held fixed.

    Parameters
    ----------
    values : array, shape (n,)
        0 or 1 for a miss or hit; fractions for ties.
    units : sequence, length n, or None
        What was sampled independently (the stimulus, where it was shown several times); None: each value.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        Wilson's for independent hits; else a t-interval on the log-odds from the spread between units, which stays
        inside [0, 1].

    Raises
    ------
    ValueError
        If a value lies outside [0, 1] or there is only one unit of fractions.
    """
    hits = as_float64("values", values, ("query",))
    checks.in_range("smallest of values", float(hits.min()), 0.0, 1.0)
    checks.in_range("largest of values", float(hits.max()), 0.0, 1.0)
    if units is None and bool(np.isin(hits, (0.0, 1.0)).all()):
        return wilson(float(hits.sum()), len(hits), level)
    sums, counts = unit_totals(hits, units)
    share, error = ratio_and_error(sums, counts)
    return log_odds_interval(share, error, len(sums), level)


def mean_interval(
    values: ArrayLike,
    generator: np.random.Generator,
    *,
    units: Any | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Interval of the mean of unbounded values: units are resampled, the gallery and the model stay fixed.

    Parameters
    ----------
    values : array, shape (n,)
        One value per query, any unit.
    generator : numpy Generator
    units : sequence, length n, or None
        See `proportion_interval`.
    n_resamples : int
        Bootstrap samples.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        Studentised bootstrap, which follows skew; a t-interval below 8 units.

    Raises
    ------
    ValueError
        If there are fewer than two units.

    Notes
    -----
    Hall 1988, doi:10.1214/aos/1176350933.
    """
    sums, counts = unit_totals(as_float64("values", values, ("query",)), units)
    centre, error = ratio_and_error(sums, counts)
    if len(sums) < FEW_UNITS or error == 0.0:
        return t_interval(centre, error, len(sums), level)
    checks.at_least("n_resamples", n_resamples, 100)
    step = max(1, WEIGHTS_AT_ONCE // len(sums))
    sizes = [min(step, n_resamples - start) for start in range(0, n_resamples, step)]
    drawn = (_resampling_weights(len(sums), size, generator) for size in sizes)
    pulls = np.concatenate([_studentised(sums, counts, centre, error, weights) for weights in drawn])
    low, high = np.quantile(pulls, [(1 - _level(level)) / 2, (1 + level) / 2], method="weibull")
    return Interval(float(centre - high * error), float(centre - low * error), level, "bootstrap_t")


def subject_interval(values: ArrayLike, level: float = 0.95) -> SubjectSummary:
    """Mean over subjects with a t-interval, and every subject's value.

    Parameters
    ----------
    values : array, shape (n_subjects,)
        At least two. A single subject has an interval over its queries only, and says nothing of others.
    level : float
        In (0, 1).

    Raises
    ------
    ValueError
        If there is one subject.
    """
    array = as_float64("values", values, ("subject",))
    mean, error = ratio_and_error(array, np.ones_like(array))
    return SubjectSummary(tuple(array.tolist()), mean, t_interval(mean, error, len(array), level))


def t_interval(centre: float, error: float, n: int, level: float = 0.95) -> Interval:
    """centre +- t(n - 1) * standard error, from `n` >= 2 independent units."""
    half = _t_quantile(level, n) * error
    return Interval(centre - half, centre + half, level, "t")


def log_odds_interval(share: float, error: float, n: int, level: float = 0.95) -> Interval:
    """t-interval on the log-odds of a share in [0, 1] with a standard error from `n` >= 2 units.

    A share at an edge (`at_edge`), or one without spread, has no error to learn from: then as sure as `n` independent
    hits and misses allow (Wilson), which never claims too much.
    """
    if at_edge(share) or error <= 0.0:
        hits = float(round(share) * n) if at_edge(share) else share * n
        return wilson(hits, n, level)
    half = _t_quantile(level, n) * error / (share * (1 - share))
    against = np.log((1 - share) / share)
    limits = [1 / (1 + np.exp(np.clip(against + shift, -700.0, 700.0))) for shift in (half, -half)]
    return Interval(float(limits[0]), float(limits[1]), level, "log_odds_t")


def at_edge(share: float) -> bool:
    """Whether a share is 0 or 1 but for the rounding of a sum."""
    return min(share, 1.0 - share) < EDGE


def unit_totals(values: np.ndarray, units: Any | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each unit, each of shape (n_units,)."""
    if units is None:
        return values, np.ones_like(values)
    member = as_labels("units", units, len(values))
    return np.bincount(member, weights=values), np.bincount(member).astype(np.float64)


def ratio_and_error(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Mean over all values and its standard error from the spread between at least two units."""
    n = len(sums)
    checks.at_least("number of independent units", n, 2)
    centre = float(sums.sum() / counts.sum())
    residual = sums - centre * counts
    spread = float(np.sqrt(n / (n - 1) * (residual**2).sum()) / counts.sum())
    # Rounding of equal values is no spread.
    return centre, spread if spread > 1e-14 * float(np.abs(sums).max()) else 0.0


def _resampling_weights(n: int, n_resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `n` units is drawn in each of the resamples of size `n`: float array (n_resamples, n)."""
    return generator.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)


def _studentised(
    sums: np.ndarray, counts: np.ndarray, centre: float, error: float, weights: np.ndarray
) -> np.ndarray:
    n = len(sums)
    totals = weights @ counts
    away = sums - centre * counts  # squares of values far from zero would lose what they differ by
    means = weights @ away / totals
    # sum_u w_u (s_u - m c_u)^2, expanded so that no (n_resamples, n) array besides the weights is needed
    residual = weights @ away**2 - 2 * means * (weights @ (away * counts)) + means**2 * (weights @ counts**2)
    errors = np.sqrt(np.maximum(residual, 0.0) * n / (n - 1)) / totals
    # A resample of almost one value only has no spread of its own; its quotient says nothing.
    usable = errors > 0.1 * error
    return means[usable] / errors[usable]


def _level(level: float) -> float:
    return checks.in_range("level", level, 0.5, 0.9999)


def _normal_quantile(level: float) -> float:
    return float(stats.norm.ppf((1 + _level(level)) / 2))


def _t_quantile(level: float, n: int) -> float:
    checks.at_least("number of independent units", n, 2)
    return float(stats.t.ppf((1 + _level(level)) / 2, n - 1))
