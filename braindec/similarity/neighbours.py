"""Neighbourhoods: whether the stimuli nearest to a stimulus are the same ones on either side."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec.maths.cka import aligned
from braindec.maths.correlation import unit_rows
from braindec.maths.neighbours import nearest_others, overlap, reordered
from braindec.similarity import Measure, two_steps

K = 10  # Huh et al. 2024
SOURCE = "Huh et al. 2024, arXiv:2405.07987"


class Near(NamedTuple):
    """Neighbours (n, k) of each row, and their cosines with it (n, k), float64."""

    rows: Tensor
    values: Tensor


def neighbours(x: Tensor) -> Tensor:
    """The `K` nearest other rows by cosine about the mean (a third of them, where there are fewer than 31 rows)."""
    return nearest_others(x - x.mean(0), min(K, max(1, (len(x) - 1) // 3)))


def mutual(a: Tensor, b: Tensor) -> Tensor:
    """Mean share of neighbours in common, in [0, 1], float64."""
    return overlap(a, b).double().mean() / a.shape[1]


def near(x: Tensor) -> Near:
    """Neighbours with their cosines."""
    rows = neighbours(x)
    scaled = unit_rows(x - x.mean(0)).double()
    # k passes over (n, p), not one array of (n, k, p)
    return Near(rows, torch.stack([(scaled * scaled[column]).sum(1) for column in rows.T], 1))


def local_alignment(a: Near, b: Near) -> Tensor:
    """Kernel alignment of the cosines among neighbours that both sides share, in [-1, 1], float64."""
    return aligned(_local_hsic(a, b), _local_hsic(a, a), _local_hsic(b, b))


def _local_hsic(a: Near, b: Near) -> Tensor:
    """Unbiased HSIC of two kernels that are zero but for neighbours of both sides: n k numbers, no n x n matrix."""
    n = len(a.rows)
    same = a.rows[:, :, None] == b.rows[:, None, :]  # (n, k, l)
    found, which = same.any(2), same.long().argmax(2)
    first = torch.where(found, a.values, 0.0)
    second = torch.where(found, b.values.gather(1, which), 0.0)
    into = torch.zeros(n, dtype=torch.float64, device=first.device)
    columns = [into.index_add(0, a.rows.flatten(), z.flatten()) for z in (first, second)]
    # Being a neighbour is not mutual, so the matrices are not symmetric: both orders of their product count alike.
    cross = (columns[0] @ second.sum(1) + columns[1] @ first.sum(1)) / 2
    trace = (first * second).sum()
    centre = first.sum() * second.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)
    return (trace + centre) / (n * (n - 3))


def _chance(n: int) -> float:
    return min(K, max(1, (n - 1) // 3)) / (n - 1)


MUTUAL = two_steps(neighbours, mutual, reordered)
LOCAL = two_steps(
    near, local_alignment, lambda side, order: Near(reordered(side.rows, order), side.values[order])
)

MEASURES = {
    "mutual_knn": Measure(
        "mutual_knn", MUTUAL[0], True, "permuted_stimuli", f"{SOURCE}, equation 11; {K} neighbours by cosine",
        range=(0.0, 1.0), fewest=5, chance=_chance, under=MUTUAL[1],
    ),
    "cknna": Measure(
        "cknna", LOCAL[0], True, "permuted_stimuli", f"{SOURCE}, equation 13; {K} neighbours, unbiased HSIC", fewest=5,
        under=LOCAL[1],
    ),
}  # fmt: skip
