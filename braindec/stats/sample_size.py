"""How many subjects a study needs, from a few that are there: chances that hold though mean and spread are guessed.

A handful of subjects knows neither their mean nor their spread well. Taken for the truth, both promise too small a
study; here what they leave open is integrated over (mean and log SD without preference), so that the chance said is
the one that studies of this size have on average over such pilots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64

MOST = 10_000  # subjects; a study that needs more is none
STEPS = 80  # equally likely spreads, of the subjects at hand and of the study's


def power_above(values: ArrayLike, chance: float, n: int, level: float = 0.95) -> float:
    """Chance that the t interval over `n` new subjects lies above `chance`.

    Parameters
    ----------
    values : array, shape (n_subjects,)
        Scores of at least two subjects like the new ones.
    chance : float
        Score of a decoder that knows nothing.
    n : int
        Subjects of the study, >= 2.
    level : float
        Of its interval, in (0, 1).

    Returns
    -------
    float
        In [0, 1]; for many subjects the chance that the mean is above, as far as the values tell.
    """
    mean, spread, k = _moments(values)
    checks.at_least("n", n, 2)
    part = (np.arange(STEPS) + 0.5) / STEPS
    if spread == 0.0:
        return float(mean > chance)
    effect = (mean - chance) / spread * np.sqrt(stats.chi2.ppf(part, k - 1) / (k - 1))[:, None]
    found = np.sqrt(stats.chi2.ppf(part, n - 1) / (n - 1))
    reached = np.sqrt(n) * effect - stats.t.ppf((1 + level) / 2, n - 1) * found
    return float(stats.norm.cdf(reached / np.sqrt(1 + n / k)).mean())


def power_within(values: ArrayLike, half_width: float, n: int, level: float = 0.95) -> float:
    """Chance that the t interval over `n` new subjects reaches no further than `half_width` on either side.

    Parameters
    ----------
    values, n, level
        See `power_above`.
    half_width : float
        In the unit of the values, > 0.
    """
    _, spread, k = _moments(values)
    checks.at_least("n", n, 2)
    checks.in_range("half_width", half_width, 1e-9, np.inf)
    if spread == 0.0:
        return 1.0
    allowed = half_width * np.sqrt(n) / float(stats.t.ppf((1 + level) / 2, n - 1))
    return float(stats.f.cdf((allowed / spread) ** 2, n - 1, k - 1))


def mean_above(values: ArrayLike, chance: float) -> float:
    """Chance that the mean of all subjects like these lies above `chance`: what no larger study can exceed."""
    mean, spread, k = _moments(values)
    if spread == 0.0:
        return float(mean > chance)
    return float(stats.t.cdf((mean - chance) / spread * np.sqrt(k), k - 1))


def subjects_above(values: ArrayLike, chance: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Fewest new subjects whose interval lies above `chance` with chance `power`; None where no number is enough.

    That is where the values themselves do not say with that chance that the mean lies above.
    """
    if mean_above(values, chance) <= power:
        return None
    return _fewest(lambda n: power_above(values, chance, n, level), power)


def subjects_within(
    values: ArrayLike, half_width: float, power: float = 0.8, level: float = 0.95
) -> int | None:
    """Fewest new subjects whose interval is +- `half_width` or narrower with chance `power`; None above `MOST`."""
    return _fewest(lambda n: power_within(values, half_width, n, level), power)


def assumed_above(effect: float, spread: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Fewest subjects where mean over chance and SD between subjects are not estimated but assumed.

    Parameters
    ----------
    effect : float
        Mean less chance.
    spread : float
        SD of subjects' scores, > 0, same unit.
    """
    checks.in_range("spread", spread, 1e-9, np.inf)
    found_part = (np.arange(STEPS) + 0.5) / STEPS

    def reached(n: int) -> float:
        found = np.sqrt(stats.chi2.ppf(found_part, n - 1) / (n - 1))
        limit = stats.t.ppf((1 + level) / 2, n - 1) * found
        return float(stats.norm.cdf(np.sqrt(n) * effect / spread - limit).mean())

    return _fewest(reached, power) if effect > 0 else None


def assumed_within(spread: float, half_width: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Fewest subjects for an interval of +- `half_width` where the SD between subjects is assumed."""
    checks.in_range("spread", spread, 1e-9, np.inf)
    checks.in_range("half_width", half_width, 1e-9, np.inf)

    def reached(n: int) -> float:
        allowed = half_width * np.sqrt(n) / float(stats.t.ppf((1 + level) / 2, n - 1))
        return float(stats.chi2.cdf((n - 1) * (allowed / spread) ** 2, n - 1))

    return _fewest(reached, power)


def _moments(values: ArrayLike) -> tuple[float, float, int]:
    array = as_float64("values", values, ("subject",))
    checks.at_least("number of subjects", len(array), 2)
    return float(array.mean()), float(array.std(ddof=1)), len(array)


def _fewest(chance_of: Callable[[int], float], power: float) -> int | None:
    """Smallest n >= 2 whose chance reaches `power`; chances rise with n."""
    checks.in_range("power", power, 0.5, 0.99)
    low, high = 1, 2
    while chance_of(high) < power:
        if high >= MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if chance_of(middle) >= power else (middle, high)
    return high
