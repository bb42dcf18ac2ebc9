"""Contrast and regression together: a prediction shall be told from others', and lie where its target lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.losses import Loss, Mix, clip
from braindec.losses._contrast import check_batch


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    contrast : float
        Share of InfoNCE in the loss, in [0, 1]; the rest is the mean squared error. The paper tunes it, 0.5 is ours.
    temperature, learned, direction, chunk
        Of InfoNCE; see `losses.clip.Config`.

    Notes
    -----
    Benchetrit et al. 2024, arXiv:2310.19812, section 2: lambda L_CLIP + (1 - lambda) L_MSE, for MEG.
    """

    contrast: float = 0.5
    temperature: float = 0.07
    learned: bool = False
    direction: Literal["both", "to_target", "to_prediction"] = "both"
    chunk: int = 0

    def __post_init__(self) -> None:
        checks.in_range("contrast", self.contrast, 0.0, 1.0)
        self.clip()

    def clip(self) -> clip.Config:
        """InfoNCE's own settings."""
        return clip.Config(self.temperature, self.learned, direction=self.direction, chunk=self.chunk)


class RegressionContrastiveLoss(Loss):
    """A weighted mean of InfoNCE and of the mean squared error."""

    def __init__(self, config: Config):
        super().__init__()
        self.share = config.contrast
        self.clip = clip.build(config.clip())

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        wanted = target if mix is None else mix.apply(target)
        contrast = self.clip(prediction, target, ids, progress, mix)
        return self.share * contrast + (1 - self.share) * functional.mse_loss(prediction, wanted)


def build(config: Config) -> RegressionContrastiveLoss:
    """The loss."""
    return RegressionContrastiveLoss(config)
