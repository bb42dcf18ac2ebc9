"""Where signals lie while they are prepared; in memory here, in files in `mapped`."""

from __future__ import annotations

import abc

import numpy as np

from braindec import checks
from braindec.data.step import State, Step
from braindec.types import SubjectSignal, Table, Trials


class Place(abc.ABC):
    """Where signals lie between steps; what is computed does not depend on it."""

    @abc.abstractmethod
    def responses(self, trials: Trials) -> np.ndarray:
        """All responses, float32; a ValueError where one is NaN or infinite."""

    @abc.abstractmethod
    def some(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """These rows."""

    @abc.abstractmethod
    def applied(
        self, step: Step, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> np.ndarray:
        """What the step makes of all rows."""


class Memory(Place):
    """Signals in memory."""

    def responses(self, trials: Trials) -> np.ndarray:
        values = np.asarray(trials.responses[np.arange(trials.n_trials)], dtype=np.float32)
        return checks.finite(f"responses of {trials.key}", values)

    def some(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return x[rows]

    def applied(
        self, step: Step, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> np.ndarray:
        return step.apply(x, table, signal, state)


MEMORY = Memory()
