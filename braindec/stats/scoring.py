"""Per-sample values as one number with everything it needs to be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64
from braindec.stats.intervals import Interval, mean_interval, proportion_interval, unit_totals
from braindec.stats.permutation import p_value

KINDS = ("proportion", "mean")
DIRECTIONS = ("higher", "lower")


@dataclass(frozen=True, eq=False)
class Summary:
    """A mean over samples, beside its chance.

    Parameters
    ----------
    value : float
        Mean over all samples.
    interval : Interval
        Over independent units, the gallery and the fitted model held fixed.
    chance : float
        Theoretical chance.
    n : int
        Number of independent units.
    n_samples : int
        Number of samples averaged.
    null_mean : float or None
        Mean of the refitted null; the chance to show where folds or ties bias the theoretical one.
    p : float or None
        (c + 1) / (N + 1) of the refitted null.
    n_null : int
        Number of refits.
    """

    value: float
    interval: Interval
    chance: float
    n: int
    n_samples: int
    null_mean: float | None = None
    p: float | None = None
    n_null: int = 0


def summarise(
    per_sample: ArrayLike,
    chance: float,
    *,
    generator: np.random.Generator,
    null_values: ArrayLike | None = None,
    kind: str = "proportion",
    units: Any | None = None,
    direction: str = "higher",
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Summary:
    """Value, interval, n and p of per-sample values.

    Parameters
    ----------
    per_sample : array, shape (n,)
        One value per query.
    chance : float
        Theoretical chance.
    generator : numpy Generator
        Resamples units where no closed form covers better.
    null_values : array, shape (n_permutations,), or None
        The value after refits under permuted pairings.
    kind : str
        ``"proportion"`` for values in [0, 1] whose mean is a rate, ``"mean"`` for any other number.
    units : sequence, length n, or None
        What was sampled independently (the stimulus where it repeats); None: each sample.
    direction : str
        ``"higher"`` or ``"lower"`` is better; p counts null values at least as good.
    n_resamples : int
        Bootstrap samples.
    level : float
        In (0, 1).

    Returns
    -------
    Summary
    """
    checks.one_of("kind", kind, KINDS)
    checks.one_of("direction", direction, DIRECTIONS)
    values = as_float64("per_sample", per_sample, ("query",))
    if kind == "proportion":
        interval = proportion_interval(values, units=units, level=level)
    else:
        interval = mean_interval(values, generator, units=units, n_resamples=n_resamples, level=level)
    value, n = float(values.mean()), len(unit_totals(values, units)[0])
    if null_values is None:
        return Summary(value, interval, chance, n, len(values))
    null = as_float64("null_values", null_values, ("permutation",))
    p = p_value(value, null, "greater" if direction == "higher" else "less")
    return Summary(value, interval, chance, n, len(values), float(null.mean()), p, len(null))
