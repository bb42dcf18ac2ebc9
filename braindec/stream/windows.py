"""Windows of what has arrived: one every step, or one around each event, handed over when they are whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of signal to answer from.

    Parameters
    ----------
    signal : float32 array, shape (n_channels, n_samples)
        Contiguous.
    end_s : float
        When its last sample ended, in seconds of the stream.
    event : str
        What it lies around; ``""`` of a sliding window.
    """

    signal: np.ndarray
    end_s: float
    event: str = ""


class SlidingWindows:
    """A window every step, all of it past: those that `evaluate.online.cut` makes of a whole recording.

    Parameters
    ----------
    sfreq : float
        Hz.
    length_s, step_s : float
        Seconds of signal in a window, and from one window to the next.
    """

    def __init__(self, sfreq: float, length_s: float, step_s: float):
        self.sfreq = float(sfreq)
        self._length, self._step = (max(1, round(s * sfreq)) for s in (length_s, step_s))
        self._kept = _Kept(self._length)
        self._next = 0  # first sample of the next window

    def push(self, signal: np.ndarray) -> list[Window]:
        """The windows that end within these samples.

        Parameters
        ----------
        signal : array, shape (n_channels, n_samples)
            What follows the last ones.
        """
        self._kept.add(signal, self._next)
        out = []
        while self._next + self._length <= self._kept.stop:
            cut = self._kept.between(self._next, self._next + self._length)
            out.append(Window(cut, (self._next + self._length) / self.sfreq))
            self._next += self._step
        self._kept.forget(self._next)
        return out


class EventWindows:
    """A window around each event: those that `data.meeg.cut_epochs` makes of a whole recording.

    Parameters
    ----------
    sfreq : float
        Hz.
    tmin, tmax : float
        Seconds from the event; samples from round(tmin * sfreq) to round(tmax * sfreq), both included.
    keep_s : float
        Seconds of signal that are kept for events that are told late.
    """

    def __init__(self, sfreq: float, tmin: float, tmax: float, *, keep_s: float = 10.0):
        self.sfreq = float(sfreq)
        self._start, self._stop = round(tmin * sfreq), round(tmax * sfreq) + 1
        checks.at_least("samples in a window", self._stop - self._start, 1)
        self._kept = _Kept(max(round(keep_s * sfreq), self._stop - self._start))
        self._waiting: list[tuple[int, str]] = []

    def expect(self, onset_s: float, event: str) -> None:
        """Tells of an event, before or after its samples arrive.

        Parameters
        ----------
        onset_s : float
            Seconds of the stream.
        event : str

        Raises
        ------
        ValueError
            If the window begins before what is kept.
        """
        sample = int(np.round(onset_s * self.sfreq))
        if sample + self._start < self._kept.start:
            raise ValueError(
                f"the window of the event {event!r} at {onset_s:.3f} s begins before what is kept (from "
                f"{self._kept.start / self.sfreq:.3f} s on); tell events earlier, or keep more (keep_s)."
            )
        self._waiting = sorted([*self._waiting, (sample, event)])

    def push(self, signal: np.ndarray) -> list[Window]:
        """The windows that end within these samples, in order of their events."""
        earliest = min([self._kept.stop, *(s + self._start for s, _ in self._waiting)])
        self._kept.add(signal, earliest)
        whole = [(s, e) for s, e in self._waiting if s + self._stop <= self._kept.stop]
        self._waiting = self._waiting[len(whole) :]
        return [
            Window(self._kept.between(s + self._start, s + self._stop), (s + self._stop) / self.sfreq, event)
            for s, event in whole
        ]


class _Kept:
    """The last samples of a stream, by their number."""

    def __init__(self, n_kept: int):
        self._n_kept = n_kept
        self._signal: np.ndarray | None = None
        self.start = 0

    @property
    def stop(self) -> int:
        """Number of the sample that comes next."""
        return self.start + (0 if self._signal is None else self._signal.shape[1])

    def add(self, signal: np.ndarray, needed: int) -> None:
        """Appends samples; what is neither needed nor among the last ones is forgotten."""
        new = np.asarray(signal, dtype=np.float32)
        if self._signal is None:
            self._signal = new.copy()
        else:
            checks.same_length("channel", block=new, first_block=self._signal)
            self._signal = np.concatenate([self._signal, new], axis=1)
        self.forget(min(needed, self.stop - self._n_kept))

    def forget(self, before: int) -> None:
        """Drops the samples before a number."""
        before = min(before, self.stop)
        if self._signal is not None and before > self.start:
            self._signal = self._signal[:, before - self.start :]
            self.start = before

    def between(self, first: int, stop: int) -> np.ndarray:
        """A contiguous copy of samples [first, stop)."""
        if self._signal is None:
            raise ValueError("no sample has arrived yet.")
        return np.ascontiguousarray(self._signal[:, first - self.start : stop - self.start])
