"""Pairs of conditions: which entry of a condensed matrix is whose distance, and back to squares."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.gemm import mm

ROWS_AT_ONCE = (
    192  # of a matrix of products: few enough to waste little below the diagonal, enough for fast products
)


def n_pairs(n_conditions: int) -> int:
    """Pairs of different conditions."""
    return n_conditions * (n_conditions - 1) // 2


def n_conditions(pairs: int) -> int:
    """Conditions whose pairs these are.

    Raises
    ------
    ValueError
        If no number of conditions has so many pairs.
    """
    n = round((1 + (1 + 8 * pairs) ** 0.5) / 2)
    if n < 2 or n_pairs(n) != pairs:
        raise ValueError(f"{pairs} distances are not those of all pairs of any number of conditions.")
    return n


def pair_indices(n: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """First and second condition of each pair, int32 (pair,): (0, 1), (0, 2), ..., (1, 2), ... as scipy orders them."""
    return _indices(n, str(device))


@lru_cache(maxsize=16)
def _indices(n: int, device: str) -> tuple[Tensor, Tensor]:
    first, second = torch.triu_indices(n, n, 1, dtype=torch.int32, device=device)
    return first.contiguous(), second.contiguous()


@lru_cache(maxsize=16)
def _flat(n: int, device: str) -> Tensor:
    first, second = _indices(n, device)
    return first * n + second


def condensed(square: Tensor) -> Tensor:
    """Entries above the diagonal.

    Parameters
    ----------
    square : Tensor, shape (..., condition, condition)

    Returns
    -------
    Tensor, shape (..., pair)
    """
    n = square.shape[-1]
    if square.ndim < 2 or square.shape[-2] != n:
        raise ValueError(f"square must have axes (..., condition, condition), got {tuple(square.shape)}.")
    flat = square.reshape(-1, n * n)
    return flat.index_select(1, _flat(n, str(square.device))).reshape(*square.shape[:-2], n_pairs(n))


def square(distances: Tensor, diagonal: float = 0.0) -> Tensor:
    """The symmetric matrix of condensed distances.

    Parameters
    ----------
    distances : Tensor, shape (..., pair)
    diagonal : float
        A condition's distance to itself.

    Returns
    -------
    Tensor, shape (..., condition, condition)
    """
    n = n_conditions(distances.shape[-1])
    first, second = (i.long() for i in pair_indices(n, distances.device))
    out = distances.new_full((*distances.shape[:-1], n, n), diagonal)
    out[..., first, second] = distances
    out[..., second, first] = distances
    return out


def distances_of_products(products: Tensor, *, symmetric: bool = True) -> Tensor:
    """k_ii + k_jj - k_ij - k_ji of each pair.

    Parameters
    ----------
    products : Tensor, shape (..., condition, condition)
        Inner products of every condition with every other.
    symmetric : bool
        False where k_ij and k_ji differ (patterns of two runs).

    Returns
    -------
    Tensor, shape (..., pair)
    """
    checks.at_least("number of conditions", products.shape[-1], 2)
    own = products.diagonal(dim1=-2, dim2=-1)
    full = own[..., :, None] + own[..., None, :]
    if symmetric:
        return condensed(full.sub_(products, alpha=2))
    return condensed(full.sub_(products).sub_(products.mT))


def of_rows(x: Tensor, *, distances: bool) -> Tensor:
    """Inner products of all pairs of rows, or their squared distances.

    Parameters
    ----------
    x : Tensor, shape (condition, channel)
        For distances about the mean of rows, or near it: large common values would cost digits.
    distances : bool
        ||x_i - x_j||^2 rather than x_i x_j^T.

    Returns
    -------
    Tensor, shape (pair,)

    Notes
    -----
    Some rows with those after them at a time: half the products, and never a matrix of all.
    """
    n = len(x)
    checks.at_least("number of conditions", n, 2)
    own, parts = x.new_empty(n), []
    for first in reversed(
        range(0, n, ROWS_AT_ONCE)
    ):  # what a row has with itself is known before it is needed
        last = min(first + ROWS_AT_ONCE, n)
        products = mm(x[first:last], x[first:].mT)
        if distances:
            own[first:last] = products.diagonal()
            products.mul_(-2).add_(own[first:last, None]).add_(own[first:])
        places = _places(last - first, n - first, str(x.device))
        parts.append(products.flatten().index_select(0, places))
    return torch.cat(parts[::-1])


@lru_cache(maxsize=32)
def _places(n_rows: int, width: int, device: str) -> Tensor:
    """Where the entries above the diagonal stand in the flat first rows of a matrix."""
    first, second = torch.triu_indices(n_rows, width, 1, dtype=torch.int32, device=device)
    return first * width + second
