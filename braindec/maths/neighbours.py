"""Nearest neighbours of every row among all other rows, found without keeping the matrix of all similarities."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import unit_rows
from braindec.maths.gemm import mm

CHUNK_ELEMENTS = 2**23  # similarities held at once: 32 MiB of float32
GROUP = 64  # neighbouring columns of which only the groups with the largest maxima are searched


def nearest_others(x: Tensor, k: int, *, cosine: bool = True) -> Tensor:
    """The `k` most similar other rows of every row.

    Parameters
    ----------
    x : Tensor, shape (n, p)
        Finite.
    k : int
        In [1, n - 1].
    cosine : bool
        Compare by the cosine; else by the inner product.

    Returns
    -------
    int64 Tensor, shape (n, k)
        In no order. Of rows that are equally similar at the limit any is taken.
    """
    checks.n_axes("x", x, ("row", "feature"))
    n = len(x)
    checks.in_range("k", k, 1, n - 1)
    rows = unit_rows(x) if cosine else x
    # Every column belongs to a group; those of the last one that do not exist are never nearest.
    width = -(-n // GROUP) * GROUP
    step = max(1, CHUNK_ELEMENTS // width)
    block = rows.new_full((min(step, n), width), -torch.inf)
    found = []
    for start in range(0, n, step):
        stop = min(start + step, n)
        part = block[: stop - start]
        part[:, :n] = mm(rows[start:stop], rows.T)
        part[:, start:stop].fill_diagonal_(-torch.inf)
        found.append(_largest(part, k))
    return torch.cat(found)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """How many neighbours each row has in common, int64 (n,), from neighbour lists (n, k) and (n, l)."""
    checks.same_length("row", a=a, b=b)
    counts = torch.zeros(len(a), dtype=torch.int64, device=a.device)
    for column in b.T:  # k passes over (n, k), not one array of (n, k, k)
        counts += (a == column[:, None]).sum(1)
    return counts


def reordered(neighbours: Tensor, order: Tensor) -> Tensor:
    """Neighbour lists (n, k) of rows taken in another order: row i of the result is row order[i] of the old rows."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return place[neighbours[order]]


def _largest(block: Tensor, k: int) -> Tensor:
    """Columns of the k largest entries of each row (m, width), width a multiple of `GROUP`.

    The k largest lie in the k groups whose maxima are largest, so only these are searched: an exact selection that
    reads most entries once, for a maximum.
    """
    m, width = block.shape
    if width <= 4 * k * GROUP:
        return block.topk(k, dim=1, sorted=False).indices
    groups = block.view(m, width // GROUP, GROUP)
    best = groups.amax(2).topk(k, dim=1, sorted=False).indices  # (m, k)
    candidates = groups.gather(1, best[:, :, None].expand(m, k, GROUP)).flatten(1)
    inside = candidates.topk(k, dim=1, sorted=False).indices
    return best.gather(1, inside // GROUP) * GROUP + inside % GROUP
