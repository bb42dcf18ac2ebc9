"""A filter that looks only back, run block after block: what it makes of a recording does not depend on the blocks."""

from __future__ import annotations

import numpy as np

from braindec import checks

ORDER = 4


class CausalFilter:
    """A Butterworth filter of order 4 run forwards over the blocks of one recording, one after the other.

    It begins at rest at the first sample, which is subtracted: a step at the first sample would ring for seconds.

    Parameters
    ----------
    sfreq : float
        Hz.
    high_pass_hz, low_pass_hz : float or None
        Edges of the pass band; None leaves that side open. Both None: nothing is filtered or subtracted.

    Raises
    ------
    ConfigError
        If an edge is not between 0 and half the sampling rate, or the edges are not in order.
    """

    def __init__(self, sfreq: float, high_pass_hz: float | None, low_pass_hz: float | None):
        edges = [edge for edge in (high_pass_hz, low_pass_hz) if edge is not None]
        if any(not 0 < edge < sfreq / 2 for edge in edges) or edges != sorted(set(edges)):
            raise checks.ConfigError(
                f"a pass band from {high_pass_hz} to {low_pass_hz} Hz cannot be filtered at {sfreq:g} Hz: edges lie "
                f"above 0, below {sfreq / 2:g} Hz, and the lower one first."
            )
        kind = "bandpass" if len(edges) == 2 else "highpass" if high_pass_hz is not None else "lowpass"
        self.sfreq = float(sfreq)
        self._sections = _sections(edges, kind, sfreq) if edges else None
        self._first: np.ndarray | None = None
        self._state: np.ndarray | None = None

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """The next samples, filtered: float64, as `block`.

        Parameters
        ----------
        block : array, shape (n_channels, n_samples)
            What follows the last block.
        """
        from scipy.signal import sosfilt

        x = np.asarray(block, dtype=np.float64)
        if self._sections is None or not x.shape[1]:
            return x
        if self._first is None or self._state is None:
            self._first = x[:, :1].copy()
            self._state = np.zeros((len(self._sections), len(x), 2))
        checks.same_length("channel", block=x, first_block=self._first)
        out, self._state = sosfilt(self._sections, x - self._first, axis=1, zi=self._state)
        return np.asarray(out)


def _sections(edges: list[float], kind: str, sfreq: float) -> np.ndarray:
    from scipy.signal import butter

    found: np.ndarray = butter(ORDER, edges if len(edges) == 2 else edges[0], kind, fs=sfreq, output="sos")
    return found
