"""Rows that measures learn from and rows that they are judged on: without chance, so equal data give equal values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

N_FOLDS = 5


def halves(n: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(learnt from, judged on) rows, twice: even and odd ones, and the other way round; int64.

    Every other row, because conditions often stand in order: each half then has some of every kind.
    """
    even, odd = torch.arange(0, n, 2), torch.arange(1, n, 2)
    return (even, odd), (odd, even)


def folds(n: int, n_folds: int = N_FOLDS) -> tuple[Tensor, ...]:
    """Held-out rows of each fold, interleaved for the same reason; int64."""
    return tuple(torch.arange(first, n, n_folds) for first in range(min(n_folds, n)))


def both_ways(
    judge: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean of ``judge(x_learn, y_learn, x_judge, y_judge)`` over both halves, as a function of x and y."""

    def function(x: Tensor, y: Tensor) -> Tensor:
        made = [judge(x[a], y[a], x[b], y[b]).double() for a, b in halves(len(x))]
        return torch.stack(made).mean()

    return function


def unit_length(x: Tensor) -> Tensor:
    """Rows about their mean, divided by the root of their total variance: the same for any shift and scale."""
    centred = x - x.mean(0)
    scale = centred.norm()
    return centred / scale if bool(scale > 0) else centred
