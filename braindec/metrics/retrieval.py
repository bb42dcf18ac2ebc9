"""Retrieval: is the true entry of a fixed gallery among the nearest ones?"""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.nearest import hits_at, ranks_in
from braindec.metrics import Metric


def image_retrieval(similarity: Tensor, truth: Tensor, *, k: int = 1) -> Tensor:
    """Whether each brain response has its own image among the k most similar of the gallery.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
        Rows are brain responses, columns gallery images; any unit, larger is more similar.
    truth : integer Tensor, shape (n_queries,)
        Column of the image that was presented.
    k : int
        >= 1; more than the gallery holds counts as the whole gallery.

    Returns
    -------
    Tensor of float64, shape (n_queries,)
        0 or 1; ties with the truth are broken at random in expectation, so a constant prediction scores k / n_gallery.
    """
    check_gallery(similarity, truth)
    return hits_at(min(k, similarity.shape[1]), *ranks_in(similarity, truth))


def brain_retrieval(similarity: Tensor, truth: Tensor) -> Tensor:
    """Whether each presented image has its own brain response as the most similar one.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
        Rows are brain responses, columns gallery images.
    truth : integer Tensor, shape (n_queries,)
        Column of the image that was presented; unique, because an image's own response must be one row.

    Returns
    -------
    Tensor of float64, shape (n_queries,)
        In the order of the brain responses; the gallery of this direction are the `n_queries` responses.

    Raises
    ------
    ValueError
        If two responses belong to one image: average its repeats first.
    """
    return hits_at(1, *ranks_in(by_image(similarity, truth), torch.arange(len(truth), device=truth.device)))


def by_image(similarity: Tensor, truth: Tensor) -> Tensor:
    """Similarity of every presented image (row) to every brain response (column), own pairs on the diagonal.

    Raises
    ------
    ValueError
        If two responses belong to one image.
    """
    check_gallery(similarity, truth)
    if len(truth.unique()) != len(truth):
        raise ValueError(
            f"truth names {len(truth.unique())} images for {len(truth)} responses; brain retrieval needs one response "
            "an image: average repeats before or after the model."
        )
    return similarity[:, truth].T.contiguous()


def top1_chance(n_gallery: int) -> float:
    """1 / n_gallery."""
    return 1.0 / n_gallery


def top5_chance(n_gallery: int) -> float:
    """min(5, n_gallery) / n_gallery."""
    return min(5, n_gallery) / n_gallery


def _top5(similarity: Tensor, truth: Tensor) -> Tensor:
    return image_retrieval(similarity, truth, k=5)


def check_gallery(similarity: Tensor, truth: Tensor) -> None:
    """Refuses similarities that are not finite, and truths that are no column of the gallery."""
    checks.n_axes("similarity", similarity, ("query", "gallery"))
    checks.same_length("query", similarity=similarity, truth=truth)
    checks.finite("similarity", similarity)
    checks.in_range("truth", int(truth.min()), 0, similarity.shape[1] - 1)
    checks.in_range("truth", int(truth.max()), 0, similarity.shape[1] - 1)


_SOURCE = "Scotti et al. 2023, arXiv:2305.18274, section 3.1 (after Lin et al. 2022); ties at their mid-rank"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("image_retrieval_top1", "similarity", top1_chance, "higher", _SOURCE, image_retrieval),
        Metric("image_retrieval_top5", "similarity", top5_chance, "higher", _SOURCE, _top5),
        Metric("brain_retrieval_top1", "similarity", top1_chance, "higher", _SOURCE, brain_retrieval),
    )
}
