"""Collapse: do predictions vary as truths do, or does a decoder name the same few things whatever was shown?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.nearest import top_k
from braindec.metrics import Metric

AT_ONCE = 2**23  # values converted to float64 together: 64 MiB


class Collapse(NamedTuple):
    """Effective rank of predictions and of truths, distinct truths that are the nearest of some prediction, and n."""

    rank_predicted: float
    rank_target: float
    n_nearest: int
    n: int


def collapse(predicted: Tensor, target: Tensor) -> Collapse:
    """How many directions predictions use, and how many different truths they point at, beside what truths do.

    Parameters
    ----------
    predicted, target : Tensor, shape (n_items, n_dims)

    Returns
    -------
    Collapse
        Predictions of far lower rank, or that share a handful of nearest truths, reconstruct by kind: a generator
        then shows pictures that look right for the wrong reason.

    Notes
    -----
    Shirakawa et al. 2024, arXiv:2405.10078.
    """
    n = checks.same_length("item", predicted=predicted, target=target)
    _, nearest = top_k(predicted, target, 1, measure="correlation")
    return Collapse(effective_rank(predicted), effective_rank(target), len(nearest.unique()), n)


def effective_rank(values: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values of centred rows.

    Parameters
    ----------
    values : Tensor, shape (n_items, n_dims)

    Returns
    -------
    float
        In [1, min(n_items - 1, n_dims)]; 0 where all rows are equal.

    Notes
    -----
    Roy & Vetterli 2007, EUSIPCO: e^H of the singular values' distribution.
    """
    checks.n_axes("values", values, ("item", "dim"))
    x = checks.finite("values", values)
    # Singular values from the smaller Gram matrix; what rounding leaves there is no direction.
    gram = _gram(x, x.mean(0, dtype=torch.float64))
    squares = torch.linalg.eigvalsh(gram).clamp(min=0)
    floor = squares.max() * len(squares) * torch.finfo(torch.float64).eps
    kept = squares[squares > floor].sqrt()
    if not len(kept) or float(values.abs().max()) * 1e-12 > float(kept.max()):
        return 0.0
    share = kept / kept.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def _gram(x: Tensor, mean: Tensor) -> Tensor:
    """Products of centred rows, or of columns where these are fewer, in float64 without a copy of all of `x`."""
    if len(x) >= x.shape[1]:
        centred = x.double() - mean
        return centred.T @ centred
    total = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for some in torch.arange(x.shape[1]).split(max(1, AT_ONCE // len(x))):
        centred = x[:, some].double() - mean[some]
        total += centred @ centred.T
    return total


def unstructured_share(n: int) -> float:
    """Share of `n` truths that `n` predictions point at, each at any of them alike: 1 - (1 - 1 / n)^n, near 0.63.

    Noise in few dimensions finds some truths more often than others and lies below; a constant is at 1 / n.
    """
    return 1 - (1 - 1 / n) ** n


def nearest_share(presented: Tensor, decoded: Tensor, groups: Tensor | None = None) -> Tensor:
    """One over the number of predictions with the same nearest truth; their mean is the share of truths pointed at.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_dims)
        True and predicted embeddings.
    groups : integer Tensor, shape (n_items,), optional
        Fold of each item: truths of all folds are candidates all the same.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In (0, 1]. Independent unstructured predictions point at about 63 % (1 - 1 / e) of the truths.
    """
    checks.same_length("item", presented=presented, decoded=decoded)
    nearest = top_k(decoded.flatten(1), presented.flatten(1), 1, measure="correlation")[1][:, 0]
    return 1 / torch.bincount(nearest, minlength=len(presented))[nearest].double()


def rank_ratio(predicted: Tensor, target: Tensor) -> float:
    """Effective rank of predictions over that of truths: far below 1 when predictions collapse."""
    return effective_rank(predicted) / max(effective_rank(target), 1.0)


METRICS = {
    "unique_nearest_share": Metric(
        "unique_nearest_share", "vectors", None, "higher",
        "Shirakawa et al. 2024, arXiv:2405.10078: distinct nearest truths of the predictions over their number",
        nearest_share, paired=False,
    )
}  # fmt: skip
