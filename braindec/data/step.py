"""What a preprocessing step is: it declares which rows its statistics come from."""

from __future__ import annotations

import abc

import numpy as np

from braindec.types import SubjectSignal, Table

SCOPES = ("train", "unit_train_rows", "unit_unlabelled", "causal")
State = dict[str, np.ndarray]


class Step(abc.ABC):
    """One step. `scope` says whose statistics it uses.

    ``train``: training rows. ``unit_train_rows``: training rows of the row's own session or run. ``unit_unlabelled``:
    all rows of the unit that `apply` is given, held-out ones included, without labels (transductive). ``causal``:
    the row itself and rows recorded before it.
    """

    scope: str

    @abc.abstractmethod
    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        """Statistics of training rows `x`, shape (n_trials, *signal.shape)."""

    @abc.abstractmethod
    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        """float32 (n_trials, *output(signal).shape)."""

    def output(self, signal: SubjectSignal) -> SubjectSignal:
        """The signal after this step."""
        return signal


class FixedStep(Step):
    """A step without statistics: it does to any rows what its settings say."""

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        """Nothing to take."""
        return {}
