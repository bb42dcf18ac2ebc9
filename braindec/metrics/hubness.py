"""Hubs: gallery entries that are everyone's nearest, and tricks that remove them with the whole test set in hand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric
from braindec.metrics.retrieval import brain_retrieval, check_gallery, image_retrieval, top1_chance


class Hubness(NamedTuple):
    """How unevenly a gallery is retrieved: skewness of how often each entry is among the k nearest of a query (0 when
    even, far above 1 with hubs), and the share of entries that no query retrieves."""

    skewness: float
    never_retrieved: float


def hubness(similarity: Tensor, *, k: int = 10) -> Hubness:
    """Whether a few gallery entries are the nearest ones of many queries.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
        Larger is more similar; transpose it for the other direction.
    k : int
        Nearest entries of a query that count; more than the gallery holds counts as half of it, because all of it is
        everyone's.

    Returns
    -------
    Hubness
        Of random similarities `never_retrieved` is (1 - k / n_gallery) ** n_queries.

    Notes
    -----
    Radovanovic et al. 2010, JMLR 11:2487: third standardised moment of the k-occurrences.
    """
    checks.n_axes("similarity", similarity, ("query", "gallery"))
    checks.finite("similarity", similarity)
    checks.at_least("k", k, 1)
    n_gallery = similarity.shape[1]
    nearest = similarity.topk(k if k < n_gallery else max(1, n_gallery // 2), dim=1).indices
    times = torch.bincount(nearest.flatten(), minlength=n_gallery).double()
    centred = times - times.mean()
    spread = centred.square().mean().sqrt()
    skewness = float((centred**3).mean() / spread**3) if float(spread) > 0 else 0.0
    return Hubness(skewness, float((times == 0).double().mean()))


def csls(similarity: Tensor, *, k: int = 10) -> Tensor:
    """Similarities from which hubs are taken out: less each side's mean similarity to its k nearest of the other side.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
    k : int
        Nearest ones that count, at most what there are.

    Returns
    -------
    Tensor, shape (n_queries, n_gallery)
        It uses all queries of the test set at once.

    Notes
    -----
    Conneau et al. 2018, arXiv:1710.04087, cross-domain similarity local scaling.
    """
    checks.n_axes("similarity", similarity, ("query", "gallery"))
    of_query = similarity.topk(min(k, similarity.shape[1]), dim=1).values.mean(1, keepdim=True)
    of_entry = similarity.topk(min(k, similarity.shape[0]), dim=0).values.mean(0, keepdim=True)
    return 2 * similarity - of_query - of_entry


def one_to_one(similarity: Tensor, truth: Tensor) -> Tensor:
    """Whether each query gets its own entry when no two queries may take the same one.

    Parameters
    ----------
    similarity : Tensor, shape (n_queries, n_gallery)
    truth : integer Tensor, shape (n_queries,)

    Returns
    -------
    Tensor of float64, shape (n_queries,)
        0 or 1. It needs to know that every entry was shown once, and all queries of the test set at once. Of equally
        good assignments one in no order is taken, the same each time: a constant prediction is at chance.

    Notes
    -----
    The assignment of largest total similarity (scipy's `linear_sum_assignment`).
    """
    check_gallery(similarity, truth)
    # The solver gives tied queries the entries in their order, which is that of their truths.
    order = torch.randperm(similarity.shape[1], generator=torch.Generator().manual_seed(0))
    rows, columns = linear_sum_assignment(similarity.double().cpu()[:, order].numpy(), maximize=True)
    taken = torch.full((len(truth),), -1, dtype=torch.int64)
    taken[torch.as_tensor(rows)] = order[torch.as_tensor(columns, dtype=torch.int64)]
    return (taken == truth.cpu()).double()


def _csls_top1(similarity: Tensor, truth: Tensor) -> Tensor:
    return image_retrieval(csls(similarity), truth)


def _csls_brain(similarity: Tensor, truth: Tensor) -> Tensor:
    return brain_retrieval(csls(similarity), truth)


_CSLS = (
    "Conneau et al. 2018, arXiv:1710.04087: cross-domain local scaling over the whole test set, 10 neighbours"
)
_ASSIGNED = "Assignment of largest total similarity: knows that every image was shown once"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "image_retrieval_top1_csls", "similarity", top1_chance, "higher", _CSLS, _csls_top1, whole_test_set=True
        ),
        Metric(
            "brain_retrieval_top1_csls", "similarity", top1_chance, "higher", _CSLS, _csls_brain, whole_test_set=True
        ),
        Metric(
            "image_retrieval_top1_one_to_one", "similarity", top1_chance, "higher", _ASSIGNED, one_to_one,
            whole_test_set=True,
        ),
    )
}  # fmt: skip
