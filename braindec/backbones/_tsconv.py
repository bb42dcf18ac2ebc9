"""The temporal-spatial convolution that NICE and ATM share, and the residual heads behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones._dropout import Dropout
from braindec.backbones._filter_bank import filter_bank, n_steps
from braindec.backbones._heads import check_outputs
from braindec.backbones._normed_filters import normed_filters

VARIANTS = ("ours", "published")


@dataclass(frozen=True)
class Settings:
    """Sizes of the convolution.

    Parameters
    ----------
    n_filters : int
        Filters of each convolution.
    kernel : int
        Length of the temporal filters, time samples.
    pool, stride : int
        Length and step of the mean over time that follows, time samples.
    dropout : float
        Share dropped after the convolutions and inside the heads, in [0, 1).
    n_mixed : int, optional
        Values a step that the filters are mixed into; as many as filters by default.
    """

    n_filters: int = 40
    kernel: int = 25
    pool: int = 51
    stride: int = 5
    dropout: float = 0.5
    n_mixed: int | None = None

    def __post_init__(self) -> None:
        if self.n_mixed is not None:
            checks.at_least("n_mixed", self.n_mixed, 1)
        for name in ("n_filters", "kernel", "pool", "stride"):
            checks.at_least(name, getattr(self, name), 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)

    def n_steps(self, n_times: int) -> int:
        """Time steps that are left of `n_times` samples."""
        return n_steps(n_times, self.kernel, self.pool, self.stride)

    def n_features(self, n_times: int) -> int:
        """Values that the convolution makes of a trial."""
        return self.n_steps(n_times) * (self.n_mixed or self.n_filters)

    def check_times(self, member: str, n_times: int) -> None:
        """Refuses epochs that are too short for the filters and the mean."""
        if self.n_steps(n_times) < 1:
            raise ValueError(
                f"{member} with kernel {self.kernel} and pool {self.pool} needs at least "
                f"{self.kernel + self.pool - 1} time samples, got {n_times}; shorten kernel and pool."
            )


class TSConv(nn.Module):
    """Temporal filters, mean over time, norm, ELU, spatial filters, norm, ELU, dropout, and a mixing of the filters.

    Parameters
    ----------
    n_channels : int
    settings : Settings
    biases : bool
        The published biases of both convolutions, which the norms behind them subtract again: without effect in
        training (``INERT``), part of the running means in evaluation.
    """

    INERT = ("temporal.bias", "spatial.bias")

    def __init__(self, n_channels: int, settings: Settings, *, biases: bool = False):
        super().__init__()
        n = settings.n_filters
        self.settings = settings
        self.temporal = nn.Conv2d(1, n, (1, settings.kernel), bias=biases)
        self.temporal_norm = nn.BatchNorm2d(n)
        self.spatial = nn.Conv2d(n, n, (n_channels, 1), bias=biases)
        self.spatial_norm = nn.BatchNorm2d(n)
        self.dropout = Dropout(settings.dropout)
        self.mix = nn.Conv2d(n, settings.n_mixed or n, 1)

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, n_steps * n_mixed), mixed filters changing fastest."""
        if signal.dtype in (torch.float16, torch.bfloat16):
            signal = signal.float()  # means of neighbouring windows differ by less than a half can tell
        pool, stride = self.settings.pool, self.settings.stride
        filters, shift = normed_filters(signal, self.temporal, self.temporal_norm, pool=pool, stride=stride)
        x = filter_bank(signal, filters, shift, self.spatial.weight.squeeze(3), pool, stride)
        if self.spatial.bias is not None:
            x = x + self.spatial.bias.to(x.dtype)
        x = x.unsqueeze(3).transpose(1, 2)  # (trial, filter, step, 1), filters fastest in memory
        x = self.dropout(nn.functional.elu(self.spatial_norm(x), inplace=True))
        rows = x.squeeze(3).transpose(1, 2)  # (trial, step, filter)
        return nn.functional.linear(rows, self.mix.weight.flatten(1), self.mix.bias).flatten(1)


class ResidualHead(nn.Module):
    """Linear to the output's tokens, a hidden step added to each token, and a norm: (n_trials, n_in) in."""

    def __init__(self, n_in: int, shape: tuple[int, int], dropout: float):
        super().__init__()
        n_tokens, n_dims = shape
        self.shape = shape
        self.project = nn.Linear(n_in, n_tokens * n_dims)
        self.hidden = nn.Sequential(nn.GELU(), nn.Linear(n_dims, n_dims), Dropout(dropout))
        self.norm = nn.LayerNorm(n_dims)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in) to (n_trials, n_tokens, n_dims)."""
        tokens = self.project(x).unflatten(1, self.shape)
        return self.norm(tokens + self.hidden(tokens))


class ResidualHeads(nn.Module):
    """One `ResidualHead` an output: (n_trials, n_in) to {output name: (n_trials, n_tokens, n_dims)}."""

    def __init__(self, member: str, n_in: int, outputs: Mapping[str, tuple[int, int]], dropout: float):
        super().__init__()
        self.outputs = check_outputs(outputs)
        for _, n_dims in self.outputs.values():
            if n_dims < 2:
                raise ValueError(
                    f"{member} ends in a norm over dims, so an output needs 2 dims at least, got {n_dims}."
                )
        # The prefix keeps output names apart from the attributes that every module has.
        self.heads = nn.ModuleDict(
            {f"to_{name}": ResidualHead(n_in, shape, dropout) for name, shape in self.outputs.items()}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_in) to {output name: (n_trials, n_tokens, n_dims)}."""
        return {name: self.heads[f"to_{name}"](x) for name in self.outputs}


def check_shape(member: str, shared_shape: tuple[int, ...]) -> tuple[int, int]:
    """(n_channels, n_times) of a shared shape that has both."""
    if len(shared_shape) != 2:
        raise ValueError(
            f"{member} needs a shared shape (channel, time), got {shared_shape}; take an adapter that keeps "
            "time, e.g. sensor_attention."
        )
    return shared_shape[0], shared_shape[1]


@torch.no_grad()
def start_as_published_(module: nn.Module) -> None:
    """Draws NICE's first weights: N(0, 0.02) for maps, N(1, 0.02) for the gains of batch norms."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.weight.normal_(0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            part.weight.normal_(1.0, 0.02)
