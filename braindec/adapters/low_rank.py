"""Few directions of each subject's signal, then one map to the shared vector that all subjects have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import Maps, SharedPart, SubjectAdapter, check_map
from braindec.adapters._basis import common_basis
from braindec.types import SubjectSignal


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    shared_dim : int
        Length of the vector that all subjects share.
    rank : int
        Directions of the signal that each subject has of its own, at most `shared_dim`.
    dropout : float
        Share of the signal's values that is dropped in training, in [0, 1).

    Notes
    -----
    A subject brings n_values * rank weights and shared_dim biases instead of n_values * shared_dim weights; the
    shared_dim * rank others are every subject's. The idea is that of shared-response models, Chen et al. 2015
    (NeurIPS), with the rank of the map instead of an orthogonality.
    """

    shared_dim: int = 256
    rank: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        checks.at_least("shared_dim", self.shared_dim, 1)
        checks.in_range("rank", self.rank, 1, self.shared_dim)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class SharedMap(SharedPart):
    """The map from `rank` directions to the shared vector, shape (shared_dim, rank)."""

    def __init__(self, config: Config):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.shared_dim, config.rank))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # nn.Linear's own start

    @torch.no_grad()
    def start_from_maps_(self, maps: Maps, adapters: Sequence[SubjectAdapter]) -> None:
        """Its first rows span the subjects' maps as well as `rank` directions can; adapters then take them."""
        weights = [weight for weight, _ in maps]
        n_rows = weights[0].shape[0]
        n_directions = min(n_rows, self.weight.shape[1])
        self.weight[:n_rows] = 0
        self.weight[:n_rows, :n_directions] = common_basis(weights, n_directions).to(self.weight)


class LowRankAdapter(SubjectAdapter):
    """Dropout, the subject's own directions, the shared map, and the subject's own bias."""

    coupled = True

    def __init__(self, signal_shape: tuple[int, ...], config: Config):
        super().__init__()
        self.signal_shape = tuple(signal_shape)
        self.shared_shape = (config.shared_dim,)
        self.dropout = nn.Dropout(config.dropout)
        self.own = nn.Linear(math.prod(signal_shape), config.rank, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.shared_dim))

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, shared_dim)."""
        directions = self.own(self.dropout(signal.flatten(1)))  # (trial, direction)
        return torch.addmm(self.bias, directions, self.shared.weight.T)

    @torch.no_grad()
    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """The least change of its directions that brings the first rows closest to the map: exact up to `rank` rows.

        Parameters
        ----------
        weight : Tensor, shape (n_rows, n_values)
        bias : Tensor, shape (n_rows,)
        """
        n_rows = check_map(weight, bias, self.own.in_features, self.shared_shape[0])
        rows = self.shared.weight[:n_rows].double()
        own = self.own.weight.double()
        missing = weight.to(own) - rows @ own
        self.own.weight.copy_(own + torch.linalg.pinv(rows) @ missing)
        self.bias[:n_rows] = bias.to(self.bias)
        return True


def build_shared(signals: Sequence[SubjectSignal], config: Config) -> SharedMap:
    """The map that all subjects have in common, drawn from torch's global generator (`seeding.seeded`)."""
    return SharedMap(config)


def build(signal: SubjectSignal, config: Config) -> LowRankAdapter:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`)."""
    return LowRankAdapter(signal.shape, config)
