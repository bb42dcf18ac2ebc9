"""What is done to every block before windows are made of it, with what it must remember of the blocks before."""

from __future__ import annotations

import numpy as np

from braindec import checks
from braindec.data.causal import CausalFilter

REFERENCES = ("none", "average")


class Preparation:
    """Reference, causal filter and decimation of one stream: the bits that the whole recording would give.

    Parameters
    ----------
    sfreq : float
        Hz, of the stream.
    reference : ``"none"`` or ``"average"``
        Whether the mean of the channels is subtracted.
    high_pass_hz, low_pass_hz : float or None
        See `data.causal.CausalFilter`.
    decimate : int
        Every so manieth sample is kept; needs a low pass of at most a third of the rate that is left.

    Raises
    ------
    ConfigError
        If the filter cannot be made, or decimation would alias.
    """

    def __init__(
        self,
        sfreq: float,
        *,
        reference: str = "none",
        high_pass_hz: float | None = None,
        low_pass_hz: float | None = None,
        decimate: int = 1,
    ):
        checks.one_of("reference", reference, REFERENCES)
        checks.at_least("decimate", decimate, 1)
        rate = sfreq / decimate
        if decimate > 1 and (low_pass_hz is None or low_pass_hz > rate / 3 + 1e-9):
            raise checks.ConfigError(
                f"decimate={decimate} leaves {rate:g} Hz and needs low_pass_hz of at most {rate / 3:g}, "
                f"got {low_pass_hz}."
            )
        self._average = reference == "average"
        self._filter = CausalFilter(sfreq, high_pass_hz, low_pass_hz)
        self._decimate = decimate
        self._seen = 0
        self.sfreq = rate

    def __call__(self, signal: np.ndarray) -> np.ndarray:
        """The next samples, prepared: float32 (n_channels, n_kept).

        Parameters
        ----------
        signal : array, shape (n_channels, n_samples)
            What follows the last block.
        """
        x = np.asarray(signal, dtype=np.float64)
        if self._average:
            x = x - x.mean(0)
        out = self._filter(x).astype(np.float32)
        first = -self._seen % self._decimate
        self._seen += x.shape[1]
        return np.ascontiguousarray(out[:, first :: self._decimate])
