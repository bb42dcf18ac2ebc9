"""Bootstrap draws as counts: no RDM is ever gathered, because a resampled pair is an original one with a weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.rdm import pairs

PAIRS_AT_ONCE = 1 << 13
DRAWS_AT_ONCE = 256


class Resampled(NamedTuple):
    """What models and ceilings score on resampled conditions.

    Parameters
    ----------
    scores : Tensor, shape (draw, subject, model)
    products : Tensor, shape (draw, subject, subject)
        Comparisons of subjects with each other, from which ceilings follow.
    """

    scores: Tensor
    products: Tensor


def draw_counts(n: int, n_draws: int, generator: torch.Generator) -> Tensor:
    """How often each of n units is drawn, with replacement, in each draw: float64 (draw, n), rows sum to n.

    Parameters
    ----------
    n, n_draws : int
        >= 1.
    generator : torch.Generator
    """
    checks.at_least("n_draws", n_draws, 1)
    drawn = torch.randint(n, (n_draws, n), generator=generator, device=generator.device)
    counts = torch.zeros(n_draws, n, dtype=torch.float64, device=generator.device)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))


def pair_weights(counts: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """c_i c_j of each pair, (draw, pair): how often it occurs in a draw. Copies of one condition make no pair."""
    by_condition = counts.T.contiguous()  # whole rows are copied, many times faster than single columns
    return (by_condition.index_select(0, first) * by_condition.index_select(0, second)).T


def weighted_inner(data: Tensor, models: Tensor, counts: Tensor, *, centred: bool) -> Resampled:
    """Pearson correlation or cosine under the weights of each draw, by weighted sums over the original pairs.

    Parameters
    ----------
    data : Tensor, shape (subject, pair)
    models : Tensor, shape (model, pair)
    counts : Tensor, shape (draw, condition)
    centred : bool
        True: Pearson; False: cosine.

    Returns
    -------
    Resampled
        NaN where a draw leaves a row constant.

    Notes
    -----
    The resampled RDM has weight c_i c_j on pair (i, j), so its sums, squares and products are one matrix product of
    weights with products of rows.
    """
    rows = _conditioned(torch.cat([data, models]).double(), centred)
    n_subjects, n_rows = len(data), len(data) + len(models)
    left, right = _products_needed(n_subjects, n_rows, rows.device)
    first, second = pairs.pair_indices(counts.shape[1], rows.device)
    total = rows.new_zeros(len(counts), 1 + n_rows + len(left))
    drawn = counts.double()
    for start in range(0, rows.shape[1], PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        features = _features(rows[:, part], left, right).T
        for some, out in zip(drawn.split(DRAWS_AT_ONCE), total.split(DRAWS_AT_ONCE), strict=True):
            out.addmm_(pair_weights(some, first[part], second[part]), features)
    moments = rows.new_zeros(len(total), n_rows, n_rows)
    moments[:, left, right] = total[:, 1 + n_rows :]
    moments[:, right, left] = total[:, 1 + n_rows :]
    if centred:
        mean = total[:, 1 : 1 + n_rows] / total[:, :1]
        moments -= total[:, 1 : 1 + n_rows, None] * mean[:, None, :]
    scale = moments.diagonal(dim1=1, dim2=2).rsqrt()
    moments *= scale[:, :, None]
    moments *= scale[:, None, :]
    return Resampled(moments[:, :n_subjects, n_subjects:], moments[:, :n_subjects, :n_subjects])


def _conditioned(rows: Tensor, centred: bool) -> Tensor:
    """Rows about their mean (correlations do not see it) and of unit size, so that sums of squares lose no digits."""
    rows = rows - rows.mean(-1, keepdim=True) if centred else rows
    size = rows.square().mean(-1, keepdim=True).sqrt()
    return rows / torch.where(size > 0, size, torch.ones_like(size))


def _products_needed(n_subjects: int, n_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Subjects with all rows, and each model with itself."""
    left, right = torch.triu_indices(n_rows, n_rows, device=device)
    kept = (left < n_subjects) | (left == right)
    return left[kept], right[kept]


def _features(rows: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """1, every row, and the products of rows that are needed: (1 + n_rows + n_products, pair)."""
    one = torch.ones_like(rows[:1])
    return torch.cat([one, rows, rows.index_select(0, left) * rows.index_select(0, right)])
