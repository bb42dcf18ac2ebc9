"""Bootstrap draws of rank comparisons: each RDM is sorted once, and weights make the ranks of every draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.rdm import pairs
from braindec.rdm.resampling import pair_weights

NUMBERS_AT_ONCE = (
    1 << 18
)  # weights held at a time: 2 MiB, so that passes over them stay in a processor's cache
EXACT = 1 << 22  # single precision knows all whole and half numbers up to here
TOGETHER = 1 << 14  # pairs


class Sorted(NamedTuple):
    """The order of one row, repeated for as many draws as are made at once.

    Positions from small to large, group of ties of each pair, last place of each group: all as places in a flat table
    (draw, pair); gathering from a flat table is many times faster than along its second axis.
    """

    order: Tensor
    group: Tensor
    last: Tensor
    n_groups: int


class RankDraws(NamedTuple):
    """Scores (draw, subject, model), and (lower, upper) ceilings (draw, subject) for each counts of subjects given."""

    scores: Tensor
    ceilings: list[tuple[Tensor, Tensor]]


def rank_draws(
    data: Tensor, models: Tensor, counts: Tensor, comparator: str, subject_counts: Sequence[Tensor] = ()
) -> RankDraws:
    """rho-a or Spearman of every subject with every model under the weights of each draw.

    Parameters
    ----------
    data : Tensor, shape (subject, pair)
    models : Tensor, shape (model, pair)
    counts : Tensor, shape (draw, condition)
    comparator : str
        ``"rho_a"`` or ``"spearman"``.
    subject_counts : sequence of Tensor, shape (draw, subject)
        Also the ceilings, of subjects that occur so often.
    """
    checks.one_of("comparator", comparator, ("rho_a", "spearman"))
    n_subjects, n = len(data), data.shape[1]
    step = max(1, min(len(counts), NUMBERS_AT_ONCE // n))
    rows = [_sort_row(row, step) for row in torch.cat([data, models])]
    first, second = pairs.pair_indices(counts.shape[1], data.device)
    ranks = data.new_empty(len(rows), step, n, dtype=torch.float64)
    # Ranks are whole or half numbers up to half the squared number of conditions: the lighter type holds them exactly.
    light = torch.float32 if float(counts.sum(1).max()) ** 2 / 2 < EXACT else torch.float64
    scores: list[Tensor] = []
    limits: list[list[tuple[Tensor, Tensor]]] = [[] for _ in subject_counts]
    for start in range(0, len(counts), step):
        weights = pair_weights(counts[start : start + step].double(), first, second).contiguous()
        here = ranks[:, : len(weights)]
        middle = (weights.sum(1) + 1) / 2
        counted = weights.to(light)
        for row, out in zip(rows, here, strict=True):
            torch.sub(_weighted_ranks(counted, row), middle[:, None], out=out)
        scores.append(_scores(here, weights, comparator, n_subjects))
        for found, occur in zip(limits, subject_counts, strict=True):
            for d in range(len(weights)):
                found.append(rank_ceilings(here[:n_subjects, d], weights[d], occur[start + d], comparator))
    stacked = [tuple(torch.stack(side) for side in zip(*found, strict=True)) for found in limits]
    return RankDraws(torch.cat(scores), [(low, high) for low, high in stacked])


def _sort_row(row: Tensor, n_draws: int) -> Sorted:
    # numpy finds the order of doubles several times faster than torch, and only on a processor.
    order = torch.from_numpy(row.numpy().argsort()) if row.device.type == "cpu" else row.argsort()
    values = row[order]
    new = torch.ones_like(order, dtype=torch.bool)
    new[1:] = values[1:] != values[:-1]
    number = new.cumsum(0) - 1
    group = torch.empty_like(number).scatter_(0, order, number)
    last = torch.cat([new.nonzero()[1:, 0] - 1, order.new_full((1,), len(row) - 1)])
    draws = torch.arange(n_draws, device=row.device, dtype=torch.int32)[
        :, None
    ]  # half the memory that int64 takes
    in_table = [(draws * width + index.int()).flatten() for index, width in
                ((order, len(row)), (group, len(last)), (last, len(row)))]  # fmt: skip
    return Sorted(in_table[0], in_table[1], in_table[2], len(last))


def _weighted_ranks(weights: Tensor, row: Sorted) -> Tensor:
    """Average ranks (draw, pair) within each draw; of a pair that does not occur, the rank between its neighbours."""
    n_draws, n = weights.shape
    reached = weights.flatten().index_select(0, row.order[: n_draws * n]).reshape(n_draws, n).cumsum(1)
    if row.n_groups < n:
        last = row.last[: n_draws * row.n_groups]
        reached = reached.flatten().index_select(0, last).reshape(n_draws, row.n_groups)
    middle = reached + 1.0
    middle[:, 1:] += reached[:, :-1]
    return middle.div_(2.0).flatten().index_select(0, row.group[: n_draws * n]).reshape(n_draws, n)


def _scores(ranks: Tensor, weights: Tensor, comparator: str, n_subjects: int) -> Tensor:
    """Comparisons (draw, subject, model) of centred ranks (row, draw, pair)."""
    models = ranks[n_subjects:] * weights
    products = ranks[:n_subjects].transpose(0, 1) @ models.permute(1, 2, 0)
    total = weights.sum(1)
    if comparator == "rho_a":
        return products * (12.0 / (total**3 - total))[:, None, None]
    size = torch.stack([(row.square() * weights).sum(1) for row in ranks], dim=1).sqrt()
    return products / size[:, :n_subjects, None] / size[:, None, n_subjects:]


def rank_ceilings(ranks: Tensor, weights: Tensor, counts: Tensor, comparator: str) -> tuple[Tensor, Tensor]:
    """Comparisons of each subject with the mean ranks of the others, and of all: (subject,) each.

    Parameters
    ----------
    ranks : Tensor, shape (subject, pair)
        Centred average ranks of pairs that occur `weights` times.
    weights : Tensor, shape (pair,)
        Only pairs that occur are touched: 40 % of them in a bootstrap.
    counts : Tensor, shape (subject,)
        How often each subject occurs.
    comparator : str

    Returns
    -------
    (Tensor, Tensor)
        Lower, NaN for a subject without others; upper. NaN where no pair occurs.
    """
    kept = weights.nonzero()[:, 0]
    if not len(kept):  # every condition drawn is the same one
        nothing = torch.full_like(counts, torch.nan, dtype=ranks.dtype)
        return nothing, nothing.clone()
    w = weights.index_select(0, kept)
    r = torch.stack([row.index_select(0, kept) for row in ranks])
    total, counts = w.sum(), counts.to(r)
    whole = counts @ r
    # The mean of the others of a subject that was not drawn is that of all: a third of the sorts of a bootstrap.
    drawn = counts.nonzero()[:, 0].tolist()
    # Many short rows are ranked together; long ones one by one, because they stay in a processor's cache.
    together = len(drawn) + 1 if r.shape[1] <= TOGETHER else 1
    low = high = torch.empty_like(counts)
    for start in range(0, len(drawn) + 1, together):
        subjects = drawn[max(start - 1, 0) : start + together - 1]
        pools = [whole] if start == 0 else []
        pools += [whole - counts[s] * r[s] for s in subjects]
        pooled = _ranks_of_sums(torch.stack(pools), w).sub_((total + 1) / 2)
        if comparator == "spearman":
            pooled /= (pooled.square() @ w).sqrt()[:, None]
        pooled *= w
        if start == 0:
            high = r @ pooled[0]
            low = high.clone()
            pooled = pooled[1:]
        for s, row in zip(subjects, pooled, strict=True):
            low[s] = r[s] @ row
    scale = 12.0 / (total**3 - total) if comparator == "rho_a" else 1 / (r.square() @ w).sqrt()
    return (low * scale).masked_fill(counts.sum() - counts <= 0, torch.nan), high * scale


def _ranks_of_sums(sums: Tensor, weights: Tensor) -> Tensor:
    """Weighted average ranks (row, pair) of rows of sums of centred average ranks, which are whole or half numbers.

    Value and place are packed into one integer, so that sorting the values also gives their order; numpy sorts integers
    many times faster than any library finds an order.
    """
    n_rows, n = sums.shape
    bits = max(1, (n - 1).bit_length())
    keys = (sums * 2).round_().long()
    keys = keys.bitwise_left_shift_(bits).bitwise_or_(torch.arange(n, device=sums.device))
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)
    else:
        keys = keys.sort(dim=1).values
    order, values = keys & ((1 << bits) - 1), keys >> bits
    reached = weights.index_select(0, order.flatten()).reshape(n_rows, n).cumsum(1)
    ends = torch.ones_like(values, dtype=torch.bool)
    torch.ne(values[:, 1:], values[:, :-1], out=ends[:, :-1])
    ends = ends.flatten()
    group = ends.cumsum(0) - ends.long()  # over all rows: a row's last entry always ends a group
    reached = reached.flatten().index_select(0, ends.nonzero()[:, 0])
    before = torch.cat([reached.new_zeros(1), reached[:-1]])
    before[group[::n]] = 0.0  # the first group of each row
    middle = (before + reached + 1).div_(2.0).index_select(0, group).reshape(n_rows, n)
    return torch.empty_like(sums).scatter_(1, order, middle)
