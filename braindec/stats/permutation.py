"""Permutation nulls: which pairings are exchangeable, p-values that count the observed one, and families of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from braindec import checks
from braindec.stats.arrays import ArrayLike, as_float64, as_labels

ALTERNATIVES = ("greater", "less", "two-sided")
ROUNDING = 1e-10  # of the largest value: one pairing of equal value, summed in another order, is a tie


def permute_within_blocks(
    blocks: Any, generator: np.random.Generator, *, units: Any | None = None
) -> np.ndarray:
    """A random reordering of trials that only exchanges what is exchangeable under the null.

    Give trial ``i`` the stimulus of trial ``order[i]`` in training, refit everything, and score as before.

    Parameters
    ----------
    blocks : sequence, length n
        Exchangeability block of each trial (run, session, half): trials never leave theirs.
    generator : numpy Generator
    units : sequence, length n, or None
        Stimulus of each trial where stimuli repeat: all trials of a stimulus then receive the same other stimulus, so
        repeats stay repeats. Only stimuli shown equally often in the same blocks trade places. None: every trial is its
        own unit.

    Returns
    -------
    int array, shape (n,)
        A permutation of 0..n-1.

    Raises
    ------
    ValueError
        If no two units can trade places: the null would be the observed data.
    """
    members = _exchangeable_members(blocks, units)
    if all(len(rows) < 2 for rows in members):
        raise ValueError(
            "blocks leave no two units to exchange: every unit is alone in its pattern of blocks. "
            "Use larger blocks (a session instead of a run) or fewer units."
        )
    order = np.empty(sum(rows.size for rows in members), dtype=np.int64)
    for rows in members:
        order[rows] = rows[generator.permutation(len(rows))]
    return order


def n_pairings(blocks: Any, units: Any | None = None) -> float:
    """How many different pairings `permute_within_blocks` can draw (inf above 1e308); 1 / this is the smallest p."""
    from scipy.special import gammaln

    log = sum(float(gammaln(len(rows) + 1)) for rows in _exchangeable_members(blocks, units))
    return float(np.exp(log)) if log < 709 else float("inf")


def null_distribution(
    statistic: Callable[[np.ndarray], float],
    blocks: Any,
    n_permutations: int,
    generator: np.random.Generator,
    *,
    units: Any | None = None,
) -> np.ndarray:
    """The statistic under random exchangeable pairings.

    Parameters
    ----------
    statistic : callable
        Takes an order (n,) of trials from `permute_within_blocks`; refits, selects and scores; returns a number.
    blocks, generator, units
        See `permute_within_blocks`.
    n_permutations : int
        >= 1.

    Returns
    -------
    float array, shape (n_permutations,)
    """
    checks.at_least("n_permutations", n_permutations, 1)
    orders = (permute_within_blocks(blocks, generator, units=units) for _ in range(n_permutations))
    return np.array([float(statistic(order)) for order in orders])


def p_value(observed: float, null: ArrayLike, alternative: str = "greater") -> float:
    """Chance under the null of a statistic at least as extreme as the observed one.

    Parameters
    ----------
    observed : float
    null : array, shape (n_permutations,)
        The statistic under permuted pairings.
    alternative : str
        ``"greater"``, ``"less"`` or ``"two-sided"`` (twice the smaller one, at most 1).

    Returns
    -------
    float
        (c + 1) / (N + 1), in (0, 1]: the observed pairing is one of the possible ones. Ties count against it, values
        that differ by rounding (`ROUNDING`) among them.

    Raises
    ------
    ValueError
        If a value is not finite.

    Notes
    -----
    Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    checks.one_of("alternative", alternative, ALTERNATIVES)
    values = as_float64("null", null, ("permutation",))
    own = float(as_float64("observed", [observed])[0])
    margin = ROUNDING * max(abs(own), float(np.abs(values).max()))
    greater = (float((values >= own - margin).sum()) + 1) / (values.size + 1)
    less = (float((values <= own + margin).sum()) + 1) / (values.size + 1)
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


def max_statistic_p(observed: ArrayLike, null: ArrayLike, *, standardised: bool = False) -> np.ndarray:
    """p of every member of a family (times, voxels), corrected by the maximum over the family.

    Parameters
    ----------
    observed : array, shape (k,)
        Larger is more extreme.
    null : array, shape (n_permutations, k)
        The whole family under each permuted pairing; keep members that cannot have an effect (a baseline) in it.
    standardised : bool
        Subtract each member's null mean and divide by its null SD first, so that noisy members do not set the limit for
        all. Observed and null values are standardised together, which keeps the test exact.

    Returns
    -------
    float array, shape (k,)
        (c + 1) / (N + 1) with c the permutations whose largest member reaches the observed value, up to rounding.

    Notes
    -----
    Nichols & Holmes 2002, doi:10.1002/hbm.1058.
    """
    values = as_float64("observed", observed, ("member",))
    table = as_float64("null", null, ("permutation", "member"))
    checks.same_length("member", observed=values, null=table.T)
    if standardised:
        everything = np.vstack([values, table])
        spread = everything.std(0)
        scaled = (everything - everything.mean(0)) / np.where(spread > 0, spread, 1.0)
        values, table = scaled[0], scaled[1:]
    largest = np.sort(table.max(1))
    margin = ROUNDING * max(float(np.abs(values).max()), float(np.abs(largest).max()))
    reached = len(largest) - np.searchsorted(largest, values - margin, side="left")
    return (reached + 1) / (len(largest) + 1)


def _exchangeable_members(blocks: Any, units: Any | None) -> list[np.ndarray]:
    """Row numbers (n_units, n_rows_per_unit) of each set of units that may trade places."""
    n = len(blocks)
    block = as_labels("blocks", blocks, n)
    unit = np.arange(n) if units is None else as_labels("units", units, n)
    by_unit = np.lexsort((np.arange(n), block, unit))  # rows of a unit together, in the order of their blocks
    starts = np.flatnonzero(np.r_[True, unit[by_unit][1:] != unit[by_unit][:-1]])
    alike: dict[tuple[int, ...], list[np.ndarray]] = {}
    for rows in np.split(by_unit, starts[1:]):
        alike.setdefault(tuple(block[rows].tolist()), []).append(rows)
    return [np.stack(rows) for rows in alike.values()]
