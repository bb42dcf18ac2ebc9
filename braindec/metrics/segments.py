"""Segments: which stretch of speech or sound was heard, among all candidates of the test part."""

from __future__ import annotations

from functools import partial

from braindec.metrics import Metric
from braindec.metrics.retrieval import image_retrieval


def top_k_chance(k: int, n_gallery: int) -> float:
    """min(k, n_gallery) / n_gallery."""
    return min(k, n_gallery) / n_gallery


_SOURCE = "Defossez et al. 2023, doi:10.1038/s42256-023-00714-5: share of segments among the k best; ties at mid-rank"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            f"segment_retrieval_top{k}", "similarity", partial(top_k_chance, k), "higher", _SOURCE,
            partial(image_retrieval, k=k),
        )
        for k in (1, 5, 10)
    )
}  # fmt: skip
