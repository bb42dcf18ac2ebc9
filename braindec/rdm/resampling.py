"""Bootstrap draws as counts: no RDM is ever gathered, because a resampled pair is an original one with a weight."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

NUMBERS_AT_ONCE = 1 << 20  # weights held at a time: 8 MiB, which a processor's cache keeps
DRAWS_AT_ONCE = 1024


class Resampled(NamedTuple):
    """What models and ceilings score on resampled conditions.

    Attributes
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
    weights with products of rows. Weights and products exist for some pairs at a time, in memory that is used again:
    asking the system for more would take as long as the products.
    """
    rows = _conditioned(torch.cat([data, models]).double(), centred)
    n_subjects, n_rows = len(data), len(rows)
    left, right = _products_needed(n_subjects, n_rows, rows.device)
    total = _weighted_sums(rows, n_subjects, counts.double())
    moments = total[1 + n_rows :]
    sums = total[1 : 1 + n_rows]
    if centred:
        moments.addcmul_(sums.index_select(0, left), (sums / total[:1]).index_select(0, right), value=-1.0)
    scale = moments[left == right].rsqrt()
    moments.mul_(scale.index_select(0, left)).mul_(scale.index_select(0, right))
    place = left.new_zeros(
        n_subjects, n_rows
    )  # which of the moments stands where; those of subjects stand twice
    subjects = left < n_subjects
    number = torch.arange(len(left), device=rows.device)[subjects]
    place[left[subjects], right[subjects]] = number
    both = right[subjects] < n_subjects
    place[right[subjects][both], left[subjects][both]] = number[both]
    found = moments.T.index_select(1, place.flatten()).reshape(-1, n_subjects, n_rows)
    return Resampled(found[:, :, n_subjects:], found[:, :, :n_subjects])


def _weighted_sums(rows: Tensor, n_subjects: int, counts: Tensor) -> Tensor:
    """Sums over pairs, weighted by each draw: of 1, of rows and of the products needed, (1 + rows + products, draw)."""
    n = counts.shape[1]
    drawn = [some.T.contiguous() for some in counts.split(DRAWS_AT_ONCE)]
    wide = max(some.shape[1] for some in drawn)
    blocks = _blocks(n, NUMBERS_AT_ONCE // wide)
    longest = max(stop - start for _, _, start, stop in blocks)
    weights, kept = rows.new_empty(longest * wide), None
    out: list[Tensor] = []
    for first, last, start, stop in blocks:
        kept = _features(rows[:, start:stop], n_subjects, kept)
        out = out or [rows.new_zeros(len(kept), some.shape[1]) for some in drawn]
        for some, total in zip(drawn, out, strict=True):
            held = weights[: (stop - start) * some.shape[1]].view(stop - start, some.shape[1])
            filled = 0
            for i in range(first, last):  # the pairs of a condition with all later ones are one stretch
                torch.mul(some[i + 1 :], some[i], out=held[filled : filled + n - i - 1])
                filled += n - i - 1
            total.addmm_(kept[:, : stop - start], held)
    return torch.cat(out, dim=1)


def _blocks(n: int, most_pairs: int) -> list[tuple[int, int, int, int]]:
    """First conditions from, to, and their pairs from, to: of at most `most_pairs` pairs, one condition at least."""
    found = []
    first = start = stop = 0
    for i in range(n - 1):
        if i > first and stop - start + n - i - 1 > most_pairs:
            found.append((first, i, start, stop))
            first, start = i, stop
        stop += n - i - 1
    return [*found, (first, n - 1, start, stop)]


def _conditioned(rows: Tensor, centred: bool) -> Tensor:
    """These rows, in place, about their mean (correlations do not see it) and of unit size, so that sums of squares
    lose no digits.
    """
    if centred:
        rows -= rows.mean(-1, keepdim=True)
    size = rows.norm(dim=-1, keepdim=True) / rows.shape[-1] ** 0.5
    rows /= torch.where(size > 0, size, torch.ones_like(size))
    return rows


def _products_needed(n_subjects: int, n_rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Subjects with all rows, and each model with itself."""
    left, right = torch.triu_indices(n_rows, n_rows, device=device)
    kept = (left < n_subjects) | (left == right)
    return left[kept], right[kept]


def _features(rows: Tensor, n_subjects: int, out: Tensor | None) -> Tensor:
    """1, every row, and the products of rows in the order of `_products_needed`: (1 + n_rows + n_products, pair).

    `out` is memory of an earlier call, with as many pairs or more; it is returned whole.
    """
    n_rows, n = rows.shape
    if out is None or out.shape[1] < n:
        out = rows.new_empty(
            1 + n_rows + n_subjects * (2 * n_rows - n_subjects + 1) // 2 + n_rows - n_subjects, n
        )
    here = out[:, :n]
    here[0] = 1.0
    here[1 : 1 + n_rows] = rows
    filled = 1 + n_rows
    for s in range(n_subjects):
        torch.mul(rows[s:], rows[s], out=here[filled : filled + n_rows - s])
        filled += n_rows - s
    torch.mul(rows[n_subjects:], rows[n_subjects:], out=here[filled:])
    return out
