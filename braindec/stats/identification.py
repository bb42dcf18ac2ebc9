"""Two-way identification from a similarity matrix, with an interval that knows that pairs share items.

Each of n items enters 2 (n - 1) comparisons, so comparisons are far from independent: resampling pairs covers the true
value in 36 % instead of 95 % of simulated worlds (50 items, 0.73 correct). Items are what was sampled: with weights w
the pair (i, j) counts w_i w_j, and an item is never compared with itself. The standard error is how the statistic
spreads over such weights, in closed form (the infinitesimal jackknife) rather than by drawing them: drawing counts the
noise of single pairs three times (Owen 2007, doi:10.1214/07-AOAS122), which shows where few pairs are allowed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64, as_labels
from braindec.stats.intervals import Interval, log_odds_interval

RULES = ("two_way", "matched_sum")
CHANCE = 0.5


class Identification(NamedTuple):
    """Share of comparisons won in [0, 1], ties half; its interval; each item's own share; items (units) compared."""

    value: float
    interval: Interval
    per_item: np.ndarray
    n: int


def identify(
    similarity: ArrayLike,
    *,
    pairs: ArrayLike | None = None,
    units: Any | None = None,
    rule: str = "two_way",
    level: float = 0.95,
) -> Identification:
    """How often a prediction is closer to its own truth than to another one.

    Parameters
    ----------
    similarity : array, shape (n, n)
        Truths in rows, predictions in columns; item i's own pair on the diagonal. Larger is closer.
    pairs : bool array, shape (n, n), or None
        Which truths (rows) may be a prediction's (column's) distractors, e.g. `same_label` of the class or the fold;
        None: all others.
    units : sequence, length n, or None
        The stimulus of each item where stimuli repeat: they are resampled together and never compared with themselves.
    rule : str
        ``"two_way"``: S[i, j] < S[j, j]. ``"matched_sum"``: S[i, j] + S[j, i] < S[i, i] + S[j, j], the pairwise test
        of Mitchell et al. 2008, doi:10.1126/science.1152876.
    level : float
        In (0, 1).

    Returns
    -------
    Identification
        An item without distractors has NaN in `per_item` and counts nowhere. `n` counts units where they are given, as
        the interval does: rows of one stimulus are one.

    Raises
    ------
    ValueError
        If the matrix is not square or no pair is left.

    Notes
    -----
    The interval is t on the log-odds. Measured coverage over 2,000 worlds each, 20 to 100 items in 1 to 6 classes, 0.5
    to 0.93 correct: 94-97 %; resampling items and taking percentiles 90-94 %, taking their SD 94-98 %.
    """
    won, compared = comparisons(similarity, pairs, rule)
    if units is not None:
        apart = ~same_label(units)
        won, compared = won * apart, compared * apart
    with np.errstate(invalid="ignore"):
        per_item = won.sum(0) / compared.sum(0)
    if units is not None:
        won, compared = (_between_units(table, units) for table in (won, compared))
    n = int((compared.sum(0) > 0).sum())
    checks.at_least("number of pairs to compare", float(compared.sum()), 1)
    value = float(won.sum() / compared.sum())
    error = _weighted_error(won, compared, value)
    n_units = int(((compared.sum(0) + compared.sum(1)) > 0).sum())
    return Identification(value, log_odds_interval(value, error, n_units, level), per_item, n)


def comparisons(
    similarity: ArrayLike, pairs: ArrayLike | None = None, rule: str = "two_way"
) -> tuple[np.ndarray, np.ndarray]:
    """Points won (0, 0.5, 1) and whether compared (0, 1), for distractor truths in rows and predictions in columns.

    Parameters
    ----------
    similarity, pairs, rule
        See `identify`.

    Returns
    -------
    won, compared : float array, shape (n, n)
        Zero on the diagonal.
    """
    table = as_float64("similarity", similarity, ("truth", "prediction"))
    checks.same_length("item", truths=table, predictions=table.T)
    checks.one_of("rule", rule, RULES)
    own = np.diag(table)
    wrong, right = (
        (table, own[None, :]) if rule == "two_way" else (table + table.T, own[None, :] + own[:, None])
    )
    won = (wrong < right) + 0.5 * (wrong == right)
    compared = np.ones_like(table) if pairs is None else _as_mask(pairs, table.shape)
    compared = compared * (1 - np.eye(len(table)))
    return won * compared, compared


def same_label(labels: Any) -> np.ndarray:
    """Which items share a label: a bool array (n, n) for `pairs`, e.g. within class, or within the held-out fold."""
    member = as_labels("labels", labels, len(labels))
    return member[:, None] == member[None, :]


def _as_mask(pairs: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    mask = as_float64("pairs", pairs, ("truth", "prediction"))
    if mask.shape != shape:
        raise ValueError(f"pairs has shape {mask.shape} but similarity has {shape}; they must match.")
    return (mask != 0).astype(np.float64)


def _between_units(table: np.ndarray, units: Any) -> np.ndarray:
    """Sums over the items of two units (n_units, n_units)."""
    member = as_labels("units", units, len(table))
    summed = np.zeros((member.max() + 1, len(table)))
    np.add.at(summed, member, table)
    both = np.zeros((member.max() + 1, member.max() + 1))
    np.add.at(both, member, summed.T)
    return both.T


def _weighted_error(won: np.ndarray, compared: np.ndarray, value: float) -> float:
    """Standard error of sum w_i w_j won_ij / sum w_i w_j compared_ij when whole items are sampled."""
    residual = won - value * compared
    pull = (
        residual.sum(0) + residual.sum(1)
    ) / compared.sum()  # derivative with respect to each item's weight
    n = int((compared.any(0) | compared.any(1)).sum())
    return float(np.sqrt((pull**2).sum() * n / max(n - 1, 1)))
