"""Linear predictivity: how well ridge regression on one side predicts the other side's features of unseen stimuli."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.folds import complement
from braindec.maths.ridge import ridge_predict, solve
from braindec.maths.ridge_scores import named_score
from braindec.similarity import Measure
from braindec.similarity._halves import folds, unit_length

ALPHAS = tuple(10.0**e for e in range(-6, 3))  # of the total variance of the training rows
N_INNER = 4  # folds of training rows, for the penalty
SOURCE = (
    "Schrimpf et al. 2018, doi:10.1101/407007, with ridge: 5 folds of stimuli, the penalty of each feature chosen in 4 "
    "folds of the others; mean correlation over features"
)


class Split(NamedTuple):
    """Held-out and training rows, the held-out features, and the factors of the training rows."""

    test: Tensor
    train: Tensor
    features: Tensor
    factors: RidgeFactors


def splits(x: Tensor) -> list[Split]:
    """Everything of a prediction that does not depend on what is predicted."""
    # Penalties are shares of the total variance, so that a scaled side is predicted from alike.
    scaled = unit_length(x)
    found = []
    for test in folds(len(x)):
        train = complement(len(x), test)
        factors = factorise(scaled[train], folds(len(train), N_INNER))
        found.append(Split(test, train, scaled[test], factors))
    return found


def predicted(ready: list[Split], y: Tensor) -> Tensor:
    """Mean over folds and features of the correlation between held-out features and their prediction."""
    scores = []
    for split in ready:
        fit = solve(split.factors, y[split.train], ALPHAS, per_target=True)
        scores.append(named_score("correlation", ridge_predict(split.features, fit), y[split.test]).mean())
    return torch.stack(scores).mean()


def forward(x: Tensor, y: Tensor) -> Tensor:
    """How well x predicts y, in [-1, 1]; for the other way give y first."""
    return predicted(splits(x), unit_length(y))


def _forward_under(x: Tensor, y: Tensor, orders: Tensor) -> Tensor:
    ready, scaled = splits(x), unit_length(y)
    return torch.stack([predicted(ready, scaled[order]) for order in orders])


MEASURES = {
    "predictivity": Measure(
        "predictivity", forward, True, "permuted_stimuli", f"{SOURCE} of the second side", symmetric=False,
        unchanged_by=("scale", "shift"), of_itself=0.95, fewest=20, under=_forward_under,
    ),
}  # fmt: skip
