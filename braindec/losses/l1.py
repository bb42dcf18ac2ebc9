"""Mean absolute difference of prediction and target: a few large errors count less than in a squared one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch


@dataclass(frozen=True)
class Config:
    """Nothing to set; MindEye2 draws its blurry image's latents so (arXiv:2403.11207)."""


class L1Loss(Loss):
    """Averages over trials, tokens and dims, in the target's own units."""

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        return functional.l1_loss(prediction, target if mix is None else mix.apply(target))


def build(config: Config) -> L1Loss:
    """The loss."""
    return L1Loss()
