"""Retrieval among pools of a fixed size, as the exact expectation over all pools of the gallery."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from braindec.maths.nearest import ranks_in
from braindec.metrics import Metric
from braindec.metrics.retrieval import by_image, check_gallery
from braindec.stats.pools import expected_hits

POOL = 300  # Lin et al. 2022 and Scotti et al. 2023


def image_retrieval_in_pool(similarity: Tensor, truth: Tensor, *, k: int = 1, pool: int = POOL) -> Tensor:
    """Chance of each brain response to have its own image among the `k` most similar of a random pool.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
        Rows are brain responses, columns gallery images; any unit, larger is more similar.
    truth : integer Tensor, shape (n_queries,)
        Column of the image that was presented.
    k, pool : int
        A gallery smaller than the pool is one pool.

    Returns
    -------
    Tensor of float64, shape (n_queries,)
    """
    check_gallery(similarity, truth)
    n_gallery = similarity.shape[1]
    better, tied = ranks_in(similarity, truth)
    return torch.from_numpy(expected_hits(k, better, tied, n_gallery, min(pool, n_gallery)))


def brain_retrieval_in_pool(similarity: Tensor, truth: Tensor, *, k: int = 1, pool: int = POOL) -> Tensor:
    """Chance of each presented image to have its own response among the `k` nearest of a random pool of responses."""
    own = torch.arange(len(truth), device=truth.device)
    return image_retrieval_in_pool(by_image(similarity, truth), own, k=k, pool=pool)


def pool_chance(n_gallery: int) -> float:
    """1 / 300, or one over the gallery where it is smaller."""
    return 1.0 / min(POOL, n_gallery)


_SOURCE = (
    "Scotti et al. 2023, arXiv:2305.18274: top-1 of 300; here the exact expectation over pools (hypergeometric in the "
    "rank) instead of 30 draws; ties at their mid-rank"
)

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "image_retrieval_top1_of_300", "similarity", pool_chance, "higher", _SOURCE,
            partial(image_retrieval_in_pool, k=1, pool=POOL),
        ),
        Metric(
            "brain_retrieval_top1_of_300", "similarity", pool_chance, "higher", _SOURCE,
            partial(brain_retrieval_in_pool, k=1, pool=POOL),
        ),
    )
}  # fmt: skip
