"""Soft SigLIP: every pair of prediction and target is a yes-or-no question, and near targets are a weaker no."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch, unit


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are SigLIP's start.

    Parameters
    ----------
    temperature : float
        Divides cosine similarities, > 0; where it is learned, its start.
    threshold : float
        Subtracted from every scaled similarity, >= 0: most pairs are no match; where it is learned, its start. SigLIP's
        bias with the other sign.
    learned : bool
        Train both with the weights.

    Notes
    -----
    Zhai et al. 2023, arXiv:2303.15343, with the soft labels of MindEye2's code (`soft_siglip_loss`): 1 for the own
    target, cosine - 1 for another, which multiplies the logit. Rows that show the same stimulus are matches here,
    and have the label 0, no opinion, there.
    """

    temperature: float = 0.1  # SigLIP, section 3.2: log scale starts at log 10
    threshold: float = 10.0  # SigLIP, section 3.2: the bias starts at -10
    learned: bool = False

    def __post_init__(self) -> None:
        checks.in_range("temperature", self.temperature, 1e-4, 100.0)
        checks.in_range("threshold", self.threshold, 0.0, 100.0)


class SoftSiglipLoss(Loss):
    """Sigmoid cross-entropy of all pairs, by trial."""

    log_scale: Tensor
    threshold: Tensor

    def __init__(self, config: Config):
        super().__init__()
        start = {"log_scale": -math.log(config.temperature), "threshold": config.threshold}
        for name, value in start.items():
            if config.learned:
                self.register_parameter(name, nn.Parameter(torch.tensor(value)))
            else:
                self.register_buffer(name, torch.tensor(value))

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        true = unit(target)
        logits = self.log_scale.exp() * unit(prediction) @ true.T - self.threshold
        labels = torch.where(ids[:, None] == ids[None], 1.0, true @ true.T - 1)  # in [-2, 1]
        if mix is not None:
            labels = mix.apply(labels)
        return -functional.logsigmoid(logits * labels).sum(1).mean()


def build(config: Config) -> SoftSiglipLoss:
    """The loss."""
    return SoftSiglipLoss(config)
