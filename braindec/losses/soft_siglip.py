"""Soft SigLIP: every pair of prediction and target is a yes-or-no question, and near targets are a weaker no."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from braindec.losses import Mix
from braindec.losses._contrast import check_batch, unit
from braindec.losses._sigmoid import TEMPERATURE, THRESHOLD, SigmoidLoss, check_settings


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are SigLIP's start.

    Parameters
    ----------
    temperature, threshold, learned
        See `losses.siglip.Config`.

    Notes
    -----
    Zhai et al. 2023, arXiv:2303.15343, with the soft labels of MindEye2's code (`soft_siglip_loss`): 1 for the own
    target, cosine - 1 for another, which multiplies the logit. Rows that show the same stimulus are matches here,
    and have the label 0, no opinion, there.
    """

    temperature: float = TEMPERATURE
    threshold: float = THRESHOLD
    learned: bool = False

    def __post_init__(self) -> None:
        check_settings(self.temperature, self.threshold)


class SoftSiglipLoss(SigmoidLoss):
    """Sigmoid cross-entropy of all pairs, by trial."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        true = unit(target)
        labels = torch.where(ids[:, None] == ids[None], 1.0, true @ true.T - 1)  # in [-2, 1]
        if mix is not None:
            labels = mix.apply(labels)
        return -functional.logsigmoid(self.logits(unit(prediction), true) * labels).sum(1).mean()


def build(config: Config) -> SoftSiglipLoss:
    """The loss."""
    return SoftSiglipLoss(config.temperature, config.threshold, config.learned)
