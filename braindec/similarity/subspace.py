"""Subspaces: how much of what varies most on one side lies in the directions that vary most on the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.similarity import Measure, two_steps

K = 10  # Elsayed et al. 2016 compare subspaces of this size


class Leading(NamedTuple):
    """All scores on principal axes (n, r), of length one, their powers (r,), float64, descending."""

    basis: Tensor
    power: Tensor


def leading(x: Tensor) -> Leading:
    """Principal axes of the stimuli."""
    u, s, _ = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
    kept = s > torch.finfo(x.dtype).eps * max(x.shape) * s[:1]
    return Leading(u[:, kept], s[kept].square())


def size(n: int, *ranks: int) -> int:
    """Dimensions that are compared: 10, fewer of few stimuli or features."""
    return max(1, min(K, n // 4, *ranks))


def overlap(a: Leading, b: Leading) -> Tensor:
    """Mean squared cosine of the principal angles between the leading subspaces, in [0, 1]."""
    k = size(len(a.basis), len(a.power), len(b.power))
    if not min(len(a.power), len(b.power)):
        return a.basis.new_zeros(())
    return (a.basis[:, :k].T @ b.basis[:, :k]).square().sum() / k


def alignment(a: Leading, b: Leading) -> Tensor:
    """Variance of b inside the leading subspace of a, over the most that as many dimensions can hold, in [0, 1]."""
    k = size(len(a.basis), len(a.power), len(b.power))
    if not min(len(a.power), len(b.power)):
        return a.basis.new_zeros(())
    held = ((a.basis[:, :k].T @ b.basis).square() * b.power).sum()
    return (held / b.power[:k].sum()).clamp(0.0, 1.0)


def feature_alignment(x: Tensor, y: Tensor, k: int = K) -> Tensor:
    """The same of two sets of rows over the same features: rows need not belong together.

    Parameters
    ----------
    x : Tensor, shape (n, p)
    y : Tensor, shape (m, p)
    k : int
        Dimensions of the subspace, in [1, min(n, m, p)].

    Returns
    -------
    Tensor, shape (), float64
        In [0, 1]: variance of y in the first k principal directions of x over the variance in its own first k.

    Notes
    -----
    Elsayed et al. 2016, doi:10.1038/ncomms13239, equation 8.
    """
    checks.same_length("feature", x=x.T, y=y.T)
    checks.in_range("k", k, 1, min(len(x), len(y), x.shape[1]))
    directions = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False).Vh[:k]
    centred = (y - y.mean(0)).double()
    power = torch.linalg.svdvals(centred)[:k].square().sum()
    held = (centred @ directions.T).square().sum()
    return held / power if bool(power > 0) else power


def _take(side: Leading, order: Tensor) -> Leading:
    return Leading(side.basis[order], side.power)


OVERLAP = two_steps(leading, overlap, _take)
ALIGNMENT = two_steps(leading, alignment, _take)

MEASURES = {
    "subspace": Measure(
        "subspace", OVERLAP[0], True, "permuted_stimuli",
        f"Bjorck & Golub 1973, doi:10.1090/S0025-5718-1973-0348991-3; of the first {K} principal axes of the stimuli",
        range=(0.0, 1.0), under=OVERLAP[1],
    ),
    "alignment_index": Measure(
        "alignment_index", ALIGNMENT[0], True, "permuted_stimuli",
        f"Elsayed et al. 2016, doi:10.1038/ncomms13239, equation 8, of the first {K} principal axes of the stimuli",
        range=(0.0, 1.0), symmetric=False, under=ALIGNMENT[1],
    ),
}  # fmt: skip
