"""Cycle consistency: shared values shall tell a subject's signal, and survive the way through another subject."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.encoder import Encoder

NAMES = ("reconstruction", "cycle")


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    reconstruction : float
        Weight of the mean squared error of a subject's own signal, built from its shared values, >= 0.
    cycle : float
        Weight of the mean squared difference between shared values and what the next subject's adapter makes of them
        once they are built into that subject's signal, >= 0.

    Notes
    -----
    Wang et al. 2024 (MindBridge), arXiv:2404.07850; its weights, both 1. There is no pair of subjects who need have
    seen the same stimulus. Signals are built by one linear map a subject, which is trained beside the encoder and not
    kept. It costs two more calls of every adapter.
    """

    reconstruction: float = 1.0
    cycle: float = 1.0

    def __post_init__(self) -> None:
        for name in NAMES:
            checks.at_least(f"cycle.{name}", getattr(self, name), 0.0)


class Cycle(nn.Module):
    """The subjects' builders, drawn from torch's global generator (`seeding.seeded`).

    It is no `Loss`: those see predictions and targets, and this needs the adapters. The encoder is handed to it, not
    held, so that its weights stand in one place.
    """

    def __init__(self, encoder: Encoder, config: Config):
        super().__init__()
        self.weights = {name: float(getattr(config, name)) for name in NAMES}
        n_shared = math.prod(encoder.shared_shape)
        self.builders = nn.ModuleDict(
            {key: nn.Linear(n_shared, math.prod(encoder.adapter(key).signal_shape)) for key in encoder.keys}
        )

    def forward(self, encoder: Encoder, signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """What is missed of signals and of shared values.

        Parameters
        ----------
        encoder : Encoder
        signals : mapping of str to Tensor, each shape (n_trials, *signal_shape)
            By signal key. With one subject alone the way leads through its own signal.

        Returns
        -------
        dict of str to dict of str to Tensor
            By signal key ``reconstruction``, shape (n_trials, n_signal_values), and ``cycle``, shape (n_trials,
            n_shared_values).
        """
        keys, missed = list(signals), {}
        for key, other in zip(keys, keys[1:] + keys[:1], strict=True):
            shared = encoder.adapter(key)(signals[key]).flatten(1)
            elsewhere = self.builders[other](shared).unflatten(1, encoder.adapter(other).signal_shape)
            missed[key] = {
                "reconstruction": self.builders[key](shared) - signals[key].flatten(1),
                "cycle": encoder.adapter(other)(elsewhere).flatten(1) - shared,
            }
        return missed

    def losses(self, missed: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The weighted losses by name; every subject counts alike, whatever the size of its signal."""
        return {
            name: weight * torch.stack([parts[name].square().mean() for parts in missed.values()]).mean()
            for name, weight in self.weights.items()
        }
