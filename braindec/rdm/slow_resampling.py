"""Bootstrap draws of comparisons that weights alone cannot resample: whitened ones and tau-a, one draw at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.rdm import pairs
from braindec.rdm.ceilings import ceiling_of_products
from braindec.rdm.comparators import compare, unit
from braindec.rdm.discordance import tau_a
from braindec.rdm.rank_resampling import RankDraws

COMPARATORS = ("whitened_cosine", "whitened_correlation", "tau_a")


def gathered_draws(
    data: Tensor, models: Tensor, counts: Tensor, comparator: str, subject_counts: Sequence[Tensor] = ()
) -> RankDraws:
    """Scores and ceilings under resampled conditions; the arguments are those of `rank_resampling.rank_draws`.

    Distances between copies of one condition are missing: of whitened comparisons the best filling is taken out, which
    equals whitening by the covariance of the distances that are there.
    """
    checks.one_of("comparator", comparator, COMPARATORS)
    one = _tau_draw if comparator == "tau_a" else _whitened_draw
    scores: list[Tensor] = []
    limits: list[list[tuple[Tensor, Tensor]]] = [[] for _ in subject_counts]
    for number, count in enumerate(counts):
        chosen = torch.repeat_interleave(
            torch.arange(len(count), device=data.device), count.long().to(data.device)
        )
        occur = [c[number] for c in subject_counts]
        found, ceilings = one(data.double(), models.double(), chosen, comparator, occur)
        scores.append(found)
        for held, ceiling in zip(limits, ceilings, strict=True):
            held.append(ceiling)
    stacked = [tuple(torch.stack(side) for side in zip(*held, strict=True)) for held in limits]
    return RankDraws(torch.stack(scores), [(low, high) for low, high in stacked])


def _whitened_draw(
    data: Tensor, models: Tensor, chosen: Tensor, comparator: str, subjects: Sequence[Tensor]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    rows = pairs.square(torch.cat([data, models]))
    rows = rows.index_select(1, chosen).index_select(2, chosen)
    copies = chosen[:, None] == chosen[None, :]
    if comparator == "whitened_correlation":
        there = (~copies).double()
        mean = (rows * there).sum((1, 2)) / there.sum()
        rows = (rows - mean[:, None, None]) * there
    names, size = chosen.unique(return_counts=True)
    missing = (
        torch.stack([_block(chosen, name) for name in names[size > 1]])
        if bool((size > 1).any())
        else rows[:0]
    )
    vectors, basis = (_centred(x).flatten(1) for x in (rows, missing))
    if len(basis):
        q = torch.linalg.qr(basis.T).Q
        vectors = vectors - (vectors @ q) @ q.T
    vectors = unit(vectors)
    own, other = vectors[: len(data)], vectors[len(data) :]
    return own @ other.T, [ceiling_of_products(own @ own.T, c) for c in subjects]


def _block(chosen: Tensor, name: Tensor) -> Tensor:
    inside = (chosen == name).double()
    return inside[:, None] * inside[None, :] - torch.diag(inside)


def _centred(square: Tensor) -> Tensor:
    rows = square - square.mean(-1, keepdim=True)
    return rows - rows.mean(-2, keepdim=True)


def _tau_draw(
    data: Tensor, models: Tensor, chosen: Tensor, comparator: str, subjects: Sequence[Tensor]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    first, second = (i.long() for i in pairs.pair_indices(len(chosen), data.device))
    a, b = chosen[first], chosen[second]
    low, high = torch.minimum(a, b)[a != b], torch.maximum(a, b)[a != b]
    n = pairs.n_conditions(data.shape[1])
    position = low * n - low * (low + 1) // 2 + high - low - 1
    d, m = data.index_select(1, position), models.index_select(1, position)
    scores = compare(d, m, comparator)
    return scores, [tau_ceilings(d, c) for c in subjects]


def tau_ceilings(data: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper ceiling (subject,) of tau-a, with mean ranks of subjects that occur `counts` times."""
    ranks = average_ranks(data.double())
    occur = counts.to(ranks)
    whole = occur @ ranks
    pools = whole - ranks * occur[:, None]
    lower = torch.stack([tau_a(one, pool) for one, pool in zip(data, pools, strict=True)])
    return lower.masked_fill(occur.sum() - occur <= 0, torch.nan), tau_a(data, whole)
