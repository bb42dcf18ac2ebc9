"""What a run's signal is expected to hold: responses to trials under several shapes, drift, censored volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import gamma

from braindec import checks

LENGTH_S = 32.0
STEP_S = 0.05
BRIEF_S = 0.1  # an event without a duration is taken to be this long
MUCH_DRIFT = 1 / 3  # of a regressor's variance: of events of 2 s it is 0.1, of blocks of 22 s 0.4


@dataclass(frozen=True)
class Hrf:
    """A haemodynamic response: one gamma function minus a later one.

    Parameters
    ----------
    peak_s : float
        When the response to a brief event peaks.
    dispersion : float
        Width: 1 is SPM's.
    undershoot_s, ratio : float
        Peak of the second gamma function, and its height over the first's (as densities).
    """

    peak_s: float = 5.0
    dispersion: float = 1.0
    undershoot_s: float = 15.0
    ratio: float = 1 / 6

    def integral(self, t: np.ndarray) -> np.ndarray:
        """The response to an event that began `t` seconds ago and goes on, same shape; 0 before it begins."""
        rise = gamma.cdf(t, self.peak_s / self.dispersion + 1, scale=self.dispersion)
        return rise - self.ratio * gamma.cdf(t, self.undershoot_s + 1)


CANONICAL = Hrf()  # SPM's: delay 6 s, undershoot 16 s, ratio 1/6
# Early to late, narrow to wide: the spread that Allen et al. 2022 (doi:10.1038/s41593-021-00962-x) found over voxels.
LIBRARY = (
    CANONICAL,
    *(Hrf(peak, width) for width in (0.7, 1.1) for peak in (3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 8.0)),
)


def responses(
    onsets_s: np.ndarray, durations_s: np.ndarray, times_s: np.ndarray, hrf: Hrf = CANONICAL
) -> np.ndarray:
    """Expected response to each event at each volume, float64 (n_times, n_events); every response peaks at 1.

    Parameters
    ----------
    onsets_s, durations_s : array, shape (n_events,)
        Seconds; a duration below 0.1 s counts as 0.1 s.
    times_s : array, shape (n_times,)
        When each volume was taken, seconds on the clock of the onsets.
    hrf : Hrf

    Notes
    -----
    The integral of the response is known in closed form, so nothing is sampled and interpolated. With a peak of 1 a
    beta is the height of the trial's response, whatever its shape and duration.
    """
    checks.same_length("event", onsets_s=onsets_s, durations_s=durations_s)
    lasts = np.maximum(np.asarray(durations_s, dtype=np.float64), BRIEF_S)
    since = np.asarray(times_s, dtype=np.float64)[:, None] - np.asarray(onsets_s, dtype=np.float64)[None]
    unique, which = np.unique(lasts, return_inverse=True)
    peaks = np.array([_course(np.arange(0, LENGTH_S + d, STEP_S), d, hrf).max() for d in unique])
    return _course(since, lasts[None], hrf) / peaks[which]


def drift_share(expected: np.ndarray, drift_columns: np.ndarray) -> np.ndarray:
    """How much of each expected response (n_times, n_events) the drift (n_times, n_columns) explains, in [0, 1]."""
    base = np.linalg.qr(drift_columns)[0]
    left = ((expected - base @ (base.T @ expected)) ** 2).sum(0)
    total = ((expected - expected.mean(0)) ** 2).sum(0)
    return np.asarray(1 - np.divide(left, total, out=np.zeros_like(left), where=total > 0))


def slow_events(run: str, share: float, lasts_s: float, high_pass_hz: float) -> str | None:
    """What to say of a run of whose median expected response the drift explains so much; None where it is little."""
    if share <= MUCH_DRIFT:
        return None
    return (
        f"the drift below {high_pass_hz:g} Hz explains {share:.0%} of an event's expected response (median of run "
        f"{run!r}; events last {lasts_s:g} s), and is removed: betas of slow blocks keep little. Lower high_pass_hz "
        "(0.002; 0 keeps a constant alone)"
    )


def drift(times_s: np.ndarray, high_pass_hz: float) -> np.ndarray:
    """A constant and cosines slower than `high_pass_hz`, (n_times, n_columns); SPM's and nilearn's cosine drift."""
    n = len(times_s)
    spacing = float(times_s[1] - times_s[0]) if n > 1 else 1.0
    order = min(n - 1, int(np.floor(2 * n * high_pass_hz * spacing)))
    phase = np.pi / n * (np.arange(n) + 0.5)
    return np.cos(phase[:, None] * np.arange(order + 1)[None])


def spikes(censored: np.ndarray) -> np.ndarray:
    """A column for each censored volume, (n_times, n_censored): in a model it takes the volume out, no more."""
    return np.eye(len(censored))[:, np.flatnonzero(censored)]


def standardised(columns: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1 (constant ones become 0): confounds of all units condition a model alike."""
    centred = columns - columns.mean(0)
    scale = centred.std(0)
    return centred / np.where(scale > 1e-12, scale, 1.0)


def _course(t: np.ndarray, lasts: np.ndarray | float, hrf: Hrf) -> np.ndarray:
    return hrf.integral(t) - hrf.integral(t - lasts)
