"""Convolution over time, then over channels: the small network that EEG and MEG epochs are decoded with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import check_outputs


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are NICE's, made for 250 samples at 250 Hz.

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

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", arXiv:2308.13234.
    """

    n_filters: int = 40
    kernel: int = 25
    pool: int = 51
    stride: int = 5
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("n_filters", "kernel", "pool", "stride"):
            checks.at_least(name, getattr(self, name), 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)

    def n_steps(self, n_times: int) -> int:
        """Time steps that are left of `n_times` samples."""
        return (n_times - self.kernel + 1 - self.pool) // self.stride + 1


class TemporalSpatial(Backbone):
    """Temporal filters, pooling, spatial filters, a 1x1 mixing of filters, and a residual head an output."""

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_channels, n_times = shared_shape
        n = config.n_filters
        # No bias before a norm: it would be subtracted again and never learn. (A published one goes into its mean.)
        self.temporal = nn.Conv2d(1, n, (1, config.kernel), bias=False)
        self.pool = nn.AvgPool2d((1, config.pool), (1, config.stride))
        self.temporal_norm = nn.Sequential(nn.BatchNorm2d(n), nn.ELU())
        self.spatial = nn.Conv2d(n, n, (n_channels, 1), bias=False)
        self.spatial_norm = nn.Sequential(nn.BatchNorm2d(n), nn.ELU(), nn.Dropout(config.dropout))
        self.mix = nn.Conv2d(n, n, 1)
        self.outputs = check_outputs(outputs)
        n_features = config.n_steps(n_times) * n
        # The prefix keeps output names apart from the attributes that every module has.
        self.heads = nn.ModuleDict(
            {
                f"to_{name}": ResidualHead(n_features, shape, config.dropout)
                for name, shape in self.outputs.items()
            }
        )

    def features(self, shared: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, n_steps * n_filters), filters changing fastest."""
        x = self.temporal_norm(
            self.pool(self.temporal(shared.unsqueeze(1)))
        )  # (trial, filter, channel, step)
        x = self.mix(self.spatial_norm(self.spatial(x)))  # (trial, filter, 1, step)
        return x.squeeze(2).transpose(1, 2).flatten(1)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        features = self.features(shared)
        return {name: self.heads[f"to_{name}"](features) for name in self.outputs}

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.outputs)


class ResidualHead(nn.Module):
    """Linear to the output's tokens, a hidden step added to each token, and a norm: (n_trials, n_in) in."""

    def __init__(self, n_in: int, shape: tuple[int, int], dropout: float):
        super().__init__()
        n_tokens, n_dims = shape
        if n_dims < 2:
            raise ValueError(
                f"temporal_spatial ends in a norm over dims, so an output needs 2 dims at least, got {n_dims}."
            )
        self.shape = shape
        self.project = nn.Linear(n_in, n_tokens * n_dims)
        self.hidden = nn.Sequential(nn.GELU(), nn.Linear(n_dims, n_dims), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(n_dims)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in) to (n_trials, n_tokens, n_dims)."""
        tokens = self.project(x).unflatten(1, self.shape)
        return self.norm(tokens + self.hidden(tokens))


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> TemporalSpatial:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis or is too short for kernel and pool.
    """
    if len(shared_shape) != 2:
        raise ValueError(
            f"temporal_spatial needs a shared shape (channel, time), got {shared_shape}; take an adapter that keeps "
            "time, e.g. sensor_attention."
        )
    n_channels, n_times = shared_shape
    if config.n_steps(n_times) < 1:
        raise ValueError(
            f"temporal_spatial with kernel {config.kernel} and pool {config.pool} needs at least "
            f"{config.kernel + config.pool - 1} time samples, got {n_times}; shorten kernel and pool."
        )
    return TemporalSpatial((n_channels, n_times), outputs, config)
