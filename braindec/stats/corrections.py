"""p-values of many tests, corrected for their number."""

from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64


def fdr(p: ArrayLike, *, dependent: bool = False) -> np.ndarray:
    """p-values adjusted so that a limit on them bounds the expected share of false discoveries.

    Parameters
    ----------
    p : array, shape (k,)
        In [0, 1].
    dependent : bool
        False: Benjamini-Hochberg (independent or positively dependent tests). True: Benjamini-Yekutieli (any).

    Returns
    -------
    float array, shape (k,)
        In [0, 1].
    """
    values = _probabilities(p)
    return false_discovery_control(values, method="by" if dependent else "bh")


def holm(p: ArrayLike) -> np.ndarray:
    """p-values adjusted so that a limit on them bounds the chance of any false discovery, whatever the dependence.

    Parameters
    ----------
    p : array, shape (k,)
        In [0, 1].

    Returns
    -------
    float array, shape (k,)
        In [0, 1].

    Notes
    -----
    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    values = _probabilities(p)
    order = np.argsort(values)
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def _probabilities(p: ArrayLike) -> np.ndarray:
    values = as_float64("p", p, ("test",))
    checks.in_range("smallest p", float(values.min()), 0.0, 1.0)
    checks.in_range("largest p", float(values.max()), 0.0, 1.0)
    return values
