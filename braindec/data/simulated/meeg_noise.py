"""Noise of simulated EEG and MEG: background activity, alpha waves, eyes, muscles, heart and the sensors themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec.data.simulated.meeg_config import MeegConfig
from braindec.data.simulated.noise import pink_autocovariance, root, spatial_kernel
from braindec.data.simulated.sensors import HEAD_M, HELMET_M, Sensors

# Directions from the middle of the head (right, front, up).
EYES = (0.0, 0.92, -0.25)
ALPHA_PLACES = ((0.4, -0.9, 0.3), (-0.4, -0.9, 0.3), (0, -0.7, 0.7))
ACROSS = (
    1.0,
    0.0,
    0.0,
)  # alpha sources of MEG point along the head's surface: those that point outwards are silent
HEART_M, HEART_AXIS = (
    (-0.06, 0.04, -0.38),
    (-0.6, 0.4, -0.7),
)  # metres from the middle of the head; down to the left
BLINK_S, HEARTBEAT_S = 0.08, 0.02


@dataclass(frozen=True, eq=False)
class NoisePart:
    """Gaussian noise whose covariance is (spatial spatial') x (temporal temporal'), in a share of the trials.

    Parameters
    ----------
    name : str
    spatial : ndarray, shape (n_sensors, rank)
        Volts.
    temporal : ndarray, shape (n_times, rank)
    rate : float
        Share of trials that have it, independently of each other.
    """

    name: str
    spatial: np.ndarray
    temporal: np.ndarray
    rate: float = 1.0

    def sample(self, n_trials: int, generator: np.random.Generator) -> np.ndarray:
        """float32 (n_trials, n_sensors, n_times)."""
        shape = (n_trials, self.spatial.shape[1], self.temporal.shape[1])
        drawn = generator.standard_normal(shape, dtype=np.float32)
        if self.rate < 1:
            drawn *= (generator.random(n_trials) < self.rate)[:, None, None]
        return self.spatial.astype(np.float32) @ drawn @ self.temporal.T.astype(np.float32)


def noise_parts(sensors: Sensors, config: MeegConfig, level: float) -> tuple[NoisePart, ...]:
    """All parts of one brain's noise.

    Parameters
    ----------
    sensors : Sensors
    config : MeegConfig
    level : float
        Multiplies every part.
    """
    times, reference = config.times, sensors.reference
    size, unit = config.amplitudes(sensors.modality)
    unit = level * unit
    pink = unit * size.pink * reference @ root(spatial_kernel(sensors.space.positions, 0.05))
    eyes = _largest_one(sensors.of_dipole(HEAD_M * np.array(EYES), np.array([0.0, 0.3, 1.0])))
    heart = _largest_one(sensors.of_distant_dipole(np.array(HEART_M), np.array(HEART_AXIS)))
    burst = np.exp(-(((times - times.mean()) / 0.25) ** 2) / 2)
    parts = (
        NoisePart("pink", pink, root(_pink(len(times)))),
        NoisePart("alpha", unit * size.alpha * reference @ _alpha_maps(sensors), root(_alpha(times))),
        NoisePart("blink", unit * size.blink * reference @ eyes, _anywhere(times, BLINK_S), config.blink_rate),
        NoisePart("muscle", unit * size.muscle * reference @ _muscle_maps(sensors), np.diag(burst), config.muscle_rate),
        NoisePart("heart", unit * size.heart * reference @ heart, _anywhere(times, HEARTBEAT_S), config.heart_rate),
        NoisePart("sensor", unit * size.sensor * reference, np.eye(len(times))),
    )  # fmt: skip
    return tuple(part for part in parts if part.spatial.any())


def _largest_one(pattern: np.ndarray) -> np.ndarray:
    """A pattern (n_sensors,) as a column whose largest entry is 1 or -1."""
    return (pattern / np.abs(pattern).max())[:, None]


def _pink(n_times: int) -> np.ndarray:
    """Covariance over time of a stretch of a much longer pink series."""
    long = pink_autocovariance(8 * n_times, 1.0)
    return long[np.abs(np.subtract.outer(np.arange(n_times), np.arange(n_times)))]


def _alpha(times: np.ndarray) -> np.ndarray:
    """Covariance over time of waves of 10 Hz that forget their phase within about a quarter of a second."""
    lags = np.abs(times[:, None] - times[None])
    return np.exp(-((lags / 0.25) ** 2) / 2) * np.cos(2 * np.pi * 10.0 * lags)


def _alpha_maps(sensors: Sensors) -> np.ndarray:
    maps = []
    for place in ALPHA_PLACES:
        moment = np.array(place) if sensors.modality == "eeg" else np.cross(place, ACROSS)
        maps.append(_largest_one(sensors.of_dipole(0.6 * HEAD_M * np.array(place), moment)))
    return np.concatenate(maps, 1)


def _muscle_maps(sensors: Sensors) -> np.ndarray:
    """A bump over each temple."""
    radius = HEAD_M if sensors.modality == "eeg" else HELMET_M
    x = sensors.space.positions[:, 0]
    return np.stack([np.exp(-(((x - s * radius) / 0.04) ** 2)) for s in (-1, 1)], 1)


def _anywhere(times: np.ndarray, width_s: float) -> np.ndarray:
    """Root of the covariance over time of a pulse that comes anywhere in the trial or just beside it."""
    centres = np.linspace(times[0] - 2 * width_s, times[-1] + 2 * width_s, 400)
    pulses = np.exp(-(((times[:, None] - centres) / width_s) ** 2) / 2)
    return root(pulses @ pulses.T / len(centres))
