"""InfoNCE: each prediction finds its own stimulus among the batch, and each stimulus its prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch, flat, half_cosine, unit
from braindec.losses._info_nce import info_nce

COLDEST = 0.01  # CLIP clips the learned logit scale at 100, Radford et al. 2021, section 2.5


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are CLIP's and NICE's.

    Parameters
    ----------
    temperature : float
        Divides similarities, > 0; where it is learned or scheduled, its start.
    learned : bool
        Train the temperature with the weights, never below 0.01.
    temperature_end : float, optional
        Where the temperature ends, by half a cosine over training.
    direction : {"both", "to_target", "to_prediction"}
        Each prediction finds its target, each target its prediction, or the mean of both.
    normalise : {"both", "target", "prediction", "neither"}
        Whose rows (all tokens of a trial as one vector) are brought to length 1.
    repeats : {"positives", "negatives"}
        What rows that show the same stimulus are to each other.
    chunk : int
        So many rows are compared with all others at a time, so that memory grows with the batch and not with its
        square; 0 compares all at once, which is faster.

    Notes
    -----
    Radford et al. 2021, arXiv:2103.00020. Speech decoding (Defossez et al. 2023, doi:10.1038/s42256-023-00714-5, and
    its code) is ``Config(temperature=1.0, direction="to_target", normalise="target", repeats="negatives")``; ATM's and
    BrainFLORA's scale of 2.659 without exponential is ``Config(temperature=1 / 2.659, normalise="neither")``.
    """

    temperature: float = 0.07  # CLIP, Radford et al. 2021, section 2.5
    learned: bool = False
    temperature_end: float | None = None
    direction: Literal["both", "to_target", "to_prediction"] = "both"
    normalise: Literal["both", "target", "prediction", "neither"] = "both"
    repeats: Literal["positives", "negatives"] = "positives"
    chunk: int = 0

    def __post_init__(self) -> None:
        checks.in_range("temperature", self.temperature, COLDEST if self.learned else 1e-4, 100.0)
        checks.one_of("direction", self.direction, ("both", "to_target", "to_prediction"))
        checks.one_of("normalise", self.normalise, ("both", "target", "prediction", "neither"))
        checks.one_of("repeats", self.repeats, ("positives", "negatives"))
        checks.at_least("chunk", self.chunk, 0)
        if self.temperature_end is not None:
            checks.in_range("temperature_end", self.temperature_end, 1e-4, 100.0)
            if self.learned:
                raise checks.ConfigError("temperature_end is for a temperature that is not learned.")


class ClipLoss(Loss):
    """InfoNCE at one temperature."""

    log_scale: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
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
        config = self.config
        matches = ids if config.repeats == "positives" else torch.arange(len(ids), device=ids.device)
        predicted = unit(prediction) if config.normalise in ("both", "prediction") else flat(prediction)
        true = unit(target) if config.normalise in ("both", "target") else flat(target)
        return info_nce(
            predicted,
            true,
            matches,
            self.scale(progress),
            chunk=self.rows_at_once(config.chunk, len(ids)),
            mix=mix,
            direction=config.direction,
        )

    def scale(self, progress: float) -> Tensor:
        """One over the temperature at this point of training."""
        config = self.config
        if config.temperature_end is not None:
            now = half_cosine(config.temperature, config.temperature_end, progress)
            return torch.full_like(self.log_scale, 1 / now)
        return (self.log_scale.clamp_max(-math.log(COLDEST)) if config.learned else self.log_scale).exp()


def build(config: Config) -> ClipLoss:
    """The loss."""
    return ClipLoss(config)
