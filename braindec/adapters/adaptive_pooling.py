"""Any number of voxels pooled to a fixed length, then a small network of the subject's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_max_pool1d

from braindec import checks
from braindec.adapters import SubjectAdapter
from braindec.maths import ridge
from braindec.maths.folds import Folds
from braindec.types import SubjectSignal

# Small enough that the linear path decides at first, large enough that a gradient reaches every layer at once.
CURVED_START = 0.01
PENALTIES = tuple(10.0**k for k in range(-2, 8))


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    length : int
        Values that are left after pooling; the published 8192 suits about 15,000 voxels.
    pool : {"max", "mean"}
        Over neighbours in the order of the signal's values.
    shared_dim : int
        Length of the vector that all subjects share.
    bottleneck : int
        Width of the non-linear path beside the linear one; 0 for none.
    dropout : float
        Share of the pooled values that is dropped in training, in [0, 1).
    any_length : bool
        Take trials of any number of values, for which the pooling alone changes; else only the built signal's shape.

    Notes
    -----
    The pooling is MindBridge's, Wang et al. 2024, arXiv:2404.07850. Voxels that come next to each other in an array are
    neighbours along one axis of the brain at most, so a map from all voxels (`linear`, `low_rank`) knows more.
    """

    length: int = 1024
    pool: Literal["max", "mean"] = "max"
    shared_dim: int = 256
    bottleneck: int = 128
    dropout: float = 0.0
    any_length: bool = False

    def __post_init__(self) -> None:
        checks.at_least("length", self.length, 1)
        checks.one_of("pool", self.pool, ["max", "mean"])
        checks.at_least("shared_dim", self.shared_dim, 1)
        checks.at_least("bottleneck", self.bottleneck, 0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class AdaptivePooling(SubjectAdapter):
    """Pooling, dropout, and a linear path with a narrow curved one beside it."""

    takes_map = False

    def __init__(self, signal_shape: tuple[int, ...], config: Config):
        super().__init__()
        self.signal_shape = tuple(signal_shape)
        self.shared_shape = (config.shared_dim,)
        self.length, self.any_length = config.length, config.any_length
        self.pool = adaptive_max_pool1d if config.pool == "max" else adaptive_avg_pool1d
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.length, config.shared_dim)
        self.curved = _curved(config) if config.bottleneck else None

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, shared_dim)."""
        pooled = self.dropout(self.pooled(signal))
        straight: Tensor = self.linear(pooled)
        return straight if self.curved is None else straight + self.curved(pooled)

    def pooled(self, signal: Tensor) -> Tensor:
        """(n_trials, *any shape) to (n_trials, length)."""
        flat = signal.flatten(1)
        if not len(flat):  # torch pools no empty batch
            return flat.new_zeros(0, self.length)
        return self.pool(flat.unsqueeze(1), self.length).squeeze(1)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Any shape with a value in it, where the settings say so."""
        return math.prod(shape) > 0 if self.any_length else super().accepts(shape)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a map from single voxels has no place behind the pooling."""
        return False

    @torch.no_grad()
    def start_from_pairs_(self, signal: Tensor, shared: Tensor, folds: Folds) -> bool:
        """The linear path by ridge from the pooled values to what the curved path leaves of the wanted ones."""
        pooled = self.pooled(signal)
        left = shared if self.curved is None else shared - self.curved(pooled)
        fit = ridge.fit_ridge(pooled, left, PENALTIES, folds, score="neg_mse")
        self.linear.weight.copy_(fit.weights.T)
        self.linear.bias.copy_(fit.intercept)
        return True


def _curved(config: Config) -> nn.Sequential:
    up = nn.Linear(config.bottleneck, config.shared_dim, bias=False)
    with torch.no_grad():
        up.weight.mul_(CURVED_START)
    return nn.Sequential(nn.Linear(config.length, config.bottleneck), nn.GELU(), up)


def build(signal: SubjectSignal, config: Config) -> AdaptivePooling:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`)."""
    return AdaptivePooling(signal.shape, config)
