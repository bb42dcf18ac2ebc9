"""Means of conditions from few trials: what each factor adds, shrunken at every frequency by what noise would give."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from braindec.synthesis.conditions import Factors, cells, design


def shrunken_effects(values: Tensor, codes: Tensor, factors: Factors) -> Tensor:
    """What every column of the design adds to an epoch, (n_columns, n_channels, n_times).

    Parameters
    ----------
    values : Tensor, shape (n, n_channels, n_times)
        About their overall mean.
    codes : Tensor, shape (n, n_factors)
    factors : Factors

    Notes
    -----
    One factor after the other, then all together: the means of its values, of what earlier factors leave. At every
    frequency over time (a cosine transform), all values and channels of a factor are multiplied by 1 - expected /
    observed power, 0 at least (James & Stein 1961); noise is expected to have the power that trials have within cells.
    ERPs are slow: high frequencies, where nothing exceeds noise, vanish.
    """
    columns = design(codes, factors)
    basis = cosines(values.shape[2]).to(values)
    left = values @ basis  # (trial, channel, frequency)
    blocks = [
        *((codes[:, i], n) for i, n in enumerate(factors.sizes)),
        (cells(codes, factors), math.prod(factors.sizes)),
    ]
    within = left - _means(left, *blocks[-1])[0][blocks[-1][0]]
    n_cells = len(blocks[-1][0].unique())
    noise = within.square().sum((0, 1)) / (values.shape[1] * max(1, len(values) - n_cells))  # (frequency,)
    effects, seen, known = [], columns.new_ones(len(columns), 1), 1  # the overall mean is known
    for code, size in blocks:
        seen = torch.cat([seen, functional.one_hot(code, size).to(columns)], 1)
        rank = int(torch.linalg.matrix_rank(seen.double()))
        means, count = _means(left, code, size)
        observed = (count[:, None, None] * means.square()).sum(0).mean(0)  # (frequency,)
        kept = (1 - (rank - known) * noise / observed.clamp_min(torch.finfo(values.dtype).tiny)).clamp(0, 1)
        effects.append((kept if rank > known else torch.zeros_like(kept)) * means)
        left, known = left - means[code], rank
    return torch.cat(effects) @ basis.T


def cosines(n: int) -> Tensor:
    """An orthonormal cosine basis of n samples, float64 (n_samples, n_frequencies), slowest first."""
    at = torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi / n * (at[:, None] + 0.5) * at[None])
    return basis / basis.norm(dim=0)


def _means(values: Tensor, code: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(size, n_channels, n_frequencies) means, 0 for a value that does not occur, and how many trials each has."""
    count = code.bincount(minlength=size).to(values)
    total = values.new_zeros(size, *values.shape[1:]).index_add_(0, code, values)
    return total / count.clamp_min(1)[:, None, None], count
