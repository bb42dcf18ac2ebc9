"""Pearson correlation along one axis of two tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks


def standardise(x: Tensor, dim: int = -1) -> Tensor:
    """Values with mean zero and norm one along `dim`; a constant slice becomes zeros.

    Parameters
    ----------
    x : Tensor
        Any shape, any unit.
    dim : int
        Axis whose mean is removed and whose norm becomes one.

    Returns
    -------
    Tensor, shape of `x`
        Entries in [-1, 1].
    """
    centred = x - x.mean(dim, keepdim=True)
    norm = centred.norm(dim=dim, keepdim=True)
    constant = is_constant(x, norm, dim)
    return torch.where(constant, torch.zeros_like(centred), centred / norm.masked_fill(constant, 1.0))


def unit_rows(x: Tensor, dim: int = -1) -> Tensor:
    """Values of length one along `dim`, however small they are (responses in tesla); zeros stay zeros."""
    return torch.nn.functional.normalize(x, dim=dim, eps=torch.finfo(x.dtype).tiny)


def is_constant(x: Tensor, norm: Tensor, dim: int = -1) -> Tensor:
    """Whether slices along `dim` do not vary, bool, that axis of length one; `norm` is their norm about their mean.

    What a mean's rounding leaves of them has a direction that means nothing, and may exceed the rounding of one value:
    equal values are told by being equal.
    """
    low, high = x.amin(dim, keepdim=True), x.amax(dim, keepdim=True)
    floor = torch.finfo(x.dtype).eps * x.shape[dim] ** 0.5 * torch.maximum(low.abs(), high.abs())
    return (norm <= floor) | (low == high)


def pearson(x: Tensor, y: Tensor, dim: int = -1) -> Tensor:
    """Pearson correlation of `x` and `y` along `dim`.

    Parameters
    ----------
    x, y : Tensor
        Shapes that broadcast; equal length along `dim`.
    dim : int
        The axis of observations.

    Returns
    -------
    Tensor
        In [-1, 1], without the axis `dim`; 0 where either side is constant, because it then predicts nothing.

    Raises
    ------
    ValueError
        If the lengths along `dim` differ.
    """
    checks.same_length("observation", x=x.movedim(dim, 0), y=y.movedim(dim, 0))
    return (standardise(x, dim) * standardise(y, dim)).sum(dim).clamp(-1.0, 1.0)
