"""One minus the cosine of prediction and target: direction counts, length does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class CosineLoss(Loss):
    """Averages 1 - cosine over trials and tokens; in [0, 2]."""

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        wanted = target if mix is None else mix.apply(target)
        return 1 - functional.cosine_similarity(prediction, wanted, dim=-1).mean()


def build(config: Config) -> CosineLoss:
    """The loss."""
    return CosineLoss()
