"""SoftCLIP: the target's own similarities say how near the other stimuli are; before it, a phase on mixed trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from braindec import checks
from braindec.losses import Loss, Mix
from braindec.losses._contrast import check_batch, half_cosine, unit
from braindec.losses._info_nce import AsPublishedByMindEye, Labels, Matches, Neighbours, contrast


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are MindEye's.

    Parameters
    ----------
    mixco_fraction : float
        Share of training, from its beginning, in which trials are mixed (BiMixCo), in [0, 1].
    mixco_temperature : float
        Divides cosine similarities in that phase, > 0.
    mixco_beta : float
        Weights are drawn from Beta(mixco_beta, mixco_beta), > 0; below 1 most are close to 0 or 1.
    mixco_probability : float
        Share of a batch's rows that are mixed, in [0, 1].
    temperature_start, temperature_end : float
        Temperature of the SoftCLIP phase at its beginning and end (half a cosine between them), > 0.
    labels : {"exact", "as_published_by_mindeye"}
        Of mixed trials. Published are wrong ones where a row drew itself as partner, and for every subject of a batch
        but the first (`AsPublishedByMindEye`); there repeats are negatives, too.
    chunk : int
        See `losses.clip.Config`.

    Notes
    -----
    Scotti et al. 2023, arXiv:2305.18274, and 2024, arXiv:2403.11207, with the values of their code.
    """

    mixco_fraction: float = 0.33
    mixco_temperature: float = 0.006
    mixco_beta: float = 0.15
    mixco_probability: float = 0.5
    temperature_start: float = 0.004
    temperature_end: float = 0.0075
    labels: Literal["exact", "as_published_by_mindeye"] = "exact"
    chunk: int = 0

    def __post_init__(self) -> None:
        checks.in_range("mixco_fraction", self.mixco_fraction, 0.0, 1.0)
        checks.in_range("mixco_probability", self.mixco_probability, 0.0, 1.0)
        checks.in_range("mixco_beta", self.mixco_beta, 1e-3, 1e3)
        for name in ("mixco_temperature", "temperature_start", "temperature_end"):
            checks.in_range(name, getattr(self, name), 1e-4, 100.0)
        checks.one_of("labels", self.labels, ("exact", "as_published_by_mindeye"))
        checks.at_least("chunk", self.chunk, 0)


class SoftClipLoss(Loss):
    """InfoNCE on mixed trials while progress < mixco_fraction, SoftCLIP afterwards."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> Mix | None:
        """A partner and a weight for each row, in the mixing phase; None afterwards."""
        if not self._is_mixing(progress):
            return None
        return draw_mixco(n_trials, self.config.mixco_beta, self.config.mixco_probability, generator)

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        check_batch(prediction, target, ids)
        predicted, true = unit(prediction), unit(target)
        mixing = self._is_mixing(progress)
        temperature = self.config.mixco_temperature if mixing else self.temperature(progress)
        scale = true.new_tensor(1 / temperature)
        labels = self._labels(ids, true, mix) if mixing else Neighbours(true, scale, mix)
        return contrast(predicted, true, scale, labels, chunk=self.rows_at_once(self.config.chunk, len(ids)))

    def temperature(self, progress: float) -> float:
        """Temperature of the SoftCLIP phase at this progress in [0, 1]."""
        config = self.config
        share = (progress - config.mixco_fraction) / max(1 - config.mixco_fraction, 1e-9)
        return half_cosine(config.temperature_start, config.temperature_end, share)

    def _labels(self, ids: Tensor, true: Tensor, mix: Mix | None) -> Labels:
        if self.config.labels == "exact" or mix is None:
            return Matches(ids, true.dtype, mix)
        return AsPublishedByMindEye(mix, true.dtype)

    def _is_mixing(self, progress: float) -> bool:
        checks.in_range("progress", progress, 0.0, 1.0)
        return progress < self.config.mixco_fraction


def draw_mixco(n_trials: int, beta: float, probability: float, generator: torch.Generator) -> Mix:
    """A random partner for each row, a weight from Beta(beta, beta), and a coin that decides whether it is mixed.

    Returns
    -------
    Mix
        Of CPU tensors, whatever the generator's device.
    """
    device = generator.device
    partner = torch.randperm(n_trials, generator=generator, device=device).cpu()
    uniform = torch.rand(n_trials, generator=generator, device=device, dtype=torch.float32).cpu()
    mixed = torch.rand(n_trials, generator=generator, device=device).cpu() < probability
    # The inverse of the distribution function: torch's own Beta takes no generator.
    weight = torch.from_numpy(betaincinv(beta, beta, uniform.numpy().astype(np.float64))).to(torch.float32)
    own = torch.arange(n_trials)
    weight = torch.where(mixed, weight, torch.ones(n_trials))
    return Mix(torch.where(mixed, partner, own), weight, partner)


def build(config: Config) -> SoftClipLoss:
    """The loss."""
    return SoftClipLoss(config)
