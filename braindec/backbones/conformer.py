"""EEG Conformer: convolutions make tokens of time, a transformer relates them over the whole epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._dropout import Dropout
from braindec.backbones._heads import Heads
from braindec.backbones._token_layer import TokenLayer
from braindec.backbones._tsconv import check_shape

MEMBER = "conformer"


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones at 250 samples.

    Parameters
    ----------
    width : int
        Filters of each convolution, and values a token; a multiple of `n_heads`.
    kernel : int
        Length of the temporal filters, time samples.
    pool, stride : int, optional
        Length and step of the mean that makes a token, in filtered samples; by default a third and a fifteenth of
        them, which of 250 samples are the published 75 and 15.
    n_layers, n_heads : int
        Of the transformer.
    dropout : float
        Share dropped of tokens, attention weights and after both parts of a layer, in [0, 1).

    Notes
    -----
    Song et al. 2023, doi:10.1109/TNSRE.2022.3230250. Ours ends in a norm and a linear head instead of the published
    classifier of three layers, and scales attention by the values of a head, not by those of all heads.
    """

    width: int = 40
    kernel: int = 25
    pool: int | None = None
    stride: int | None = None
    n_layers: int = 6
    n_heads: int = 10
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("width", "kernel", "n_layers", "n_heads"):
            checks.at_least(name, getattr(self, name), 1)
        for name in ("pool", "stride"):
            if getattr(self, name) is not None:
                checks.at_least(name, getattr(self, name), 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        if self.width % self.n_heads:
            raise checks.ConfigError(
                f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}."
            )

    def pooling(self, n_times: int) -> tuple[int, int]:
        """Length and step of the mean, for epochs of so many samples."""
        n_filtered = n_times - self.kernel + 1
        return self.pool or max(n_filtered // 3, 1), self.stride or max(n_filtered // 15, 1)


class Conformer(Backbone):
    """Filters in time and space, tokens, transformer, norm, and a linear head an output over all tokens."""

    first_layers = ("temporal.", "spatial.", "norm.")

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_channels, n_times = shared_shape
        width = config.width
        self.pool, self.stride = config.pooling(n_times)
        self.temporal = nn.Conv2d(1, width, (1, config.kernel), bias=False)
        self.spatial = nn.Conv2d(width, width, (n_channels, 1), bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = Dropout(config.dropout)
        self.mix = nn.Linear(width, width)
        self.layers = nn.Sequential(
            *[TokenLayer(width, config.n_heads, config.dropout) for _ in range(config.n_layers)]
        )
        self.last_norm = nn.LayerNorm(width)
        n_tokens = (n_times - config.kernel + 1 - self.pool) // self.stride + 1
        self.heads = Heads(n_tokens * width, outputs)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        x = nn.functional.elu(self.norm(nn.functional.conv1d(shared, self._filters())))
        pooled = nn.functional.avg_pool1d(x, self.pool, self.stride)  # (trial, filter, token)
        tokens = self.mix(self.dropout(pooled).transpose(1, 2))
        made: dict[str, Tensor] = self.heads(self.last_norm(self.layers(tokens)).flatten(1))
        return made

    def _filters(self) -> Tensor:
        """Both convolutions as one, (width, channel, kernel): nothing bends the signal between them."""
        return torch.einsum("ofc,fk->ock", self.spatial.weight.squeeze(3), self.temporal.weight.flatten(1))

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def build(shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config) -> Conformer:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis or is too short for kernel and pool.
    """
    n_channels, n_times = check_shape(MEMBER, shared_shape)
    needed = config.kernel + (config.pool or 1) - 1
    if n_times < needed:
        raise ValueError(
            f"{MEMBER} with kernel {config.kernel} and pool {config.pool} needs at least {needed} time samples, got "
            f"{n_times}; shorten kernel and pool."
        )
    return Conformer((n_channels, n_times), outputs, config)
