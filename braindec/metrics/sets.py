"""Sets of pictures: do the decoded ones, taken together, look like the presented ones?

These compare sets and not pairs: whoever shuffles the decoded pictures scores about the same. They judge a
generator, and say nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric
from braindec.stats.intervals import Interval, t_interval

TILE = 1024  # items a side whose kernels are held together
DEGREE, OFFSET = 3, 1.0  # Binkowski et al. 2018: (x.y / d + 1)^3
FEWEST_FOR_FRECHET = 10_000
N_GROUPS = 10  # left out in turn for the interval of the Frechet distance


class SetDistance(NamedTuple):
    """Distance of two sets of n items, its 95 % interval, and n."""

    value: float
    interval: Interval
    n: int


def kernel_distance(presented: Tensor, decoded: Tensor) -> SetDistance:
    """Kernel inception distance (KID) of two sets of features, all pairs of items used once.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_features)
        At least three items.

    Returns
    -------
    SetDistance
        Unbiased: 0 on average for sets of one distribution, so negative values occur; exactly 0 for equal sets. The
        interval leaves each item out in turn (jackknife) and is a little too wide where the true distance is 0.

    Notes
    -----
    Binkowski et al. 2018, arXiv:1801.01401, with the estimator of Gretton et al. 2012 (lemma 6, eq. 4) that leaves out
    an item's kernel with its own counterpart, because decoded pictures are made from the presented ones. The mean over
    random subsets, as published, estimates the same with more noise.
    """
    values = kernel_distance_per_item(presented, decoded).cpu().numpy()
    n, value = len(values), float(values.mean())
    return SetDistance(value, t_interval(value, float(values.std(ddof=1) / np.sqrt(n)), n), n)


def kernel_distance_per_item(presented: Tensor, decoded: Tensor) -> Tensor:
    """Each item's pseudo-value of the squared maximum mean discrepancy: their mean is the KID, their spread its error.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_features)

    Returns
    -------
    Tensor of float64, shape (n_items,)
        n times the KID of all items less n - 1 times the KID without this one.
    """
    x, y = (_features(name, v) for name, v in (("presented", presented), ("decoded", decoded)))
    n = checks.same_length("item", presented=x, decoded=y)
    checks.at_least("items", n, 3)
    checks.same_length("feature", presented=x.T, decoded=y.T)
    total = torch.zeros(n, dtype=torch.float64, device=x.device)
    for rows in _blocks(n):
        for columns in _blocks(n):
            h = _kernel(x[rows], x[columns]) + _kernel(y[rows], y[columns])
            h -= _kernel(x[rows], y[columns]) + _kernel(y[rows], x[columns])
            if rows == columns:
                h.fill_diagonal_(0.0)
            total[rows] += h.sum(1)
    mean = total / (n - 1)  # over the other items j: k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)
    left_out = (n * mean.mean() - 2 * mean) / (n - 2)  # each pair holds two items
    return n * mean.mean() - (n - 1) * left_out


def frechet_distance(presented: Tensor, decoded: Tensor) -> SetDistance:
    """Frechet inception distance (FID) of two large sets of features.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_features)
        More than 10,000 items.

    Returns
    -------
    SetDistance
        >= 0; the interval leaves out a tenth of the items in turn (jackknife of ten groups).

    Raises
    ------
    ValueError
        With 10,000 items or fewer.

    Notes
    -----
    Heusel et al. 2017, arXiv:1706.08500.
    """
    x, y = (_features(name, v).cpu().numpy() for name, v in (("presented", presented), ("decoded", decoded)))
    n = checks.same_length("item", presented=x, decoded=y)
    if n <= FEWEST_FOR_FRECHET:
        raise ValueError(
            f"the Frechet distance of {n} items is mostly bias, which differs between models (Chong & Forsyth 2020, "
            f"arXiv:1911.07023); it needs more than {FEWEST_FOR_FRECHET}. Use kernel_distance (KID), which is unbiased."
        )
    group = np.arange(n) % N_GROUPS
    value = _frechet(x, y)
    left_out = np.array([_frechet(x[group != g], y[group != g]) for g in range(N_GROUPS)])
    error = float(np.sqrt((N_GROUPS - 1) / N_GROUPS * ((left_out - left_out.mean()) ** 2).sum()))
    return SetDistance(value, t_interval(value, error, N_GROUPS), n)


def _frechet(x: np.ndarray, y: np.ndarray) -> float:
    """|mean difference|^2 + trace(A + B - 2 (A B)^(1/2)) of two sets' means and covariances."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, vectors = np.linalg.eigh(np.atleast_2d(a))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # The eigenvalues of A B are those of the symmetric A^(1/2) B A^(1/2), which is safer to take roots of.
    between = np.linalg.eigvalsh(root @ np.atleast_2d(b) @ root)
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(shift + np.trace(np.atleast_2d(a + b)) - 2 * np.sqrt(np.maximum(between, 0)).sum())


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first.double() @ second.double().T / first.shape[1] + OFFSET) ** DEGREE


def _features(name: str, values: Tensor) -> Tensor:
    return checks.n_axes(name, checks.finite(name, values), ("item", "feature"))


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, TILE):
        yield slice(start, min(start + TILE, n))


_KID = "Binkowski et al. 2018, arXiv:1801.01401: unbiased squared MMD, kernel (x.y / d + 1)^3, all pairs. Network: "

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "kid_inception", "features:inception_v3.avgpool", None, "lower",
            _KID + "Inception-v3 (torchvision)",
            kernel_distance_per_item, paired=False,
        ),
        Metric(
            "kid_effnet_lite0", "features:efficientnet_lite0.pooled", None, "lower",
            _KID + "EfficientNet-Lite0",
            kernel_distance_per_item, paired=False,
        ),
    )
}  # fmt: skip
