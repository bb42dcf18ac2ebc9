"""Concordant minus discordant pairs of two sequences, by counting inversions bit by bit, for many sequences at once."""

from __future__ import annotations

import numpy as np
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
        float64 in [-1, 1]; ties in either count for neither side, so that a tied model is not favoured. NaN of fewer
        than two entries.

    Notes
    -----
    n log n: sorted by x, then y, the discordant pairs are the inversions of y (Knight 1966,
    doi:10.1080/01621459.1966.10480879).
    """
    x, y = torch.broadcast_tensors(x, y)
    n, shape = x.shape[-1], x.shape[:-1]
    if n < 2:
        return x.new_full(shape, torch.nan, dtype=torch.float64)
    x_rank, y_rank = dense_ranks(x.reshape(-1, n)), dense_ranks(y.reshape(-1, n))
    joint = x_rank * n + y_rank
    ordered = _sorted(joint)
    discordant = inversions(ordered % n, n)
    pairs = n * (n - 1) / 2
    tied = _tied_pairs(x_rank, n) + _tied_pairs(y_rank, n) - _tied_runs(ordered)
    return ((pairs - tied - 2 * discordant) / pairs).reshape(shape)


def dense_ranks(x: Tensor) -> Tensor:
    """0-based number of each value among the different values of its row, int64, shape of `x` (row, n)."""
    # numpy finds the order of doubles several times faster than torch, and only on a processor.
    order = (
        torch.from_numpy(x.detach().numpy().argsort(axis=-1)) if x.device.type == "cpu" else x.argsort(dim=-1)
    )
    return torch.empty_like(order).scatter_(-1, order, _runs(x.gather(-1, order)))


def _runs(ordered: Tensor) -> Tensor:
    """0-based number of the run of equal values that each entry of a sorted row is in, int64."""
    runs = torch.zeros(ordered.shape, dtype=torch.int64, device=ordered.device)
    runs[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).cumsum(-1)
    return runs


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
            current = current.gather(-1, _stable_order(current >> bit))
    return total.double()


def _stable_order(keys: Tensor) -> Tensor:
    """Places of the keys of each row from small to large, equal ones as they stand; of whole numbers in [0, n)."""
    n = keys.shape[-1]
    return _sorted(keys * n + torch.arange(n, device=keys.device)) % n


def _sorted(numbers: Tensor) -> Tensor:
    """Rows of whole numbers from small to large: numpy sorts these several times faster, on a processor alone."""
    if numbers.device.type == "cpu":
        return torch.from_numpy(np.sort(numbers.numpy(), axis=-1))
    return numbers.sort(dim=-1).values


def _tied_pairs(ranks: Tensor, n: int) -> Tensor:
    counts = torch.zeros(len(ranks), n, dtype=torch.float64, device=ranks.device)
    counts.scatter_add_(1, ranks, torch.ones_like(ranks, dtype=torch.float64))
    return (counts * (counts - 1)).sum(-1) / 2


def _tied_runs(ordered: Tensor) -> Tensor:
    """Pairs of equal entries of sorted rows."""
    return _tied_pairs(_runs(ordered), ordered.shape[-1])
