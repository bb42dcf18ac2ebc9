"""One linear map a subject, from all voxels (or all channels at all times) to a shared vector."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import SubjectAdapter, check_map
from braindec.maths.dense import Dense
from braindec.types import SubjectSignal


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    shared_dim : int
        Length of the vector that all subjects share.
    dropout : float
        Share of the signal's values that is dropped in training, in [0, 1).
    each_step : bool
        Map each row of a signal (n_steps, n_values) by the same weights, to (n_steps, shared_dim); else all its values
        at once. A row is one of several responses that belong together (MindEye2's past and future trials).
    """

    shared_dim: int = 256
    dropout: float = 0.0
    each_step: bool = False

    def __post_init__(self) -> None:
        checks.at_least("shared_dim", self.shared_dim, 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class LinearAdapter(SubjectAdapter):
    """Dropout, then one linear layer over the flattened signal, or over each step of it."""

    def __init__(self, signal_shape: tuple[int, ...], config: Config):
        super().__init__()
        self.signal_shape = tuple(signal_shape)
        self.steps = self.signal_shape[:-1] if config.each_step else ()
        self.shared_shape = (*self.steps, config.shared_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = Dense(math.prod(self.signal_shape[len(self.steps) :]), config.shared_dim)

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, *shared_shape)."""
        return self.linear(self.dropout(signal.flatten(1 + len(self.steps))))

    @torch.no_grad()
    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """Takes over the first rows of the map: weight (n_rows, n_values), bias (n_rows,), n_rows <= shared_dim.

        Steps that are mapped alike have no place for a map of all of them.
        """
        if math.prod(self.steps) > 1:
            return False
        n_rows = check_map(weight, bias, self.linear.in_features, self.linear.out_features)
        self.linear.weight[:n_rows] = weight.to(self.linear.weight)
        self.linear.bias[:n_rows] = bias.to(self.linear.bias)
        return True


def build(signal: SubjectSignal, config: Config) -> LinearAdapter:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`)."""
    return LinearAdapter(signal.shape, config)
