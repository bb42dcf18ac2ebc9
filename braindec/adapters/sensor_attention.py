"""Attention over sensors by their place on the head: any montage in, the same number of virtual channels out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import SubjectAdapter, check_signal
from braindec.types import SensorSpace, SubjectSignal

# A head with its helmet fits into a cube of this half side, so that one period of the slowest wave spans it, metres.
HALF_SIDE = 0.15


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_virtual : int
        Channels that all subjects share.
    n_frequencies : int
        Waves along each of the three axes of the head; positions become 2 * n_frequencies**3 features.
    dropout : float
        Share of the attention weights that is dropped in training, in [0, 1).

    Notes
    -----
    After the spatial attention of Défossez et al. 2023, doi:10.1038/s42256-023-00714-5, on three-dimensional positions.
    """

    n_virtual: int = 32
    n_frequencies: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        checks.at_least("n_virtual", self.n_virtual, 1)
        checks.in_range("n_frequencies", self.n_frequencies, 1, 12)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class SensorAttention(SubjectAdapter):
    """Each virtual channel is a weighted mean of sensors; weights follow from the sensors' places and what is learned.

    Parameters
    ----------
    positions : Tensor, shape (n_channels, 3)
        Metres in the head frame; NaN where unknown. Such a channel is known by its learned vector alone, which starts
        as long as the others' position features; the others' starts at zero (it then tells sensors of one place
        apart, e.g. the two gradiometers of a MEG triplet).
    n_times : int
    config : Config
    """

    takes_map = False
    place: Tensor

    def __init__(self, positions: Tensor, n_times: int, config: Config):
        super().__init__()
        n_channels = len(positions)
        self.signal_shape = (n_channels, n_times)
        self.shared_shape = (config.n_virtual, n_times)
        place = fourier_features(
            positions, config.n_frequencies
        )  # (channel, feature), unit length, 0 where unknown
        n_features = place.shape[1]
        self.register_buffer("place", place)
        self.queries = nn.Parameter(torch.randn(config.n_virtual, n_features))
        unknown = (place == 0).all(1, keepdim=True)
        learned = torch.randn(n_channels, n_features) / math.sqrt(n_features)
        self.channels = nn.Parameter(torch.where(unknown, learned, torch.zeros_like(learned)))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, n_virtual, n_times)."""
        return self.dropout(self.weights()) @ signal

    def weights(self) -> Tensor:
        """Share of each sensor in each virtual channel: (n_virtual, n_channels), rows sum to 1."""
        # Queries of unit entries and keys of unit length: scores start with an SD of 1, so neither flat nor one-hot.
        return (self.queries @ (self.place + self.channels).T).softmax(1)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a map over all times has no place here."""
        return False


def fourier_features(positions: Tensor, n_frequencies: int) -> Tensor:
    """Cosines and sines of plane waves through the head at each sensor.

    Parameters
    ----------
    positions : Tensor, shape (n_channels, 3)
        Metres in the head frame; NaN where unknown.
    n_frequencies : int
        Waves of 0 to n_frequencies - 1 periods a head along each axis, in all combinations.

    Returns
    -------
    Tensor, shape (n_channels, 2 * n_frequencies**3)
        Of length 1; zeros where the position is unknown.
    """
    counts = torch.arange(n_frequencies, dtype=positions.dtype)
    waves = torch.cartesian_prod(counts, counts, counts).reshape(-1, 3)  # (wave, axis)
    phase = math.pi * (positions / HALF_SIDE) @ waves.T  # (channel, wave)
    features = torch.cat([phase.cos(), phase.sin()], dim=1) / math.sqrt(len(waves))
    return torch.where(features.isfinite(), features, torch.zeros_like(features))


def build(signal: SubjectSignal, config: Config) -> SensorAttention:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the signal has no time axis.
    TypeError
        If its space is not one of sensors.
    """
    _, n_times = check_signal(signal, ("channel", "time"))
    space = checks.of_type(f"space of {signal.key}", signal.space, SensorSpace)
    return SensorAttention(torch.from_numpy(space.positions.astype(np.float32)), n_times, config)
