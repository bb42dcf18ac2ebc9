"""Comparisons won in two-way identification, counted tile by tile so that no matrix of all pairs is ever held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import is_constant
from braindec.stats.intervals import Interval, log_odds_interval, wilson

TILE = 2048  # items a side: 16 MiB of float32
DEPTH = 4096  # dims multiplied at once: 64 MiB of float64 a side of a tile
# Correlations of unit vectors are off by a few units in the last place. What float32 cannot tell apart is multiplied
# again in float64; what float64 cannot tell apart either counts as equal.
CLOSE = 32 * torch.finfo(torch.float32).eps
TIE = 64 * torch.finfo(torch.float64).eps


class Moments(NamedTuple):
    """Mean and norm about the mean of every item, float64, shape (n_items, 1); the norm of a constant item is inf."""

    mean: Tensor
    norm: Tensor


class Counts(NamedTuple):
    """Float64, shape (n_items,): comparisons won by each prediction, lost to each distractor's side, and made."""

    won: Tensor
    won_against: Tensor
    made: Tensor


def count_wins(
    predicted: Tensor, target: Tensor, member: Tensor | None = None, unit: Tensor | None = None
) -> Counts:
    """How many distractors each prediction beats, and by how many predictions each distractor is beaten.

    Parameters
    ----------
    predicted, target : Tensor, shape (n_items, n_dims)
        Any real dtype; row i of one belongs to row i of the other.
    member : integer Tensor, shape (n_items,), optional
        Only items of the same number are compared.
    unit : integer Tensor, shape (n_items,), optional
        Only items of different numbers are compared (trials of one stimulus are no distractors of each other).

    Returns
    -------
    Counts
        Ties count half.
    """
    n = len(predicted)
    pair = _Pair(predicted, target, moments(predicted), moments(target))
    won, against, made = (torch.zeros(n, dtype=torch.float64, device=predicted.device) for _ in range(3))
    for rows in _blocks(n, TILE):
        own = pair.own(torch.arange(rows.start, rows.stop, device=predicted.device))
        for columns in _blocks(n, TILE):
            wins = _wins(pair, own, rows, columns)
            allowed = _allowed(rows, columns, member, unit, n, predicted.device)
            if allowed is not None:
                wins.mul_(allowed)
            made[rows] += wins.shape[1] if allowed is None else allowed.sum(1, dtype=torch.float64)
            won[rows] += wins.sum(1, dtype=torch.float64)
            against[columns] += wins.sum(0, dtype=torch.float64)
    return Counts(won, against, made)


def share_and_interval(
    counts: Counts, unit: np.ndarray | None, level: float = 0.95
) -> tuple[float, Interval, int]:
    """Share of comparisons won, its interval when whole items are resampled, and the number of independent units.

    Notes
    -----
    The closed form of `stats.identification.identify` (weights w_i w_j, no self pairs), from sums of rows and columns.
    """
    won, against, made = (x.cpu().numpy() for x in counts)
    total = float(made.sum())
    checks.at_least("number of pairs to compare", total, 1)
    value = float(won.sum() / total)
    # Which pairs are compared is symmetric: an item is a distractor as often as it has distractors.
    pull = (won + against - 2 * value * made) / total
    of = np.arange(len(pull)) if unit is None else unit
    pull, used = np.bincount(of, weights=pull), np.bincount(of, weights=made) > 0
    n = int(used.sum())
    error = float(np.sqrt((pull**2).sum() * n / max(n - 1, 1)))
    if error == 0.0:  # only perfect or only lost comparisons
        return value, wilson(value * n, n, level), n
    return value, log_odds_interval(value, error, n, level), n


def mismatched_share(counts: Counts) -> float:
    """Share of comparisons that the same predictions win, averaged over every wrong truth they could be held against.

    Notes
    -----
    Exact, without drawing: of m candidates a prediction ranks one another against m - 1 others, so over all m truths it
    wins m (m - 1) / 2 comparisons; what is left after its own truth's wins is shared by the m - 1 wrong ones.
    """
    won, _, made = (x.cpu().numpy() for x in counts)
    wrong = made * (made + 1) / 2 - won  # wins summed over the wrong truths
    return float(wrong.sum() / (made * made).sum())


def correlation_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of every row of one set with every row of the other, float64 (n_first, n_second).

    Float64 copies are made of a few dims at a time, so that wide layers of networks cost no more memory than they have.
    A constant row has correlation 0 with everything.
    """
    pair = _Pair(first, second, moments(first), moments(second))
    return pair.tile(slice(0, len(first)), slice(0, len(second)), torch.float64)


def moments(x: Tensor) -> Moments:
    """Mean and norm of every row, a few rows at a time."""
    means, norms = [], []
    for rows in _blocks(len(x), max(1, TILE * DEPTH // x.shape[1])):
        part = x[rows].double()
        mean = part.mean(1, keepdim=True)
        norm = (part - mean).norm(dim=1, keepdim=True)
        constant = is_constant(x[rows] if x.is_floating_point() else part, norm, 1)
        means.append(mean)
        norms.append(norm.masked_fill(constant, torch.inf))
    return Moments(torch.cat(means), torch.cat(norms))


class _Pair(NamedTuple):
    """Predictions and truths with their moments."""

    predicted: Tensor
    target: Tensor
    of_predicted: Moments
    of_target: Moments

    def tile(self, rows: slice, columns: slice, dtype: torch.dtype) -> Tensor:
        """Correlations of some predictions with some truths, (n_rows, n_columns)."""
        found = torch.zeros(
            rows.stop - rows.start, columns.stop - columns.start, dtype=dtype, device=self.predicted.device
        )
        for dims in _blocks(self.predicted.shape[1], DEPTH):
            first = _unit(self.predicted[rows, dims], self.of_predicted, rows).to(dtype)
            found.addmm_(first, _unit(self.target[columns, dims], self.of_target, columns).to(dtype).T)
        return found

    def own(self, items: Tensor, others: Tensor | None = None) -> Tensor:
        """Correlation of each of these predictions with its own truth, or with these others', float64."""
        others = items if others is None else others
        found = torch.zeros(len(items), dtype=torch.float64, device=items.device)
        for dims in _blocks(self.predicted.shape[1], DEPTH):
            first = _unit(self.predicted[items, dims], self.of_predicted, items)
            found += (first * _unit(self.target[others, dims], self.of_target, others)).sum(1)
        return found


def _unit(values: Tensor, moments: Moments, rows: slice | Tensor) -> Tensor:
    """Some dims of items as float64, their mean removed and their norm made one."""
    return (values.double() - moments.mean[rows]) / moments.norm[rows]


def _wins(pair: _Pair, own: Tensor, rows: slice, columns: slice) -> Tensor:
    """1, 0.5 or 0 for every prediction (row) against every distractor (column)."""
    margin = own[:, None].float() - pair.tile(rows, columns, torch.float32)
    close = margin.abs() <= CLOSE
    if int(close.sum()) > 2 * TILE:  # items that repeat: the whole tile again
        margin = own[:, None] - pair.tile(rows, columns, torch.float64)
        return (margin > TIE).float() + 0.5 * (margin.abs() <= TIE)
    wins = (margin > 0).float()
    i, j = close.nonzero(as_tuple=True)
    exact = own[i] - pair.own(i + rows.start, j + columns.start)
    wins[i, j] = (exact > TIE).float() + 0.5 * (exact.abs() <= TIE)
    return wins


def _allowed(
    rows: slice, columns: slice, member: Tensor | None, unit: Tensor | None, n: int, device: torch.device
) -> Tensor | None:
    """Which pairs of a tile are compared, as 1 and 0; None for all."""
    if member is None and unit is None and rows != columns:
        return None
    index = torch.arange(n, device=device)
    allowed = index[rows, None] != index[None, columns]
    if member is not None:
        allowed &= member[rows, None] == member[None, columns]
    if unit is not None:
        allowed &= unit[rows, None] != unit[None, columns]
    return allowed.float()


def _blocks(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
