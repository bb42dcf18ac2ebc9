"""EEGNet: temporal filters, spatial filters of each, and a separable convolution; few weights for few trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._dropout import Dropout
from braindec.backbones._heads import Heads
from braindec.backbones._tsconv import check_shape

MEMBER = "eegnet"


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are EEGNet-8,2's, made for 128 Hz.

    Parameters
    ----------
    n_filters : int
        Temporal filters.
    depth : int
        Spatial filters of each temporal one.
    n_separable : int
        Filters of the separable convolution.
    kernel : int
        Length of the temporal filters, time samples; half a second.
    separable_kernel : int
        Length of the separable filters, in samples after the first pool.
    pool, separable_pool : int
        Samples that become one, after each of the two stages.
    dropout : float
        Share dropped after each stage, in [0, 1): 0.5 within a subject, 0.25 across subjects.
    max_norm : float
        Longest spatial filter, > 0.

    Notes
    -----
    Lawhern et al. 2018, doi:10.1088/1741-2552/aace8c. A spatial filter longer than `max_norm` acts as if it were that
    long, and learns in its direction alone; the published code shortens it after each step instead. The published
    limit of 0.25 on the classes' weights is left out: an embedding has a length of its own. So is the published batch
    norm between temporal and spatial filters: all three are linear and a batch norm follows, which takes back what
    the first one shifts and scales.
    """

    n_filters: int = 8
    depth: int = 2
    n_separable: int = 16
    kernel: int = 64
    separable_kernel: int = 16
    pool: int = 4
    separable_pool: int = 8
    dropout: float = 0.5
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in (
            "n_filters",
            "depth",
            "n_separable",
            "kernel",
            "separable_kernel",
            "pool",
            "separable_pool",
        ):
            checks.at_least(name, getattr(self, name), 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.in_range("max_norm", self.max_norm, 1e-6, 1e6)


class EEGNet(Backbone):
    """Two stages of filters, and a linear head an output."""

    first_layers = ("temporal.", "spatial.", "spatial_norm.")

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_channels, n_times = shared_shape
        n_maps = config.n_filters * config.depth
        self.config = config
        self.temporal = nn.Conv2d(1, config.n_filters, (1, config.kernel), bias=False)
        self.spatial = nn.Conv2d(
            config.n_filters, n_maps, (n_channels, 1), groups=config.n_filters, bias=False
        )
        self.spatial_norm = nn.BatchNorm1d(n_maps)
        self.separable = nn.Conv1d(n_maps, n_maps, config.separable_kernel, groups=n_maps, bias=False)
        self.pointwise = nn.Conv1d(n_maps, config.n_separable, 1, bias=False)
        self.separable_norm = nn.BatchNorm1d(config.n_separable)
        self.dropout = Dropout(config.dropout)
        n_steps = n_times // config.pool // config.separable_pool
        self.heads = Heads(n_steps * config.n_separable, outputs)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        config = self.config
        x = self.spatial_norm(self._filtered(_as_long(shared, config.kernel)))
        x = self.dropout(nn.functional.avg_pool1d(nn.functional.elu(x), config.pool))  # (trial, map, step)
        x = self.pointwise(self.separable(_as_long(x, config.separable_kernel)))
        x = nn.functional.avg_pool1d(nn.functional.elu(self.separable_norm(x)), config.separable_pool)
        made: dict[str, Tensor] = self.heads(self.dropout(x).flatten(1))
        return made

    def _filtered(self, padded: Tensor) -> Tensor:
        """Temporal and spatial filters, (trial, map, time); channels are combined first, so that few are filtered."""
        spatial = _no_longer_than(self.spatial.weight[:, 0, :, 0], self.config.max_norm)  # (map, channel)
        temporal = self.temporal.weight[:, :, 0].repeat_interleave(self.config.depth, 0)  # (map, 1, kernel)
        return nn.functional.conv1d(spatial @ padded, temporal, groups=len(temporal))

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def _as_long(x: Tensor, kernel: int) -> Tensor:
    """Zeros on both sides, so that filters of `kernel` samples leave as many as there were."""
    return nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))


def _no_longer_than(weight: Tensor, limit: float) -> Tensor:
    """Rows longer than the limit are brought to it."""
    return weight * (limit / weight.norm(dim=1, keepdim=True).clamp_min(limit))


def build(shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config) -> EEGNet:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis or is too short for the pools.
    """
    n_channels, n_times = check_shape(MEMBER, shared_shape)
    if n_times < config.pool * config.separable_pool:
        raise ValueError(
            f"{MEMBER} with pool {config.pool} and separable_pool {config.separable_pool} needs at least "
            f"{config.pool * config.separable_pool} time samples, got {n_times}; shorten the pools."
        )
    return EEGNet((n_channels, n_times), outputs, config)
