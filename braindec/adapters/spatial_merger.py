"""Sensors merged into virtual channels by their place on the head, then a matrix for every subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.adapters import SharedPart, SubjectAdapter, check_signal
from braindec.adapters._moments import mean_of, ridge_of_features
from braindec.maths.folds import Folds
from braindec.types import SensorSpace, SubjectSignal

MARGIN = 0.2  # around the unit square of positions inside one period of the waves; the published value


@dataclass(frozen=True)
class Config:
    """Settings; the published decoder has 270 virtual channels, 32 frequencies and all else as here.

    Parameters
    ----------
    n_virtual : int
        Channels that all subjects share.
    n_frequencies : int
        Waves along each axis of the flattened head; a position becomes 2 * n_frequencies**2 features.
    drop_radius : float
        In training, sensors closer than this to a random point of the unit square are left out of a step; 0 for none.
    initial_linear : bool
        A matrix and a bias over virtual channels that all subjects share, before the subjects' own.

    Notes
    -----
    Défossez et al. 2023, doi:10.1038/s42256-023-00714-5. Attention, shared matrix and the subject's own are one matrix
    from sensors to virtual channels, which is made once a step and meets the signal in a single product.
    """

    n_virtual: int = 64
    n_frequencies: int = 16
    drop_radius: float = 0.2
    initial_linear: bool = True

    def __post_init__(self) -> None:
        checks.at_least("n_virtual", self.n_virtual, 1)
        checks.in_range("n_frequencies", self.n_frequencies, 2, 64)
        checks.in_range("drop_radius", self.drop_radius, 0.0, 1.0)


class Merger(SharedPart):
    """What subjects have in common: a head of attention for each virtual channel, and the first matrix."""

    def __init__(self, config: Config):
        super().__init__()
        n_features = 2 * config.n_frequencies**2
        self.heads = nn.Parameter(torch.randn(config.n_virtual, n_features) / math.sqrt(n_features))
        self.linear = nn.Linear(config.n_virtual, config.n_virtual) if config.initial_linear else None

    def forward(self, positions: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor | None]:
        """The matrix from sensors to virtual channels, and the bias of these; one for each leading index.

        Parameters
        ----------
        positions : Tensor, shape (..., n_channels, 2)
            In the unit square.
        left_out : bool Tensor, shape (..., n_channels)
            Sensors whose score is minus infinity.

        Returns
        -------
        Tensor, shape (..., n_virtual, n_channels)
        Tensor, shape (n_virtual,), or None
        """
        n_frequencies = math.isqrt(self.heads.shape[1] // 2)
        features = fourier_features(positions, n_frequencies).to(self.heads)  # (..., channel, feature)
        scores = self.heads @ features.transpose(-1, -2)
        weights = scores.masked_fill(left_out.unsqueeze(-2), -math.inf).softmax(-1)
        return (weights, None) if self.linear is None else (self.linear.weight @ weights, self.linear.bias)

    def of_sensors(self, positions: Tensor, known: Tensor, radius: float) -> tuple[Tensor, Tensor | None]:
        """What it is for sensors, without those of no known place and without those around a random point.

        Parameters
        ----------
        positions : Tensor, shape (n_channels, 2)
        known : bool Tensor, shape (n_channels,)
        radius : float
            Around the point, drawn from torch's global generator; 0 leaves nothing out.
        """
        return self(positions, left_out(positions, known, radius))

    def through(self, own: Tensor, positions: Tensor, left_out: Tensor, signal: Tensor) -> Tensor:
        """The signal through the common matrix and a subject's own (..., n_virtual, n_virtual), in one product."""
        weights, bias = self(positions, left_out)
        merged = (own @ weights) @ signal
        return merged if bias is None else merged + (own @ bias).unsqueeze(-1)


class SpatialMerger(SubjectAdapter):
    """The subject's sensors through the common merger, then the subject's own matrix over virtual channels.

    Parameters
    ----------
    positions : Tensor, shape (n_channels, 2)
        In the unit square; NaN where unknown: such a sensor is left out.
    n_times : int
    config : Config
    """

    takes_map = False
    positions: Tensor  # 0 where unknown
    known: Tensor

    def __init__(self, positions: Tensor, n_times: int, config: Config):
        super().__init__()
        self.signal_shape = (len(positions), n_times)
        self.shared_shape = (config.n_virtual, n_times)
        self.drop_radius = config.drop_radius
        self.register_buffer("positions", positions.nan_to_num(0.0))
        self.register_buffer("known", ~positions.isnan().any(1))
        self.matrix = nn.Parameter(
            torch.randn(config.n_virtual, config.n_virtual) / math.sqrt(config.n_virtual)
        )

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, n_virtual, n_times)."""
        merged: Tensor = self.shared.through(self.matrix, self.positions, self._left_out(), signal)
        return merged

    def merged(self, signal: Tensor) -> Tensor:
        """What the subject's own matrix is applied to: (n_trials, n_virtual, n_times)."""
        weights, bias = self.shared(self.positions, self._left_out())
        return weights @ signal if bias is None else weights @ signal + bias[:, None]

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: a map over all times has no place here."""
        return False

    @torch.no_grad()
    def start_from_pairs_(self, signal: Tensor, shared: Tensor, folds: Folds) -> bool:
        """The subject's matrix by ridge from the merged signal to the wanted values, over trials and times."""
        training = self.training
        self.eval()  # no sensor is left out of the fit
        self.matrix.copy_(ridge_of_features(self.merged, signal, shared, folds))
        self.train(training)
        return True

    @torch.no_grad()
    def start_from_subjects_(self, others: Sequence[SubjectAdapter]) -> bool:
        """The mean of the other subjects' matrices."""
        self.matrix.copy_(mean_of([o.matrix for o in others if isinstance(o, SpatialMerger)]))
        return True

    def _left_out(self) -> Tensor:
        return left_out(self.positions, self.known, self.drop_radius if self.training else 0.0)


def left_out(positions: Tensor, known: Tensor, radius: float) -> Tensor:
    """Sensors (n_channels,) that do not count: of no known place, or within a radius of a random point."""
    if radius == 0:
        return ~known
    centre = torch.rand(2).to(positions)
    near = (positions - centre).norm(dim=1) <= radius
    # A step without any sensor would have nothing to learn from.
    return ~known if bool((~known | near).all()) else ~known | near


def fourier_features(positions: Tensor, n_frequencies: int) -> Tensor:
    """Cosines, then sines, of plane waves through the unit square: (..., 2) to (..., 2 n_frequencies^2).

    Waves of 0 to n_frequencies - 1 periods over the square and its margin along either axis, in all combinations, the
    second axis changing fastest.
    """
    counts = torch.arange(n_frequencies, dtype=positions.dtype, device=positions.device)
    waves = torch.cartesian_prod(counts, counts)  # (wave, axis)
    phase = 2 * math.pi / (1 + 2 * MARGIN) * (positions + MARGIN) @ waves.T
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def flattened(positions: np.ndarray) -> np.ndarray:
    """Places on the head, seen from above and spread into the unit square.

    Parameters
    ----------
    positions : float array, shape (n_channels, 3)
        Metres in the head frame (x to the right, y to the front, z up); NaN where unknown.

    Returns
    -------
    float array, shape (n_channels, 2)
        Each axis from 0 to 1; NaN where unknown.

    Notes
    -----
    Azimuthal equidistant: a sensor's distance from the centre is its angle from the vertical, as in the layouts of MNE.
    """
    known = np.isfinite(positions).all(1)
    flat = np.full((len(positions), 2), np.nan)
    if not known.any():
        return flat
    # The middle of the array's box stands for the centre of the head; heights are taken from the ears' plane, z = 0.
    x, y = (positions[known, axis] - _middle(positions[known, axis]) for axis in (0, 1))
    angle = np.arctan2(np.hypot(x, y), positions[known, 2])
    azimuth = np.arctan2(y, x)
    spread = np.stack([angle * np.cos(azimuth), angle * np.sin(azimuth)], axis=1)
    low, size = spread.min(0), np.ptp(spread, axis=0)
    flat[known] = np.where(size > 0, (spread - low) / np.where(size > 0, size, 1.0), 0.5)
    return flat


def _middle(values: np.ndarray) -> float:
    return float(values.min() + values.max()) / 2


def build_shared(signals: Sequence[SubjectSignal], config: Config) -> Merger:
    """Heads and first matrix of all subjects, drawn from torch's global generator (`seeding.seeded`)."""
    return Merger(config)


def build(signal: SubjectSignal, config: Config) -> SpatialMerger:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the signal has no time axis or none of its sensors a known position.
    TypeError
        If its space is not one of sensors.
    """
    _, n_times = check_signal(signal, ("channel", "time"))
    space = checks.of_type(f"space of {signal.key}", signal.space, SensorSpace)
    positions = flattened(space.positions)
    if not np.isfinite(positions).all(1).any():
        raise ValueError(
            f"{signal.key} has no sensor with a known position; set a montage, or take the adapter sensor_attention."
        )
    return SpatialMerger(torch.from_numpy(positions.astype(np.float32)), n_times, config)
