"""Windows of a long recording as samples of an autoencoder, cut when they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindec import checks


class Windows:
    """Windows (n_windows, n_channels * n_times) of a signal (n_channels, n_samples), for `sparse.fit`.

    Flattened channel by channel: ``atoms.view(-1, n_channels, n_times)`` are waveforms over sensors. (Given as an array
    of three axes they would be tokens, each channel a sample of its own.) Overlapping windows take no memory.

    Parameters
    ----------
    signal : array, shape (n_channels, n_samples)
        Numpy or memory-mapped; filtered and in one unit, as autoencoders weigh channels by their variance.
    n_times : int
        Samples a window.
    step : int, optional
        Samples from one window to the next; else `n_times`, side by side.
    """

    def __init__(self, signal: Any, n_times: int, step: int | None = None):
        checks.n_axes("signal", signal, ("channel", "sample"))
        checks.in_range("n_times", n_times, 1, signal.shape[1])
        self._signal, self.n_times, self.step = signal, n_times, n_times if step is None else step
        checks.at_least("step", self.step, 1)
        self.n_channels = int(signal.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(n_windows, n_channels * n_times)."""
        return (self._signal.shape[1] - self.n_times) // self.step + 1, self.n_channels * self.n_times

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Any) -> np.ndarray:
        """Windows by number (n,), slice or mask: (n, n_channels * n_times)."""
        wanted = np.arange(len(self))[numbers]
        places = np.atleast_1d(wanted)[:, None] * self.step + np.arange(self.n_times)
        found = np.asarray(self._signal[:, places.ravel()]).reshape(self.n_channels, *places.shape)
        out = found.transpose(1, 0, 2).reshape(len(places), -1)
        return out[0] if wanted.ndim == 0 else out
