"""Concordant minus discordant pairs of two sequences, by counting inversions bit by bit, for many sequences at once."""

from __future__ import annotations

import torch
from torch import Tensor


def tau_a(x: Tensor, y: Tensor) -> Tensor:
    """Kendall's tau-a: concordant minus discordant pairs of entries over all pairs.

    Parameters
    ----------
    x, y : Tensor, shape (..., n)
        Shapes that broadcast.

    Returns
    -------
    Tensor, shape (...)
        float64 in [-1, 1]; ties in either count for neither side, so that a tied model is not favoured.

    Notes
    -----
    n log n: sorted by x, then y, the discordant pairs are the inversions of y (Knight 1966,
    doi:10.1080/01621459.1966.10480879).
    """
    x, y = torch.broadcast_tensors(x, y)
    n, shape = x.shape[-1], x.shape[:-1]
    x_rank, y_rank = dense_ranks(x.reshape(-1, n)), dense_ranks(y.reshape(-1, n))
    joint = x_rank * n + y_rank
    ordered = joint.sort(dim=-1).values
    discordant = inversions(ordered % n, n)
    pairs = n * (n - 1) / 2
    tied = _tied_pairs(x_rank, n) + _tied_pairs(y_rank, n) - _tied_runs(ordered)
    return ((pairs - tied - 2 * discordant) / pairs).reshape(shape)


def dense_ranks(x: Tensor) -> Tensor:
    """0-based number of each value among the different values of its row, int64, shape of `x` (row, n)."""
    values, order = x.sort(dim=-1)
    steps = torch.zeros_like(order)
    steps[:, 1:] = (values[:, 1:] != values[:, :-1]).cumsum(-1)
    return torch.empty_like(order).scatter_(-1, order, steps)


def inversions(ranks: Tensor, n_values: int) -> Tensor:
    """Pairs in which a larger number comes first.

    Parameters
    ----------
    ranks : int64 Tensor, shape (row, n)
        In [0, n_values).
    n_values : int

    Returns
    -------
    float64 Tensor, shape (row,)
    """
    current, total = ranks, ranks.new_zeros(len(ranks))
    for bit in reversed(range(max(1, (n_values - 1).bit_length()))):
        # Rows are in the order of their higher bits. Within each group of equal higher bits, a one before a zero is a
        # pair whose order is decided by this bit.
        ones = (current >> bit) & 1
        before = ones.cumsum(-1) - ones
        group = current >> (bit + 1)
        starts = torch.ones_like(ones, dtype=torch.bool)
        starts[:, 1:] = group[:, 1:] != group[:, :-1]
        # `before` never falls along a row, so its value at the last start is the largest one seen at a start.
        at_start = torch.where(starts, before, torch.zeros_like(before)).cummax(-1).values
        total += ((before - at_start) * (1 - ones)).sum(-1)
        if bit:
            order = (current >> bit).argsort(dim=-1, stable=True)
            current = current.gather(-1, order)
    return total.double()


def _tied_pairs(ranks: Tensor, n: int) -> Tensor:
    counts = torch.zeros(len(ranks), n, dtype=torch.float64, device=ranks.device)
    counts.scatter_add_(1, ranks, torch.ones_like(ranks, dtype=torch.float64))
    return (counts * (counts - 1)).sum(-1) / 2


def _tied_runs(ordered: Tensor) -> Tensor:
    """Pairs of equal entries of sorted rows."""
    return _tied_pairs(dense_ranks(ordered), ordered.shape[-1])
