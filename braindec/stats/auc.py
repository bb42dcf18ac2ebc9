"""Area under the ROC curve with ties and an interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64, as_labels
from braindec.stats.intervals import Interval, log_odds_interval

CHANCE = 0.5


class Auc(NamedTuple):
    """Area in [0, 1], its interval, standard error, and the number of independent units behind it."""

    value: float
    interval: Interval
    error: float
    n: int


def roc_auc(scores: ArrayLike, positive: ArrayLike, *, units: Any | None = None, level: float = 0.95) -> Auc:
    """Chance that a positive trial scores higher than a negative one, ties half.

    Parameters
    ----------
    scores : array, shape (n,)
        Larger means more likely positive; any unit.
    positive : bool array, shape (n,)
        Both classes must occur.
    units : sequence, length n, or None
        What was sampled independently (run, stimulus) where trials are not; None: each trial.
    level : float
        In (0, 1).

    Returns
    -------
    Auc
        The standard error is DeLong's; with units the same components are summed within each. The interval is t on the
        log-odds, inside [0, 1].

    Raises
    ------
    ValueError
        If a class has fewer than two trials, or there is only one unit.

    Notes
    -----
    DeLong et al. 1988, doi:10.2307/2531595; clusters: Obuchowski 1997, doi:10.2307/2533958.
    """
    values = as_float64("scores", scores, ("trial",))
    is_positive = as_float64("positive", positive, ("trial",)) != 0
    n_positive = int(is_positive.sum())
    checks.same_length("trial", scores=values, positive=is_positive)
    checks.at_least("number of positive trials", n_positive, 2)
    checks.at_least("number of negative trials", len(values) - n_positive, 2)
    area, influence = _area_and_influence(values, is_positive)
    if units is None:
        n = len(values)
        sizes = np.where(is_positive, n_positive, n - n_positive)
        error = float(np.sqrt((influence**2 * sizes / (sizes - 1)).sum()))
    else:
        summed = np.bincount(as_labels("units", units, len(values)), weights=influence)
        n = len(summed)
        checks.at_least("number of independent units", n, 2)
        error = float(np.sqrt(n / (n - 1) * (summed**2).sum()))
    return Auc(area, log_odds_interval(area, error, n, level), error, n)


def _area_and_influence(values: np.ndarray, positive: np.ndarray) -> tuple[float, np.ndarray]:
    """The area and what each trial adds to it (n,), from ranks: no (positive, negative) table is formed."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    rank = rankdata(values)
    share = np.empty(len(values))
    # Of all trials below a positive one, those of its own class are no opponents.
    share[positive] = (rank[positive] - rankdata(values[positive])) / n_negative
    share[~positive] = 1 - (rank[~positive] - rankdata(values[~positive])) / n_positive
    area = float(share[positive].mean())
    return area, (share - area) / np.where(positive, n_positive, n_negative)
