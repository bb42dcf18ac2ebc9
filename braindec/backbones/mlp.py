"""A residual MLP beside a linear path, so that it begins as a linear decoder and learns what that one misses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import Heads

# Small enough that the linear path decides at first, large enough that a gradient reaches every layer at once.
CURVED_START = 0.01


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    width : int
        Values a trial in the residual stream.
    n_blocks : int
        Residual blocks, >= 0.
    dropout : float
        Share of a block's output that is dropped in training, in [0, 1).
    skip_linear : bool
        Add a linear path from the shared values straight to the outputs.

    Notes
    -----
    The residual blocks follow the idea of MindEye, Scotti et al. 2023, arXiv:2305.18274; the linear path does not.
    """

    width: int = 512
    n_blocks: int = 2
    dropout: float = 0.15
    skip_linear: bool = True

    def __post_init__(self) -> None:
        checks.at_least("width", self.width, 1)
        checks.at_least("n_blocks", self.n_blocks, 0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class ResidualBlock(nn.Module):
    """Adds to (n_trials, width) what one hidden layer makes of it."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, width) to (n_trials, width)."""
        return x + self.layers(x)


class MLPBackbone(Backbone):
    """Norm and projection to `width`, residual blocks, a linear head an output; plus the linear path."""

    first_layers = ("stem.",)

    def __init__(self, shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_in = math.prod(shared_shape)
        self.stem = nn.Sequential(nn.LayerNorm(n_in), nn.Linear(n_in, config.width), nn.GELU())
        self.blocks = nn.Sequential(
            *[ResidualBlock(config.width, config.dropout) for _ in range(config.n_blocks)]
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = Heads(config.width, outputs)
        self.linear = Heads(n_in, outputs) if config.skip_linear else None
        if config.skip_linear:
            self._start_curved_part_small_()

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""
        flat = shared.flatten(1)  # (trial, shared value)
        curved = self.heads(self.norm(self.blocks(self.stem(flat))))
        if self.linear is None:
            return curved
        straight = self.linear(flat)
        return {name: straight[name] + values for name, values in curved.items()}

    def linear_path(self, output: str) -> nn.Linear | None:
        """The layer of the linear path, where the settings ask for one."""
        return None if self.linear is None else self.linear.of(output)

    @torch.no_grad()
    def _start_curved_part_small_(self) -> None:
        for parameter in self.heads.parameters():
            parameter.mul_(CURVED_START)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> MLPBackbone:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`)."""
    return MLPBackbone(shared_shape, outputs, config)
