"""A gain and a bias for every shared channel or voxel: the least that a subject may have of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import SharedPart, SubjectAdapter, check_signal
from braindec.adapters._moments import SHARES, mean_of
from braindec.adapters.spatial_merger import Config as MergerConfig
from braindec.adapters.spatial_merger import Merger, flattened
from braindec.maths.folds import Folds, parts_of
from braindec.types import SensorSpace, SubjectSignal


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    mapping : {"none", "linear", "merger"}
        What all subjects share before gain and bias. ``"none"``: the signal itself, for equal montages or a common
        anatomical space. ``"linear"``: one matrix over all signal values, for signals of equal shape. ``"merger"``: the
        attention over sensors' places of `spatial_merger`, for any montage.
    shared_dim : int
        Shared values of ``"linear"``, virtual channels of ``"merger"``.
    n_frequencies, drop_radius
        Of ``"merger"``, as in `spatial_merger`.

    Notes
    -----
    Channels of M/EEG have one gain and one bias over all times. MindEye3's code (2026) has such adapters.
    """

    mapping: Literal["none", "linear", "merger"] = "none"
    shared_dim: int = 64
    n_frequencies: int = 16
    drop_radius: float = 0.2

    def __post_init__(self) -> None:
        checks.one_of("mapping", self.mapping, ["none", "linear", "merger"])
        checks.at_least("shared_dim", self.shared_dim, 1)
        checks.in_range("n_frequencies", self.n_frequencies, 2, 64)
        checks.in_range("drop_radius", self.drop_radius, 0.0, 1.0)

    @property
    def merger(self) -> MergerConfig:
        """Settings of the shared merger; its first matrix is the one that subjects scale."""
        return MergerConfig(self.shared_dim, self.n_frequencies, self.drop_radius)


class CommonLinear(SharedPart):
    """One matrix from all signal values, the same for every subject: (n_trials, n_values) in."""

    def __init__(self, n_values: int, shared_dim: int):
        super().__init__()
        self.linear = nn.Linear(n_values, shared_dim, bias=False)

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, shared_dim)."""
        values: Tensor = self.linear(signal.flatten(1))
        return values


class GainBias(SubjectAdapter):
    """Gain and bias of each first-axis entry of what the shared mapping gives.

    Parameters
    ----------
    signal_shape, shared_shape : tuple of int
    """

    takes_map = False

    def __init__(self, signal_shape: tuple[int, ...], shared_shape: tuple[int, ...]):
        super().__init__()
        self.signal_shape, self.shared_shape = tuple(signal_shape), tuple(shared_shape)
        self.gain = nn.Parameter(torch.ones(shared_shape[0]))
        self.bias = nn.Parameter(torch.zeros(shared_shape[0]))

    def mapped(self, signal: Tensor) -> Tensor:
        """What gain and bias are applied to: (n_trials, *shared_shape)."""
        return signal

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, *shared_shape)."""
        to_axes = (-1, *[1] * (len(self.shared_shape) - 1))
        return self.mapped(signal) * self.gain.view(to_axes) + self.bias.view(to_axes)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a map between different channels has no place here."""
        return False

    @torch.no_grad()
    def start_from_pairs_(self, signal: Tensor, shared: Tensor, folds: Folds) -> bool:
        """Regression of each channel's wanted on its mapped values, drawn to the common gain as held-out trials say."""
        training = self.training
        self.eval()
        x, y = (_by_channel(values) for values in (self.mapped(signal), shared))
        self.train(training)
        parts = [parts_of(len(x), fold) for fold in folds]
        errors = [sum(_held_out_error(x, y, test, kept, share) for test, kept in parts) for share in SHARES]
        gain, bias = _lines(x, y, SHARES[int(np.argmin(errors))])
        self.gain.copy_(gain)
        self.bias.copy_(bias)
        return True

    @torch.no_grad()
    def start_from_subjects_(self, others: Sequence[SubjectAdapter]) -> bool:
        """The mean gain and bias of the other subjects, where they have as many."""
        alike = [o for o in others if isinstance(o, GainBias) and o.shared_shape == self.shared_shape]
        if not alike:
            return False
        self.gain.copy_(mean_of([o.gain for o in alike]))
        self.bias.copy_(mean_of([o.bias for o in alike]))
        return True


class MappedGainBias(GainBias):
    """Gain and bias of the values of the common matrix."""

    def mapped(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, shared_dim)."""
        values: Tensor = self.shared(signal)
        return values


class MergedGainBias(GainBias):
    """Gain and bias of virtual channels, merged from sensors at `positions` (n_channels, 2), NaN where unknown."""

    positions: Tensor
    known: Tensor

    def __init__(self, positions: Tensor, n_times: int, config: Config):
        super().__init__((len(positions), n_times), (config.shared_dim, n_times))
        self.drop_radius = config.drop_radius
        self.register_buffer("positions", positions.nan_to_num(0.0))
        self.register_buffer("known", ~positions.isnan().any(1))

    def mapped(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, shared_dim, n_times)."""
        radius = self.drop_radius if self.training else 0.0
        weights, bias = self.shared.of_sensors(self.positions, self.known, radius)
        merged: Tensor = weights @ signal
        return merged if bias is None else merged + bias[:, None]


def _by_channel(values: Tensor) -> Tensor:
    """(n_trials, n_channels[, n_times]) to float64 (n_trials, n_channels, n_times)."""
    return values.double().reshape(len(values), values.shape[1], -1)


def _lines(x: Tensor, y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Gain and bias of each channel, gains drawn to the common one by a share of the channels' mean power."""
    mean_x, mean_y = x.mean((0, 2)), y.mean((0, 2))
    dx = x - mean_x[:, None]
    power, cross = dx.square().sum((0, 2)), (dx * (y - mean_y[:, None])).sum((0, 2))
    tiny = torch.finfo(power.dtype).tiny
    common = cross.sum() / power.sum().clamp_min(tiny)
    penalty = share * power.mean().clamp_min(tiny)
    gain = (cross + penalty * common) / (power + penalty)
    return gain, mean_y - gain * mean_x


def _held_out_error(x: Tensor, y: Tensor, test: Tensor, kept: Tensor, share: float) -> float:
    gain, bias = _lines(x[kept], y[kept], share)
    return float((x[test] * gain[:, None] + bias[:, None] - y[test]).square().sum())


def build_shared(signals: Sequence[SubjectSignal], config: Config) -> SharedPart | None:
    """The mapping before gain and bias, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If ``mapping="linear"`` is asked for signals of different shapes.
    """
    if config.mapping == "none":
        return None
    if config.mapping == "merger":
        return Merger(config.merger)
    for signal in signals:
        if signal.shape != signals[0].shape:
            raise ValueError(
                f"gain_bias after one linear map needs signals of equal shape, but {signals[0].key} has "
                f"{signals[0].shape} and {signal.key} {signal.shape}; take the adapter low_rank or mapping='merger'."
            )
    return CommonLinear(math.prod(signals[0].shape), config.shared_dim)


def build(signal: SubjectSignal, config: Config) -> GainBias:
    """The adapter of one subject: gains of 1 and biases of 0.

    Raises
    ------
    ValueError
        If ``mapping="merger"`` is asked for a signal without time axis or without a sensor of known place.
    TypeError
        If its space is then not one of sensors.
    """
    if config.mapping == "none":
        return GainBias(signal.shape, signal.shape)
    if config.mapping == "linear":
        return MappedGainBias(signal.shape, (config.shared_dim,))
    _, n_times = check_signal(signal, ("channel", "time"))
    space = checks.of_type(f"space of {signal.key}", signal.space, SensorSpace)
    positions = flattened(space.positions)
    if not np.isfinite(positions).all(1).any():
        raise ValueError(f"{signal.key} has no sensor with a known position; set a montage.")
    return MergedGainBias(torch.from_numpy(positions.astype(np.float32)), n_times, config)
