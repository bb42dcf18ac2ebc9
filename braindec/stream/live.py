"""A decoder that answers while the recording runs, and how long each answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from braindec import checks
from braindec.stream.blocks import Block
from braindec.stream.windows import Window

Answer = Callable[[np.ndarray], np.ndarray]
"""Windows (n, n_channels, n_samples) to scores (n, n_classes): what `evaluate.online.pseudo_online` fits and judges."""


class Cutter(Protocol):
    """`SlidingWindows` or `EventWindows`."""

    sfreq: float

    def push(self, signal: np.ndarray) -> list[Window]:
        """The windows that end within these samples."""
        ...


@dataclass(frozen=True, eq=False)
class Answered:
    """One answer.

    Parameters
    ----------
    window : Window
    scores : float array, shape (n_classes,)
    name : str
        Of the class with the largest score.
    took_ms : float
        From the arrival of the window's last block to the answer, in milliseconds.
    """

    window: Window
    scores: np.ndarray
    name: str
    took_ms: float


class Live:
    """Blocks in, answers out; a window is answered alone, so that an answer does not depend on how blocks arrive.

    Parameters
    ----------
    answer : callable
        (1, n_channels, n_samples) to scores (1, n_classes).
    classes : sequence of str
        A name a score.
    windows : SlidingWindows or EventWindows
    prepare : callable, optional
        What is done to each block first: a `Preparation`, whose rate is that of the windows.

    Raises
    ------
    ValueError
        If a block does not follow the one before: samples were lost.
    """

    def __init__(
        self,
        answer: Answer,
        classes: Sequence[str],
        windows: Cutter,
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        rate = getattr(prepare, "sfreq", windows.sfreq)
        if rate != windows.sfreq:
            raise checks.ConfigError(
                f"windows are cut at {windows.sfreq:g} Hz, what is prepared has {rate:g} Hz; make the windows for that."
            )
        self._answer, self._windows, self._prepare = answer, windows, prepare
        self.classes = tuple(classes)
        self.took_ms: list[float] = []
        self._next = 0

    def push(self, block: Block) -> list[Answered]:
        """The answers that this block completes, in time."""
        began = time.perf_counter()
        if block.first != self._next:
            raise ValueError(
                f"sample {block.first} arrived where sample {self._next} was due: samples were lost, and filters and "
                "windows would be of another signal. Start anew."
            )
        self._next = block.first + block.signal.shape[1]
        signal = block.signal if self._prepare is None else self._prepare(block.signal)
        return [self._answered(window, began) for window in self._windows.push(signal)]

    def summary(self) -> dict[str, float]:
        """``n`` answers; median, 99th percentile and maximum of their times: ``p50_ms``, ``p99_ms``, ``max_ms``."""
        if not self.took_ms:
            return {"n": 0}
        p50, p99, largest = np.quantile(self.took_ms, [0.5, 0.99, 1.0], method="higher").tolist()
        return {"n": len(self.took_ms), "p50_ms": p50, "p99_ms": p99, "max_ms": largest}

    def _answered(self, window: Window, began: float) -> Answered:
        scores = np.asarray(self._answer(window.signal[None]))
        if scores.shape != (1, len(self.classes)):
            raise ValueError(
                f"a window's scores have shape {scores.shape}; expected (1, {len(self.classes)}), one for each of "
                f"{list(self.classes)}."
            )
        took = 1e3 * (time.perf_counter() - began)
        self.took_ms.append(took)
        return Answered(window, scores[0], self.classes[int(scores[0].argmax())], took)
