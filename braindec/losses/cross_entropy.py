"""Cross-entropy against a class: the target is a distribution over classes, one-hot where the class is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    label_smoothing : float
        Share of each label that is spread over all classes, in [0, 1).
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        checks.in_range("label_smoothing", self.label_smoothing, 0.0, 0.99)


class CrossEntropyLoss(Loss):
    """Predictions are logits (n_trials, 1, n_classes); targets are probabilities of the same shape."""

    own_space = True

    def __init__(self, config: Config):
        super().__init__()
        self.label_smoothing = config.label_smoothing

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`.

        Raises
        ------
        ValueError
            If the target has more than one token or is no distribution over classes.
        """
        check_batch(prediction, target, ids)
        if target.shape[1] != 1:
            raise ValueError(
                f"cross_entropy needs one token of class probabilities, got {target.shape[1]} tokens."
            )
        if bool((target < -1e-4).any()) or not torch.allclose(
            target.sum(2), torch.ones_like(target[..., 0]), atol=1e-3
        ):
            raise ValueError(
                "cross_entropy needs targets that are class probabilities (each row >= 0 with sum 1), "
                "e.g. the one-hot category target."
            )
        wanted = target if mix is None else mix.apply(target)
        return functional.cross_entropy(prediction[:, 0], wanted[:, 0], label_smoothing=self.label_smoothing)


def build(config: Config) -> CrossEntropyLoss:
    """The loss."""
    return CrossEntropyLoss(config)
