"""What targets of sounds have in common: a rate that they listen at, and a length that they ask for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from braindec import checks


def resampled(samples: np.ndarray, sfreq: float, wanted: float) -> np.ndarray:
    """A sound at another rate, float32 (sample,); both rates in Hz."""
    from scipy import signal

    checks.finite("sound", checks.n_axes("sound", samples, ("sample",)))
    if sfreq == wanted:
        return np.asarray(samples, np.float32)
    ratio = Fraction(wanted / sfreq).limit_denominator(10_000)
    heard = signal.resample_poly(np.asarray(samples, np.float64), ratio.numerator, ratio.denominator)
    return np.asarray(heard, dtype=np.float32)


def check_length(samples: np.ndarray, sfreq: float, n_times: int, rate: float) -> None:
    """Refuses a sound that does not last `n_times` / `rate` seconds, to one step of 1 / `rate`."""
    if abs(len(samples) / sfreq - n_times / rate) > 1 / rate:
        raise ValueError(
            f"a sound must last {n_times / rate:.3f} s ({n_times} steps at {rate:g} Hz), "
            f"got {len(samples) / sfreq:.3f} s; cut it, or change n_times."
        )
