"""The nearest of millions of rows, exactly: half of each number finds who could be near, the rest is looked up.

A float32 number is split into the bfloat16 number next to it and what lacks, without loss. Products of the bfloat16
halves cost half the memory and, on processors with instructions for them, half the time or less; how far they can be
off is known, so that whoever could be among the nearest is compared again in full.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths import gemm

ROUNDING = 2.0**-8  # of bfloat16, relative: 8 bits of significand
FLOAT32 = 2.0**-24  # what each sum of a product loses of the lengths' product at most
GROUP = 64  # neighbours in a block of whom the largest is taken, to find a limit without sorting
PENDING = 2**22  # rows that wait to be compared in full


class Block(NamedTuple):
    """Rows that lie together.

    Attributes
    ----------
    start : int
        Number of the first one.
    coarse : bfloat16 Tensor, shape (m, dim)
    scale, offset : Tensor, shape (m,), or None
        A row's similarity is (product + shift) * scale + offset; None: 1 and 0.
    reach, lost : float
        No less than the largest length of a row, and of what its coarse half lacks, each times its scale.
    """

    start: int
    coarse: Tensor
    scale: Tensor | None
    offset: Tensor | None
    reach: float
    lost: float


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """The bfloat16 next to each float32, and the int16 that lacks to its bits; `joined` undoes it to the bit.

    Parameters
    ----------
    x : float32 Tensor
        Finite, below 3e38.
    """
    bits = x.contiguous().view(torch.int32)
    # Halves are rounded away from zero: towards even, what lacks would need one bit more than there is.
    coarse = ((bits + 0x8000) & -0x10000).view(torch.float32).to(torch.bfloat16)
    return coarse, (bits - _bits(coarse)).to(torch.int16)


def joined(coarse: Tensor, fine: Tensor | None) -> Tensor:
    """The float32 numbers of which `split` made two; without the second part, the coarse ones as they are."""
    return coarse.float() if fine is None else (_bits(coarse) + fine).view(torch.float32)


def _bits(coarse: Tensor) -> Tensor:
    return coarse.float().contiguous().view(torch.int32)


def top_k(
    directions: Tensor, shift: Tensor, k: int, blocks: Iterable[Block], exact: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The `k` most similar rows of every query, most similar first; of equals the first row.

    Parameters
    ----------
    directions : float32 Tensor, shape (n, dim)
        Whose products with rows make similarities, see `Block`.
    shift : Tensor, shape (n,)
    k : int
        At most the number of rows.
    blocks : iterable of Block
        All rows once, in their order.
    exact : callable
        (rows,) numbers of rows -> similarities (n, rows) in full; a constant of a query may be added to them.

    Returns
    -------
    values, rows : Tensor, shape (n, k)
        Values of `exact`.
    """
    checks.at_least("k", k, 1)
    search = _Search(directions, shift, k, exact)
    for block in blocks:
        search.see(block)
    return search.found()


class _Search:
    """Who could be among the nearest of each query, after the blocks seen so far."""

    def __init__(self, directions: Tensor, shift: Tensor, k: int, exact: Callable[[Tensor], Tensor]):
        self.queries, self.shift, self.k, self.exact = directions, shift[:, None], k, exact
        self.low = directions.to(torch.bfloat16)
        self.length = directions.norm(dim=1, keepdim=True)
        self.sums = max(4096, directions.shape[1]) * FLOAT32
        self.lost = (directions - self.low.float()).norm(dim=1, keepdim=True)
        self.best = torch.full((len(directions), k), -torch.inf)  # that many rows are at least so similar
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []  # query, row, the most it can be
        self.kept: tuple[Tensor, Tensor] | None = None

    def see(self, block: Block) -> None:
        """Takes in one block."""
        similarity = _product(self.low, self.queries, block.coarse).float()
        margin = self._margin(similarity, block)
        if block.scale is not None:
            similarity = similarity.add_(self.shift).mul_(block.scale)
        elif bool(self.shift.any()):
            similarity = similarity.add_(self.shift)
        if block.offset is not None:
            similarity = similarity.add_(block.offset)
            margin = margin + 1e-6 * block.offset.abs().amax()  # what float32 loses beside large numbers
        grouped = _in_groups(similarity)  # (query, group, GROUP)
        largest = grouped.amax(2)
        likely = largest if largest.shape[1] >= self.k else grouped.flatten(1)
        likely = likely.topk(min(self.k, likely.shape[1]), dim=1).values - margin
        self.best = torch.cat([self.best, likely], dim=1).topk(self.k, dim=1).values
        limit = self.best[:, -1:] - margin
        query, group = torch.nonzero(largest >= limit, as_tuple=True)
        near = grouped[query, group]  # (n_near, GROUP): of most groups nothing more is looked at
        which, place = torch.nonzero(near >= limit[query], as_tuple=True)
        query, column = query[which], group[which] * GROUP + place
        here = column < similarity.shape[1]
        query, column, near = query[here], column[here], near[which, place][here]
        self.waiting.append((query, column + block.start, near + margin[query, 0]))
        if sum(len(query) for query, _, _ in self.waiting) > PENDING:
            self._settle()

    def _margin(self, product: Tensor, block: Block) -> Tensor:
        """How far a similarity can be from the true one, (n, 1): what both factors lack, and the product's rounding."""
        factors = (self.length + self.lost) * block.lost + self.lost * block.reach
        scale = 1.0 if block.scale is None else float(block.scale.abs().amax())
        largest = product.abs().amax(1, keepdim=True) * scale
        most = torch.minimum(largest, self.length * block.reach * (1 + ROUNDING))
        return factors + ROUNDING * most + self.sums * self.length * block.reach

    def found(self) -> tuple[Tensor, Tensor]:
        """Values and rows (n, k)."""
        self._settle()
        if self.kept is None or bool((self.kept[1] < 0).any()):
            raise ValueError(f"k must be at most the number of rows, got {self.k}.")
        return self.kept

    def _settle(self) -> None:
        """Compares in full whoever still can be among the nearest, and keeps the nearest of them."""
        if not self.waiting:
            return
        query, row, most = (torch.cat(part) for part in zip(*self.waiting, strict=True))
        self.waiting = []
        # A limit that came from rows known in full is no bound on what `exact` adds to a query, so bounds stay coarse.
        stays = most >= self.best[query, -1]
        query, row = query[stays], row[stays]
        values = torch.full((len(self.queries), 0), -torch.inf)
        rows, place = row.unique(return_inverse=True)
        full = torch.full((len(self.queries), len(rows)), -torch.inf)
        for start in range(0, len(rows), PENDING // 64):
            part = slice(start, start + PENDING // 64)
            full[:, part] = self.exact(rows[part])
        mine = torch.zeros(full.shape, dtype=torch.bool)
        mine[query, place] = True
        values = full.masked_fill(~mine, -torch.inf)
        every = rows.expand(len(values), -1)
        if self.kept is not None:  # rows seen before come first: of equals the first row is taken
            values = torch.cat([self.kept[0], values], dim=1)
            every = torch.cat([self.kept[1], every], dim=1)
        lacking = max(0, self.k - values.shape[1])
        values = torch.nn.functional.pad(values, (0, lacking), value=-torch.inf)
        every = torch.nn.functional.pad(every, (0, lacking), value=-1)
        order = values.sort(dim=1, descending=True, stable=True)
        kept, chosen = order.values[:, : self.k], every.gather(1, order.indices[:, : self.k])
        self.kept = kept, chosen.masked_fill(kept == -torch.inf, -1)


def _in_groups(similarity: Tensor) -> Tensor:
    """Columns (n, m) as (n, groups, GROUP); the last group is filled up with minus infinity."""
    lacking = -similarity.shape[1] % GROUP
    if lacking:
        similarity = torch.nn.functional.pad(similarity, (0, lacking), value=-torch.inf)
    return similarity.view(len(similarity), -1, GROUP)


def _product(low: Tensor, queries: Tensor, coarse: Tensor) -> Tensor:
    if bfloat16_pays(torch.get_num_threads()):
        return low @ coarse.T
    return gemm.mm(queries, coarse.float().T)


@lru_cache(maxsize=8)
def bfloat16_pays(n_threads: int) -> bool:
    """Whether this processor multiplies bfloat16 faster than float32; looked at once for each number of threads."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 512, generator=generator) for n in (32, 4096))
    seconds = []
    for x, y in ((a, b), (a.bfloat16(), b.bfloat16())):
        taken = []
        for _ in range(4):
            start = time.perf_counter()
            _ = x @ y.T
            taken.append(time.perf_counter() - start)
        seconds.append(min(taken[1:]))
    return seconds[1] < seconds[0]
