"""Single-trial betas while the scanner runs: each event's response as soon as it is there, from the volumes so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks
from braindec.data import glm, glm_design


@dataclass(frozen=True, eq=False)
class Beta:
    """What the volumes so far say of one event.

    Parameters
    ----------
    event : str
    onset_s : float
    values : float32 array, shape (n_voxels,)
        Height of the response, in percent of each voxel's mean so far.
    n_volumes : int
        How many volumes it is made from.
    """

    event: str
    onset_s: float
    values: np.ndarray
    n_volumes: int


@dataclass(frozen=True)
class _Event:
    name: str
    onset_s: float
    duration_s: float


class LiveBetas:
    """Volumes in, betas out: a least-squares model for each event (LSS) of all volumes that have arrived.

    The model is that of `data.glm.single_trials` (``method="lss", noise="ols"``) on the run as far as it goes: one
    regressor for the event, one for all others that have begun, drift, motion: as if the run ended now.

    Parameters
    ----------
    t_r_s : float
        Seconds from one volume to the next.
    n_planned : int
        Volumes of the whole run; no more are taken.
    high_pass_hz : float
        Slower drift than this is modelled.
    delay_s : float
        An event's beta is given with the first volume that was taken this long after its onset, in seconds.
    first_s : float
        When the first volume was taken, on the clock of the onsets.
    hrf : data.glm_design.Hrf

    Raises
    ------
    ValueError
        If more volumes arrive than were planned, a volume has another number of voxels, or an event cannot be told
        from the rest.
    """

    def __init__(
        self,
        t_r_s: float,
        n_planned: int,
        *,
        high_pass_hz: float = 0.01,
        delay_s: float = 8.0,
        first_s: float = 0.0,
        hrf: glm_design.Hrf = glm_design.CANONICAL,
    ):
        checks.at_least("n_planned", n_planned, 2)
        self._times = first_s + t_r_s * np.arange(n_planned)
        self._high_pass, self._delay, self._hrf = high_pass_hz, delay_s, hrf
        self._signal: np.ndarray | None = None  # the volumes minus the first: small numbers keep their digits
        self._first: np.ndarray | None = None
        self._sum: np.ndarray | None = None
        self._motion: list[np.ndarray] = []
        self._events: list[_Event] = []
        self._waiting: list[int] = []
        self.n_volumes = 0

    def expect(self, onset_s: float, duration_s: float, event: str) -> None:
        """Tells of an event, before or after its volumes arrive.

        Parameters
        ----------
        onset_s, duration_s : float
            Seconds on the clock of the volumes.
        event : str
        """
        self._waiting.append(len(self._events))
        self._events.append(_Event(event, onset_s, duration_s))

    def push(self, volume: np.ndarray, motion: np.ndarray | None = None) -> list[Beta]:
        """Betas of the events whose delay is over with this volume, in order of their onsets.

        Parameters
        ----------
        volume : array, shape (n_voxels,)
            As measured: means are positive.
        motion : array, shape (n_columns,), optional
            Of this volume: with every volume or with none.
        """
        self._add(np.asarray(volume, dtype=np.float32), motion)
        now = float(self._times[self.n_volumes - 1])
        ready = [i for i in self._waiting if self._events[i].onset_s + self._delay <= now + 1e-9]
        self._waiting = [i for i in self._waiting if i not in ready]
        return [self._beta(i) for i in sorted(ready, key=lambda i: self._events[i].onset_s)]

    def _add(self, volume: np.ndarray, motion: np.ndarray | None) -> None:
        if self.n_volumes == len(self._times):
            raise ValueError(f"{self.n_volumes} volumes were planned (n_planned), and one more arrived.")
        if self._signal is None or self._first is None or self._sum is None:
            self._signal = np.empty((len(self._times), len(volume)), dtype=np.float32)
            self._first = volume.copy()
            self._sum = np.zeros(len(volume))
        checks.same_length("voxel", volume=volume, first_volume=self._first)
        if not np.isfinite(volume).all():
            raise ValueError(
                f"volume {self.n_volumes} holds {int((~np.isfinite(volume)).sum())} values that are not "
                "finite."
            )
        if (motion is not None) != (len(self._motion) == self.n_volumes) and self.n_volumes:
            raise ValueError("motion is given with every volume or with none.")
        if motion is not None:
            self._motion.append(np.asarray(motion, dtype=np.float64))
        np.subtract(volume, self._first, out=self._signal[self.n_volumes])
        self._sum += volume
        self.n_volumes += 1

    def _beta(self, number: int) -> Beta:
        if self._signal is None or self._sum is None:
            raise ValueError("no volume has arrived yet.")
        n, event = self.n_volumes, self._events[number]
        weights = self._weights(number).astype(np.float32)
        mean = self._sum / n
        height = weights @ self._signal[:n]
        values = np.divide(100.0 * height, mean, out=np.zeros_like(mean), where=mean > 0)
        return Beta(event.name, event.onset_s, values.astype(np.float32), n)

    def _weights(self, number: int) -> np.ndarray:
        """What each volume counts for in an event's beta, float64 (n_volumes,)."""
        n = self.n_volumes
        begun = [e for e in self._events if e.onset_s <= self._times[n - 1]]
        expected = glm_design.responses(
            np.array([e.onset_s for e in begun]),
            np.array([e.duration_s for e in begun]),
            self._times[:n],
            self._hrf,
        )
        own = expected[:, begun.index(self._events[number])]
        base = [glm_design.drift(self._times[:n], self._high_pass), (expected.sum(1) - own)[:, None]]
        if self._motion:
            base.append(glm_design.standardised(np.stack(self._motion)))
        rest = glm.basis(np.concatenate(base, axis=1))
        alone = own - rest @ (rest.T @ own)
        alone -= rest @ (rest.T @ alone)  # twice: what is left is orthogonal to the last digit
        left = float(alone @ alone)
        # Not above: both are 0 before the response begins.
        if not left > glm.APART * float(own @ own) or n - rest.shape[1] < 2:
            raise ValueError(
                f"event {self._events[number].name!r} at {self._events[number].onset_s:g} s cannot be told from drift, "
                f"motion and other events by {n} volumes; wait longer (delay_s), or model less."
            )
        return np.asarray(alone / left)
