"""SigLIP: every pair of prediction and target is a yes-or-no question of its own."""

from __future__ import annotations

from dataclasses import dataclass

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
    temperature : float
        Divides cosine similarities, > 0; where it is learned, its start.
    threshold : float
        Subtracted from every scaled similarity, >= 0: most pairs are no match; where it is learned, its start. SigLIP's
        bias with the other sign.
    learned : bool
        Train both with the weights, as SigLIP does.

    Notes
    -----
    Zhai et al. 2023, arXiv:2303.15343. Rows that show the same stimulus are matches; a mixed prediction matches its
    partner's target with probability 1 - weight.
    """

    temperature: float = TEMPERATURE
    threshold: float = THRESHOLD
    learned: bool = False

    def __post_init__(self) -> None:
        check_settings(self.temperature, self.threshold)


class SiglipLoss(SigmoidLoss):
    """Binary cross-entropy of all pairs, by trial."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        logits = self.logits(unit(prediction), unit(target))
        match = (ids[:, None] == ids).to(logits)
        match = match if mix is None else mix.apply(match)  # (prediction, target), probabilities
        return functional.binary_cross_entropy_with_logits(logits, match, reduction="sum") / len(ids)


def build(config: Config) -> SiglipLoss:
    """The loss."""
    return SiglipLoss(config.temperature, config.threshold, config.learned)
