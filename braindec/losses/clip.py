"""Symmetric InfoNCE: each prediction finds its own stimulus among the batch, and each stimulus its prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch, positives, symmetric_cross_entropy, unit

COLDEST = 0.01  # CLIP clips the learned logit scale at 100, Radford et al. 2021, section 2.5


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    temperature : float
        Divides cosine similarities, > 0; where it is learned, its start.
    learned : bool
        Train the temperature with the weights, never below 0.01.

    Notes
    -----
    Radford et al. 2021, arXiv:2103.00020; rows that show the same stimulus share the label equally.
    """

    temperature: float = 0.07  # CLIP, Radford et al. 2021, section 2.5
    learned: bool = False

    def __post_init__(self) -> None:
        checks.in_range("temperature", self.temperature, COLDEST if self.learned else 1e-4, 100.0)


class ClipLoss(Loss):
    """InfoNCE in both directions at one temperature."""

    def __init__(self, config: Config):
        super().__init__()
        log_scale = torch.tensor(-math.log(config.temperature))
        if config.learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        scale = self.log_scale.clamp_max(-math.log(COLDEST)) if self._is_learned() else self.log_scale
        logits = scale.exp() * unit(prediction) @ unit(target).T
        return symmetric_cross_entropy(logits, positives(ids, logits.dtype), mix)

    def _is_learned(self) -> bool:
        return "log_scale" in self._parameters


def build(config: Config) -> ClipLoss:
    """The loss."""
    return ClipLoss(config)
