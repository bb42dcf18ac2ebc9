"""Principal components of rows: directions of largest variance, in order, each with a sign that does not wander."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

EXACT_SIDE = 4096  # rows or columns up to which the smaller Gram matrix is decomposed exactly
OVERSAMPLING, POWER_STEPS = 16, 6  # Halko et al. 2011, doi:10.1137/090771806
BLOCK_VALUES = 4 << 20  # of the rows, in double precision at once
RELATIVE_RANK = 1e-12  # variance below this share of the largest is rounding


class Components(NamedTuple):
    """Mean (p,), directions (k, p) of length 1, variance along each (k,), and the total variance."""

    mean: Tensor
    directions: Tensor
    variance: Tensor
    total: float


def principal_components(x: Tensor, n: int | float, generator: torch.Generator) -> Components:
    """Components of the rows of `x`.

    Parameters
    ----------
    x : Tensor, shape (n_rows, p) or (n_trials, p, n_times)
        At least two rows; of epochs every time sample is one. It may lie in a mapped file: no copy of it is made.
    n : int or float
        How many, >= 1, or the share of variance in (0, 1) that the first ones must reach together.
    generator : torch.Generator
        Where both axes are longer than `EXACT_SIDE`: starts the subspace iteration, which needs a number of components.

    Returns
    -------
    Components
        float64. The largest loading of each direction is positive. Variances are unbiased (n_rows - 1).

    Raises
    ------
    ValueError
        If there are fewer directions with variance than asked for.
    """
    axes = ("row", "feature") if x.ndim < 3 else ("trial", "feature", "time")
    p = checks.n_axes("x", x, axes).shape[1]
    n_rows = checks.at_least("number of rows", x.numel() // max(1, p), 2)
    if x.ndim == 3 and n_rows < p:
        x = x.movedim(1, -1).reshape(-1, p)
    mean = _mean(x)
    total = _total(x, mean)
    if min(n_rows, p) <= EXACT_SIDE:
        variance, directions = _exact(x, mean)
    elif isinstance(n, float):
        raise ValueError(
            f"a share of variance needs at most {EXACT_SIDE} rows or features, got {n_rows} and {p}; give a number."
        )
    else:
        variance, directions = _iterated(x, mean, int(n), generator)
    variance = variance / (n_rows - 1)
    kept = _count(variance, total, n)
    return Components(mean, _signed(directions[:kept]), variance[:kept], total)


def _count(variance: Tensor, total: float, n: int | float) -> int:
    known = int((variance > RELATIVE_RANK * variance[0].clamp_min(torch.finfo(variance.dtype).tiny)).sum())
    if isinstance(n, float):
        checks.in_range("share of variance", n, 0.0, 1.0)
        if known == 0:
            raise ValueError("the rows are all equal; they have no components.")
        return min(known, 1 + int((variance.cumsum(0) < n * total * (1 - 1e-12)).sum()))
    checks.at_least("number of components", n, 1)
    if n > known:
        raise ValueError(f"{n} components were asked for, the rows have {known}; ask for at most as many.")
    return n


def _exact(x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the smaller of the two Gram matrices."""
    p = x.shape[1]
    n_rows = x.numel() // p
    if p <= n_rows:
        gram = torch.zeros(p, p, dtype=torch.float64)
        for rows in _blocks(x):
            centred = rows - mean
            gram += centred.T @ centred
        values, vectors = torch.linalg.eigh(gram)
        return values.flip(0).clamp_min(0.0), vectors.flip(1).T
    gram = torch.zeros(n_rows, n_rows, dtype=torch.float64)
    for columns in torch.arange(p).split(max(1, BLOCK_VALUES // n_rows)):
        centred = x[:, columns].double() - mean[columns]
        gram += centred @ centred.T
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0).clamp_min(0.0), vectors.flip(1)
    known = values > RELATIVE_RANK * values[0]
    scaled = vectors[:, known] / values[known].sqrt()
    return values[known], _times(x, mean, scaled)


def _iterated(x: Tensor, mean: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The leading subspace by repeated multiplication, then exactly inside it."""
    width = min(n + OVERSAMPLING, x.shape[1], x.numel() // x.shape[1])
    basis = torch.randn(x.shape[1], width, generator=generator, dtype=torch.float64)
    for _ in range(POWER_STEPS):
        basis = torch.linalg.qr(_times(x, mean, _rows_times(x, mean, basis)).T).Q
    _, values, inner = torch.linalg.svd(_rows_times(x, mean, basis), full_matrices=False)
    return values[:n].square(), inner[:n] @ basis.T


def _rows_times(x: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
    """(x - mean) @ matrix, in double precision, a block of rows at a time."""
    return torch.cat([(rows - mean) @ matrix for rows in _blocks(x)])


def _times(x: Tensor, mean: Tensor, weights: Tensor) -> Tensor:
    """weights.T @ (x - mean), shape (k, p), a block of rows at a time."""
    out = torch.zeros(weights.shape[1], x.shape[1], dtype=torch.float64)
    start = 0
    for rows in _blocks(x):
        out += weights[start : start + len(rows)].T @ (rows - mean)
        start += len(rows)
    return out


def _blocks(x: Tensor) -> Iterator[Tensor]:
    """The rows (of epochs, each time sample of each trial), some at a time, float64 (n, p)."""
    for trials in x.split(max(1, BLOCK_VALUES // x[0].numel())):
        yield trials.double() if x.ndim == 2 else trials.double().movedim(1, -1).reshape(-1, x.shape[1])


def _signed(directions: Tensor) -> Tensor:
    """Each row times the sign of its entry of largest size."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return directions * largest.sign()


def _mean(x: Tensor) -> Tensor:
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    for rows in _blocks(x):
        total += rows.sum(0)
    return total / (x.numel() // x.shape[1])


def _total(x: Tensor, mean: Tensor) -> float:
    squares = sum(float((rows - mean).square().sum()) for rows in _blocks(x))
    return squares / (x.numel() // x.shape[1] - 1)
