"""A linear map from the shared values to every output: the bar that other backbones have to clear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import Heads


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    dropout : float
        Share of the shared values that is dropped in training, in [0, 1).
    """

    dropout: float = 0.0

    affine: ClassVar[bool] = True  # whatever its settings, so that it can be solved in closed form

    def __post_init__(self) -> None:
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class LinearBackbone(Backbone):
    """Dropout, then one linear layer an output."""

    def __init__(self, shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.heads = Heads(math.prod(shared_shape), outputs)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""
        return self.heads(self.dropout(shared.flatten(1)))

    def linear_path(self, output: str) -> nn.Linear:
        """The head itself."""
        return self.heads.of(output)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> LinearBackbone:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`)."""
    return LinearBackbone(shared_shape, outputs, config)
