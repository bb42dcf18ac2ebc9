"""Sets and claims that hold as often as they say, whatever the model behind them: conformal inference.

All of it asks one thing of the data: that calibration and test cases could trade places (exchangeability). The model
that made the scores must have seen neither.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64


class Selected(NamedTuple):
    """Which claims are made (bool), and the p-value of each one being wrong; both of shape (m,)."""

    chosen: np.ndarray
    p: np.ndarray


def p_values(calibration: ArrayLike, scores: ArrayLike, generator: np.random.Generator) -> np.ndarray:
    """Chance of a case as strange as each score, if it were one more calibration case.

    Parameters
    ----------
    calibration : array, shape (n,)
        Strangeness of the true values of calibration cases; larger is stranger.
    scores : array, shape (m, k)
        Strangeness of k candidate values for each of m test cases.
    generator : numpy Generator
        Breaks ties at random, once for each test case: p-values of true values are then exactly uniform.

    Returns
    -------
    float array, shape (m, k)
        In (0, 1).

    Notes
    -----
    Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World", smoothed conformal predictors.
    """
    known = np.sort(as_float64("calibration", calibration, ("case",)))
    asked = as_float64("scores", scores, ("case", "value"))
    above = len(known) - np.searchsorted(known, asked, side="right")
    ties = len(known) - above - np.searchsorted(known, asked, side="left")
    share = generator.uniform(size=(len(asked), 1))
    return (above + share * (ties + 1)) / (len(known) + 1)


def limit(calibration: ArrayLike, level: float) -> float:
    """Strangeness that a share `level` of cases like the calibration's stay at or below; infinite where n is too small.

    Parameters
    ----------
    calibration : array, shape (n,)
    level : float
        In [0.5, 0.9999].

    Returns
    -------
    float
        The ceil((n + 1) level)-th smallest: a new case stays at or below it with a probability between `level` and
        `level` + 1 / (n + 1) (no ties).
    """
    known = np.sort(as_float64("calibration", calibration, ("case",)))
    place = int(np.ceil((len(known) + 1) * checks.in_range("level", level, 0.5, 0.9999) - 1e-9))
    return float(known[place - 1]) if place <= len(known) else float("inf")


def jackknife_plus(centres: ArrayLike, residuals: ArrayLike, level: float) -> np.ndarray:
    """Intervals from models that each left out a training case, for data too few to set some aside.

    Parameters
    ----------
    centres : array, shape (n, m)
        What the model that left out training case i predicts for each of m test cases.
    residuals : array, shape (n,)
        How far that model is from the case that it left out, >= 0.
    level : float
        In [0.5, 0.9999].

    Returns
    -------
    float array, shape (m, 2)
        Low and high, infinite where n is too small. They cover at least 2 `level` - 1 whatever the data, and in
        practice about `level`.

    Notes
    -----
    Barber, Candes, Ramdas & Tibshirani 2021, doi:10.1214/20-AOS1965.
    """
    middle = as_float64("centres", centres, ("training case", "case"))
    left = as_float64("residuals", residuals, ("training case",))
    n = checks.same_length("training case", centres=middle, residuals=left)
    place = int(np.ceil((n + 1) * checks.in_range("level", level, 0.5, 0.9999) - 1e-9))
    if place > n:
        return np.tile([-np.inf, np.inf], (middle.shape[1], 1))
    low = np.sort(middle - left[:, None], axis=0)[n - place]
    high = np.sort(middle + left[:, None], axis=0)[place - 1]
    return np.stack([low, high], axis=1)


def select(
    calibration: ArrayLike, wrong: np.ndarray, confidence: ArrayLike, false_discovery_rate: float
) -> Selected:
    """Which claims to make so that, on average, at most a share of those made is wrong.

    Parameters
    ----------
    calibration : array, shape (n,)
        Confidence in the same kind of claim for calibration cases; -inf where it would not be made at all.
    wrong : bool array, shape (n,)
        Whether it is wrong there.
    confidence : array, shape (m,)
        Confidence in the claim for test cases.
    false_discovery_rate : float
        In (0, 1): bounds the expected share of wrong claims among those made, for all m together.

    Returns
    -------
    Selected

    Notes
    -----
    Jin & Candes 2023, "Selection by prediction with conformal p-values", arXiv:2210.01408.
    """
    checks.in_range("false_discovery_rate", false_discovery_rate, 1e-6, 0.999999)
    known, asked = np.asarray(calibration, np.float64), np.asarray(confidence, np.float64)
    checks.same_length("case", calibration=known, wrong=wrong)
    mistaken = np.sort(known[np.asarray(wrong, bool)])
    at_least = len(mistaken) - np.searchsorted(mistaken, asked, side="left")
    p = np.where(np.isneginf(asked), 1.0, (1 + at_least) / (len(known) + 1))
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= false_discovery_rate * np.arange(1, len(p) + 1) / max(len(p), 1))
    chosen = np.zeros(len(p), dtype=bool)
    if len(passed):
        chosen[order[: passed[-1] + 1]] = True
    return Selected(chosen, p)
