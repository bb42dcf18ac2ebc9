"""Difference of two systems on the same queries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64
from braindec.stats.intervals import Interval, mean_interval, t_interval, unit_totals
from braindec.stats.permutation import p_value

EXACT_UNITS = 14  # up to 2^14 sign patterns are enumerated


class PairedDifference(NamedTuple):
    """Mean of a - b, its interval, two-sided p of the sign-flip test, and the number of independent units."""

    value: float
    interval: Interval
    p: float
    n: int


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    generator: np.random.Generator,
    *,
    units: Any | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> PairedDifference:
    """How much better `a` is than `b`, on the same queries in the same order.

    Parameters
    ----------
    a, b : array, shape (n,)
        Per-query values of the two systems.
    generator : numpy Generator
        Resamples queries and flips signs.
    units : sequence, length n, or None
        What was sampled independently (the stimulus where it repeats); None: each query.
    n_resamples : int
        Bootstrap samples and sign patterns.
    level : float
        In (0, 1).

    Returns
    -------
    PairedDifference
        For hits and misses the interval is Agresti and Min's, which stays honest when the systems hardly ever disagree;
        else the studentised bootstrap over the same queries for both. An interval around zero is a result: the systems
        may differ by no more than its limits.

    Raises
    ------
    ValueError
        If lengths differ or there are fewer than two units.

    Notes
    -----
    Agresti & Min 2005, doi:10.1002/sim.1781.
    """
    first, second = as_float64("a", a, ("query",)), as_float64("b", b, ("query",))
    checks.same_length("query", a=first, b=second)
    difference = first - second
    sums = unit_totals(difference, units)[0]
    checks.at_least("number of independent units", len(sums), 2)
    hits = units is None and bool(np.isin(np.r_[first, second], (0.0, 1.0)).all())
    if hits:
        interval = _agresti_min(difference, level)
    else:
        interval = mean_interval(difference, generator, units=units, n_resamples=n_resamples, level=level)
    return PairedDifference(
        float(difference.mean()), interval, sign_flip_p(sums, generator, n_resamples), len(sums)
    )


def sign_flip_p(differences: ArrayLike, generator: np.random.Generator, n_resamples: int = 2000) -> float:
    """Two-sided p of a mean difference whose sign is arbitrary under the null.

    Parameters
    ----------
    differences : array, shape (n_units,)
        Differences, summed within units.
    generator : numpy Generator
    n_resamples : int
        Random sign patterns; up to 14 nonzero units all patterns are enumerated instead.

    Returns
    -------
    float
        In (0, 1].
    """
    values = as_float64("differences", differences)
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    exact = len(values) <= EXACT_UNITS
    if exact:
        patterns = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
    else:
        checks.at_least("n_resamples", n_resamples, 1)
        patterns = generator.integers(0, 2, (n_resamples, len(values)))
    flipped = np.abs((2.0 * patterns - 1) @ values)
    observed = float(np.abs(values.sum())) * (1 - 1e-12)  # the same sum in another order rounds differently
    # The enumeration holds the observed pattern; random patterns need it added.
    return float((flipped >= observed).mean()) if exact else p_value(observed, flipped)


def _agresti_min(difference: np.ndarray, level: float) -> Interval:
    """Wald interval of paired hits after half an observation is added to each of the four outcomes."""
    n = len(difference) + 2
    better, worse = (difference > 0).sum() + 0.5, (difference < 0).sum() + 0.5
    centre = float((better - worse) / n)
    error = float(np.sqrt((better + worse) - (better - worse) ** 2 / n) / n)
    wide = t_interval(centre, error, n, level)
    value = float(difference.mean())
    low, high = min(max(wide.low, -1.0), value), max(min(wide.high, 1.0), value)
    return Interval(low, high, level, "agresti_min")
