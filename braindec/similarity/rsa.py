"""Similarity of dissimilarities: correlation distances of two sets of features, compared in every usual way."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from braindec.rdm.comparators import COMPARATORS, compare
from braindec.rdm.distances import correlation, euclidean
from braindec.similarity import Measure


def _function(comparator: str) -> Callable[[Tensor, Tensor], Tensor]:
    # Whitening belongs to squared Euclidean distances: it is their covariance that is taken out.
    distance = euclidean if comparator.startswith("whitened") else correlation

    def function(x: Tensor, y: Tensor) -> Tensor:
        return compare(distance(x.double()), distance(y.double())[None], comparator)[0]

    return function


def _measure(name: str, source: str) -> Measure:
    kept = ("rotation", "scale", "shift") if name.startswith("whitened") else ("scale",)
    return Measure(
        f"rsa_{name}", _function(name), True, "permuted_stimuli", source, unchanged_by=kept, fewest=4
    )


MEASURES = {f"rsa_{name}": _measure(name, c.source) for name, c in COMPARATORS.items()}
