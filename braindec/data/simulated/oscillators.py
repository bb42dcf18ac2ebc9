"""EEG that goes on for minutes: rhythms that die away and are driven anew, and the best forecast that there is of them.

    state       z[t + 1] = A z[t] + w[t]      a rotation that decays for each rhythm, a slow drift, all driven by noise
    recording   x[t]     = C z[t] + e[t]      every channel sees every rhythm at a phase of its own, and sensor noise

All is linear and Gaussian: the Kalman filter's forecast is Bayes' own, and no forecaster can have a smaller error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from braindec import checks

RHYTHMS = ((10.0, 0.25, 1.0), (6.0, 0.15, 0.6), (20.0, 0.08, 0.5))  # alpha, theta, beta
DRIFT = (0.4, 0.8)  # s until a drift is forgotten, and its size


@dataclass(frozen=True, eq=False)
class Oscillators:
    """A planted recording.

    Parameters
    ----------
    transition : ndarray, shape (n_states, n_states)
    drive : ndarray, shape (n_states, n_states)
        Covariance of what drives the states in one sample.
    mixing : ndarray, shape (n_channels, n_states)
    sensor_noise : float
        SD in every channel.
    sfreq : float
        Hz.
    """

    transition: np.ndarray
    drive: np.ndarray
    mixing: np.ndarray
    sensor_noise: float
    sfreq: float

    def draw(self, n_times: int, generator: np.random.Generator) -> np.ndarray:
        """A run (n_channels, n_times), float64, in the stationary state from its first sample on."""
        n = len(self.transition)
        push = generator.standard_normal((n_times, n)) @ np.linalg.cholesky(self.drive).T
        z = np.linalg.cholesky(self.stationary()) @ generator.standard_normal(n)
        states = np.empty((n_times, n))
        for t in range(n_times):
            z = self.transition @ z + push[t]
            states[t] = z
        noise = self.sensor_noise * generator.standard_normal((n_times, len(self.mixing)))
        return np.asarray((states @ self.mixing.T + noise).T)

    def stationary(self) -> np.ndarray:
        """Covariance of the states at any time, (n_states, n_states)."""
        from scipy.linalg import solve_discrete_lyapunov

        return np.asarray(solve_discrete_lyapunov(self.transition, self.drive))

    def forecast(self, run: np.ndarray, steps: int) -> np.ndarray:
        """What is expected of the samples to come, given all samples until now: (n_steps, n_channels, n_times).

        Entry (h, c, t) is of channel c at time t + h + 1. The filter starts as if it had run for long.

        Parameters
        ----------
        run : ndarray, shape (n_channels, n_times)
        steps : int
            >= 1.
        """
        checks.at_least("steps", steps, 1)
        gain, _ = self._filter()
        keep = (np.eye(len(self.transition)) - gain @ self.mixing) @ self.transition
        told = (gain @ run).T
        z, states = np.zeros(len(keep)), np.empty((run.shape[1], len(keep)))
        for t in range(run.shape[1]):
            z = keep @ z + told[t]
            states[t] = z
        out, ahead = np.empty((steps, *run.shape)), states.T
        for h in range(steps):
            ahead = self.transition @ ahead
            out[h] = self.mixing @ ahead
        return out

    def r2(self, steps: int) -> np.ndarray:
        """Share of each channel's variance that the best forecast explains, (n_steps, n_channels), in closed form."""
        _, left = self._filter()
        total = np.diag(self.mixing @ self.stationary() @ self.mixing.T) + self.sensor_noise**2
        out = np.empty((steps, len(self.mixing)))
        for h in range(steps):
            left = self.transition @ left @ self.transition.T + self.drive
            out[h] = 1 - (np.diag(self.mixing @ left @ self.mixing.T) + self.sensor_noise**2) / total
        return out

    def _filter(self) -> tuple[np.ndarray, np.ndarray]:
        """The stationary Kalman gain, and the covariance of states given all samples until now."""
        from scipy.linalg import solve_discrete_are

        noise = self.sensor_noise**2 * np.eye(len(self.mixing))
        before = solve_discrete_are(self.transition.T, self.mixing.T, self.drive, noise)
        seen = self.mixing @ before @ self.mixing.T + noise
        gain = np.linalg.solve(seen, self.mixing @ before).T
        return gain, (np.eye(len(before)) - gain @ self.mixing) @ before


def oscillators(
    n_channels: int,
    sfreq: float,
    generator: np.random.Generator,
    *,
    rhythms: Sequence[tuple[float, float, float]] = RHYTHMS,
    sensor_noise: float = 0.2,
) -> Oscillators:
    """A process with these rhythms, each seen by all channels with sizes and phases drawn at random.

    Parameters
    ----------
    n_channels : int
    sfreq : float
        Hz; more than twice the fastest rhythm.
    generator : numpy.random.Generator
    rhythms : sequence of (float, float, float)
        Frequency in Hz, seconds until it is forgotten, and its size (SD).
    sensor_noise : float
        SD; > 0.
    """
    checks.at_least("number of rhythms", len(rhythms), 1)
    checks.at_least("sfreq", sfreq, 2 * max(hz for hz, _, _ in rhythms) + 1e-9)
    checks.at_least("sensor_noise", sensor_noise, 1e-3)
    n = 2 * len(rhythms) + 2
    transition, drive = np.zeros((n, n)), np.zeros(n)
    for i, (hz, forgotten, size) in enumerate(rhythms):
        kept, turn = np.exp(-1 / (forgotten * sfreq)), 2 * np.pi * hz / sfreq
        both = slice(2 * i, 2 * i + 2)
        transition[both, both] = kept * np.array(
            [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        )
        drive[both] = (1 - kept**2) * size**2
    kept = np.exp(-1 / (DRIFT[0] * sfreq))
    transition[-2:, -2:], drive[-2:] = kept * np.eye(2), (1 - kept**2) * DRIFT[1] ** 2
    sizes = 0.4 + 0.6 * generator.random((n_channels, len(rhythms)))
    phase = generator.uniform(-np.pi / 2, np.pi / 2, (n_channels, len(rhythms)))
    seen = np.stack([sizes * np.cos(phase), sizes * np.sin(phase)], 2).reshape(n_channels, -1)
    mixing = np.concatenate([seen, generator.standard_normal((n_channels, 2)) / np.sqrt(2)], 1)
    return Oscillators(transition, np.diag(drive), mixing, sensor_noise, sfreq)
