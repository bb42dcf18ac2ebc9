"""Optimal transport between the predictions of a batch and its targets: known pairs, or the two clouds as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch, exactly, flat, unit
from braindec.losses._info_nce import Matches
from braindec.losses._transport import Transport, differentiable, transport


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    align : {"pairs", "clouds"}
        "pairs": the cheapest plan that moves predictions to targets shall be the one that pairs them as they were
        shown. It is InfoNCE whose softmax is over rows and columns at once: no target can be everybody's nearest.
        "clouds": predictions as a set shall lie where targets as a set lie, in whatever order. It knows no pairs:
        use it beside a loss that does, or for trials without a known stimulus.
    epsilon : float
        Of the entropy, in units of the cost, > 0; InfoNCE's temperature. 0 would be Wasserstein's distance.
    normalise : bool
        The cost is 1 - cosine; else half the mean squared difference of values.
    n_iterations : int
        At most; fewer where row and column sums fit.

    Notes
    -----
    "pairs": Kullback-Leibler divergence of the plan from the known pairs, inverse optimal transport; Shi et al. 2023
    (ICML, "Understanding and generalizing contrastive learning from the inverse optimal transport perspective") show
    InfoNCE to be its first half step. "clouds": the debiased divergence of Feydy et al. 2019, arXiv:1810.08278, which
    is zero for equal clouds and no other. Gradients are those of the plan at the end of the iterations.
    """

    align: Literal["pairs", "clouds"] = "pairs"
    epsilon: float = 0.07
    normalise: bool = True
    n_iterations: int = 500

    def __post_init__(self) -> None:
        checks.one_of("align", self.align, ("pairs", "clouds"))
        checks.in_range("epsilon", self.epsilon, 1e-4, 1e4)
        checks.at_least("n_iterations", self.n_iterations, 1)


class SinkhornLoss(Loss):
    """Divergence of plans ("pairs") or of clouds; >= 0."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        with exactly(prediction):
            if self.config.align == "clouds":
                return self._clouds(prediction, target if mix is None else mix.apply(target))
            rows = torch.arange(len(ids), device=ids.device)
            own = flat(prediction).dtype
            return self._pairs(self._cost(prediction, target), Matches(ids, own, mix).of_predictions(rows))

    def _pairs(self, cost: Tensor, labels: Tensor) -> Tensor:
        known = labels / labels.sum()
        a, b = known.sum(1), known.sum(0)
        epsilon = self.config.epsilon
        # Logarithms of the known plan over that of no preference; a pair of no weight adds nothing.
        surprise = torch.xlogy(known, known / (a[:, None] * b).clamp_min(torch.finfo(cost.dtype).tiny)).sum()
        best = self._moved(cost, a, b.clamp_min(torch.finfo(cost.dtype).tiny))
        return surprise + ((known * cost).sum() - differentiable(best, cost)) / epsilon

    def _clouds(self, prediction: Tensor, target: Tensor) -> Tensor:
        even = flat(prediction).new_full((len(prediction),), 1 / len(prediction))
        costs = [
            self._cost(x, y) for x, y in ((prediction, target), (prediction, prediction), (target, target))
        ]
        across, first, second = (differentiable(self._moved(cost, even, even), cost) for cost in costs)
        return across - (first + second) / 2

    def _moved(self, cost: Tensor, a: Tensor, b: Tensor) -> Transport:
        return transport(cost, a, b, epsilon=self.config.epsilon, n_iterations=self.config.n_iterations)

    def _cost(self, x: Tensor, y: Tensor) -> Tensor:
        if self.config.normalise:
            return 1 - unit(x) @ unit(y).T
        x, y = flat(x), flat(y)
        squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return squares / (2 * x.shape[1])


def build(config: Config) -> SinkhornLoss:
    """The loss."""
    return SinkhornLoss(config)
