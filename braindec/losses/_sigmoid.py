"""What sigmoid losses share: the scale and the threshold of a batch's similarities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.losses import Loss
from braindec.losses._contrast import exactly

TEMPERATURE = 0.1  # SigLIP, Zhai et al. 2023, arXiv:2303.15343, section 3.2: the log scale starts at log 10
THRESHOLD = 10.0  # same place: the bias starts at -10


def check_settings(temperature: float, threshold: float) -> None:
    """Refuses what is no temperature or no threshold."""
    checks.in_range("temperature", temperature, 1e-4, 100.0)
    checks.in_range("threshold", threshold, 0.0, 100.0)


class SigmoidLoss(Loss):
    """A loss of all pairs of a batch, each by itself, at one temperature and threshold, both learned or neither."""

    log_scale: Tensor
    threshold: Tensor

    def __init__(self, temperature: float, threshold: float, learned: bool):
        super().__init__()
        for name, value in {"log_scale": -math.log(temperature), "threshold": threshold}.items():
            if learned:
                self.register_parameter(name, nn.Parameter(torch.tensor(value)))
            else:
                self.register_buffer(name, torch.tensor(value))

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def logits(self, predicted: Tensor, true: Tensor) -> Tensor:
        """How much each pair of unit vectors (n_trials, n_values) speaks for a match: (n_trials, n_trials)."""
        with exactly(predicted):
            return self.log_scale.exp() * predicted @ true.T - self.threshold
