"""Disentanglement: does each latent hold one factor and each factor lie in one latent, and do fits agree on them?

Whole representations are judged, not samples: there is no `Metric` here for a protocol to name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.metrics import Metric

METRICS: dict[str, Metric] = {}  # none has one value a sample
BINS = 10
INFORMATIVE = 0.01  # nats of KL from the prior, mean over samples: Duan et al. 2020
TREES = 20


class Dci(NamedTuple):
    """Disentanglement of each latent (n_latents,), completeness of each factor (n_factors,), both in [0, 1], and means.

    A latent's mean weight is its importance, a factor's is the importance of all latents for it.
    """

    by_latent: Tensor
    by_factor: Tensor
    disentanglement: float
    completeness: float


def mutual_information(latents: Tensor, factors: Tensor, bins: int = BINS) -> Tensor:
    """Nats that each latent says of each factor, float64 (n_latents, n_factors), >= 0.

    Parameters
    ----------
    latents : Tensor, shape (n, n_latents)
        Cut into bins of equally many samples; where there are no more values than bins, each is one.
    factors : int Tensor, shape (n, n_factors)
        Values of factors, any numbers.
    bins : int

    Notes
    -----
    Of counts as they are, which is too much by about (bins - 1) (values - 1) / (2 n) nats.
    """
    n = checks.same_length("sample", latents=latents, factors=factors)
    checks.in_range("bins", bins, 2, n)
    cut = [_binned(column, bins) for column in checks.finite("latents", latents).double().T]
    named = [column.unique(return_inverse=True)[1] for column in factors.T]
    return torch.stack([torch.stack([_shared(one, other) for other in named]) for one in cut])


def mig(latents: Tensor, factors: Tensor, bins: int = BINS) -> Tensor:
    """Mutual information gap of each factor, float64 (n_factors,) in [0, 1]; their mean is the score.

    What the best latent says of a factor less what the second best says, over the factor's entropy.

    Raises
    ------
    ValueError
        If there are fewer than two latents, or a factor does not vary.

    Notes
    -----
    Chen et al. 2018, arXiv:1802.04942, equation 6.
    """
    checks.at_least("number of latents", latents.shape[1], 2)
    entropy = torch.stack([_entropy(torch.unique(f, return_counts=True)[1].double()) for f in factors.T])
    if not bool((entropy > 0).all()):
        raise ValueError("a factor has one value only; leave it out.")
    best = mutual_information(latents, factors, bins).topk(2, 0).values
    return (best[0] - best[1]) / entropy


def dci(importance: Tensor) -> Dci:
    """Disentanglement and completeness of a matrix of importances.

    Parameters
    ----------
    importance : Tensor, shape (n_latents, n_factors)
        >= 0, at least two of each: how much a latent matters where a factor is predicted.

    Notes
    -----
    Eastwood & Williams 2018, ICLR: 1 less the entropy of a latent's (factor's) shares over its largest value. A latent
    that matters for nothing counts nothing.
    """
    checks.n_axes("importance", importance, ("latent", "factor"))
    checks.at_least("smaller side of importance", min(importance.shape), 2)
    r = checks.finite("importance", importance).double()
    if bool((r < 0).any()) or not float(r.sum()) > 0:
        raise ValueError("importance must be >= 0 and not all zero.")
    by_latent, by_factor = (1 - _row_entropy(m) / np.log(m.shape[1]) for m in (r, r.T))
    weight_latent, weight_factor = r.sum(1) / r.sum(), r.sum(0) / r.sum()
    return Dci(
        by_latent,
        by_factor,
        float((weight_latent * by_latent).sum()),
        float((weight_factor * by_factor).sum()),
    )


def importances(latents: Tensor, factors: Tensor, seed: int = 0, trees: int = TREES) -> Tensor:
    """How much each latent matters to a random forest that tells each factor: (n_latents, n_factors), columns sum to 1.

    Parameters
    ----------
    latents : Tensor, shape (n, n_latents)
    factors : int Tensor, shape (n, n_factors)
    seed : int
    trees : int
    """
    from sklearn.ensemble import RandomForestClassifier

    checks.same_length("sample", latents=latents, factors=factors)
    columns = []
    for factor in factors.T:
        forest = RandomForestClassifier(trees, min_samples_leaf=5, random_state=seed)
        columns.append(forest.fit(latents.cpu().numpy(), factor.cpu().numpy()).feature_importances_)
    return torch.from_numpy(np.stack(columns, 1))


def udr(latents: Sequence[Tensor], kl: Sequence[Tensor]) -> Tensor:
    """Unsupervised disentanglement ranking of each of several fits that differ in their seed, float64 (n_fits,).

    1 where every informative latent of a fit is, but for order and sign, one of the others' and of no more; 1 / d where
    all d latents of two fits look alike; no factor is looked at.

    Parameters
    ----------
    latents : sequence of Tensor, shape (n, n_latents)
        Of the same samples, means of the posterior; at least two fits.
    kl : sequence of Tensor, shape (n_latents,)
        Of each latent's posterior from its prior, nats, mean over samples.

    Notes
    -----
    Duan et al. 2020, arXiv:1905.12614, with Spearman's correlation: the median over the other fits of

        (sum over b of I(b) max_a R(a, b)^2 / sum_a R(a, b) + the same with a and b exchanged) / (d_a + d_b)

    over the pairs' informative latents (KL above 0.01). A fit without any has 0.
    """
    checks.at_least("number of fits", checks.same_length("fit", latents=latents, kl=kl), 2)
    standard = [
        _standardised(average_ranks(z.double(), 0))[:, k > INFORMATIVE]
        for z, k in zip(latents, kl, strict=True)
    ]
    n = len(standard)
    pairs = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(i):
            pairs[i, j] = pairs[j, i] = _agreement(standard[i], standard[j])
    return torch.stack([pairs[i][torch.arange(n) != i].quantile(0.5) for i in range(n)])


def _agreement(one: Tensor, other: Tensor) -> Tensor:
    """Of two fits' informative latents, (n, d_a) and (n, d_b), standardised."""
    if not one.shape[1] or not other.shape[1]:
        return torch.tensor(0.0, dtype=torch.float64)
    r = (one.T @ other / len(one)).abs()
    total = sum((m.amax(0).square() / m.sum(0).clamp_min(1e-12)).sum() for m in (r, r.T))
    return torch.as_tensor(total / sum(r.shape))


def _standardised(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(1e-12)


def _binned(values: Tensor, bins: int) -> Tensor:
    known, place = values.unique(return_inverse=True)
    if len(known) <= bins:
        return place
    edges = torch.quantile(
        values, torch.linspace(0, 1, bins + 1, dtype=values.dtype, device=values.device)[1:-1]
    )
    return torch.bucketize(values.contiguous(), edges)


def _shared(one: Tensor, other: Tensor) -> Tensor:
    """Mutual information of two columns of small whole numbers, nats."""
    n_other = int(other.max()) + 1
    joint = torch.bincount(one * n_other + other).double()
    return (_entropy(torch.bincount(one)) + _entropy(torch.bincount(other)) - _entropy(joint)).clamp_min(0.0)


def _entropy(counts: Tensor) -> Tensor:
    """Of counts, nats."""
    share = counts[counts > 0].double() / counts.sum()
    return -(share * share.log()).sum()


def _row_entropy(r: Tensor) -> Tensor:
    """Of each row's shares, nats; the largest there is for a row of zeros."""
    total = r.sum(1, keepdim=True)
    share = torch.where(total > 0, r / total.clamp_min(1e-300), torch.full_like(r, 1 / r.shape[1]))
    return -torch.special.xlogy(share, share).sum(1)
