"""Preprocessing steps of epochs that need no statistics: each trial is treated on its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

from braindec import checks
from braindec.data.step import FixedStep, State
from braindec.types import ArraySpace, SubjectSignal, Table


@dataclass(frozen=True)
class Window(FixedStep):
    """A step that looks at a window of the epoch.

    Parameters
    ----------
    tmin, tmax : float
        Seconds from the event, both included.
    """

    tmin: float
    tmax: float
    scope: str = "causal"

    def samples(self, signal: SubjectSignal) -> np.ndarray:
        """Which time samples lie in [tmin, tmax], bool (n_times,), to a hundredth of a sample against rounding."""
        first, sfreq = _clock(signal)
        times = first + np.arange(signal.shape[1]) / sfreq
        slack = 0.01 / sfreq
        kept: np.ndarray = (times >= self.tmin - slack) & (times <= self.tmax + slack)
        if not kept.any():
            raise ValueError(
                f"no sample lies in [{self.tmin}, {self.tmax}] s; "
                f"{signal.key} has {times[0]:.3f} to {times[-1]:.3f} s."
            )
        return kept


@dataclass(frozen=True)
class Baseline(Window):
    """Subtracts each channel's mean over a window of the same epoch; see `Window`."""

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        kept = self.samples(signal)
        return np.asarray(x - x[:, :, kept].mean(2, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class Crop(Window):
    """Keeps the time samples of a window; see `Window`."""

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.ascontiguousarray(x[:, :, self.samples(signal)])

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        kept = np.flatnonzero(self.samples(signal))
        first, sfreq = _clock(signal)
        return replace(signal, shape=(signal.shape[0], len(kept)), tmin=first + float(kept[0]) / sfreq)


@dataclass(frozen=True)
class AverageTime(FixedStep):
    """Means of consecutive time samples; samples left over at the end are dropped.

    Parameters
    ----------
    n_samples : int
        Samples in each mean, >= 1.
    """

    n_samples: int
    scope: str = "causal"

    def __post_init__(self) -> None:
        checks.at_least("n_samples", self.n_samples, 1)

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        n_bins = self.output(signal, state).shape[1]
        binned = x[:, :, : n_bins * self.n_samples].reshape(*x.shape[:2], n_bins, self.n_samples)
        return np.asarray(binned.mean(3), dtype=np.float32)

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        tmin, sfreq = _clock(signal)
        n_bins = int(checks.at_least("time samples left", signal.shape[1] // self.n_samples, 1))
        centre = tmin + (self.n_samples - 1) / 2 / sfreq
        return replace(signal, shape=(signal.shape[0], n_bins), tmin=centre, sfreq=sfreq / self.n_samples)


@dataclass(frozen=True)
class Vectorise(FixedStep):
    """Channels and times as one axis of features (channel-major); their place in the head is forgotten."""

    scope: str = "causal"

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.ascontiguousarray(x.reshape(len(x), -1))  # (trial, channel * time)

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        n = int(np.prod(signal.shape))
        return replace(signal, shape=(n,), space=ArraySpace(n), sfreq=None, tmin=None)


@dataclass(frozen=True)
class Resample(FixedStep):
    """Another sampling rate for each epoch, low-pass filtered first so that nothing above half of it folds back.

    The filter (a Kaiser-windowed FIR of zero phase, `scipy.signal.resample_poly`) spreads a response over 10 of the new
    samples in both directions, so that it seems to begin before it does; for claims about latency, resample the
    continuous recording with a causal filter. Edges are continued by the line through the first and last sample.

    Parameters
    ----------
    sfreq : float
        Hz, > 0; a ratio of whole numbers up to 1,000 to the present rate.
    """

    sfreq: float
    scope: str = "causal"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("causal",))
        if not self.sfreq > 0:
            raise ValueError(f"sfreq must be positive (Hz), got {self.sfreq}.")

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        up, down = self._ratio(signal)
        if up == down:
            return x
        shape = (len(x), *self.output(signal, state).shape)
        out = np.empty(shape, dtype=np.float32)
        for trial in range(len(x)):  # one at a time: the filter works in double precision
            out[trial] = resample_poly(x[trial].astype(np.float64), up, down, axis=1, padtype="line")
        return out

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        up, down = self._ratio(signal)
        n_times = -(-signal.shape[1] * up // down)  # rounded up, as resample_poly does
        return replace(signal, shape=(signal.shape[0], n_times), sfreq=float(self.sfreq))

    def _ratio(self, signal: SubjectSignal) -> tuple[int, int]:
        _, before = _clock(signal)
        ratio = Fraction(self.sfreq / before).limit_denominator(1000)
        if ratio == 0 or abs(float(ratio) * before - self.sfreq) > 1e-6 * self.sfreq:
            raise ValueError(
                f"{before} Hz cannot be resampled to {self.sfreq} Hz: no ratio of whole numbers up to 1,000."
            )
        return ratio.numerator, ratio.denominator


def _clock(signal: SubjectSignal) -> tuple[float, float]:
    if signal.tmin is None or signal.sfreq is None or len(signal.shape) != 2:
        raise ValueError(f"{signal.key} has no time axis (shape {signal.shape}); this step is for epochs.")
    return signal.tmin, signal.sfreq
