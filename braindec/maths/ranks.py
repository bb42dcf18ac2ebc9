"""Average ranks and Spearman correlation of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.maths.correlation import pearson


def average_ranks(x: Tensor, dim: int = -1) -> Tensor:
    """Ranks along `dim`, smallest first; tied values share the mean of their ranks.

    Parameters
    ----------
    x : Tensor
        Any shape, no NaN.
    dim : int
        Axis to rank along.

    Returns
    -------
    Tensor, shape of `x`
        In [1, n]; float64 for float64 input, else float32 (exact up to 2^23 values).
    """
    values, order = x.movedim(dim, -1).sort(dim=-1)
    n = values.shape[-1]
    position = torch.arange(n, device=x.device).expand(values.shape)
    starts = torch.ones_like(values, dtype=torch.bool)
    starts[..., 1:] = values[..., 1:] != values[..., :-1]
    first = torch.where(starts, position, torch.zeros_like(position)).cummax(-1).values
    ends = torch.ones_like(starts)
    ends[..., :-1] = starts[..., 1:]
    last = torch.where(ends, position, torch.full_like(position, n)).flip(-1).cummin(-1).values.flip(-1)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    shared = (first + last).to(dtype) / 2 + 1
    return torch.empty_like(shared).scatter_(-1, order, shared).movedim(-1, dim)


def auc_of_ranks(ranks: Tensor, present: Tensor) -> Tensor:
    """Area under the ROC of every score for every kind, by Mann-Whitney's statistic; ties count half.

    Parameters
    ----------
    ranks : Tensor, shape (n, n_scores)
        `average_ranks` over the rows.
    present : Tensor of bool, shape (n, n_kinds)

    Returns
    -------
    Tensor, shape (n_scores, n_kinds)
        In [0, 1]; not finite where all rows are of a kind, or none.
    """
    inside = present.to(ranks)
    n_present = inside.sum(0)
    low = n_present * (n_present + 1) / 2
    return (ranks.T @ inside - low) / (n_present * (len(ranks) - n_present))


def spearman(x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
    """Spearman correlation along `dim`: the Pearson correlation of average ranks.

    Parameters
    ----------
    x, y : Tensor
        Equal shape, no NaN.
    dim : int
        The axis of observations.

    Returns
    -------
    Tensor
        In [-1, 1], without the axis `dim`; 0 where either side is constant.
    """
    return pearson(average_ranks(x, dim), average_ranks(y, dim), dim)
