"""What a preprocessing step is: it declares which rows its statistics come from."""

from __future__ import annotations

import abc
from collections.abc import Mapping

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
        """float32 (n_trials, *output(signal, state).shape)."""

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        """The signal after this step."""
        return signal

    def by_row(
        self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> tuple[Step, State] | None:
        """A step that gives of each of these rows alone what this one gives of all together, with its statistics.

        None where there is no such step: rows are then seen as `together` says, and each feature is treated on its own
        (`of_features`).
        """
        return self, state

    def together(self, table: Table) -> list[np.ndarray]:
        """Positions of rows that must be seen together, of a step whose `by_row` is None."""
        return [np.arange(table.n_rows)]

    def of_features(self, state: State, part: slice) -> State:
        """Statistics of some features (axis 1), of a step whose `by_row` is None."""
        return state

    def sized(self, state: State) -> Step:
        """This step, told to keep as many features as were found here, so that fits on fewer rows have one shape."""
        return self


class FixedStep(Step):
    """A step without statistics: it does to any rows what its settings say."""

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        """Nothing to take."""
        return {}


class JointStep(Step):
    """A step whose statistics come from several subjects together; `fit` is that of one subject alone."""

    @abc.abstractmethod
    def fit_jointly(
        self,
        x: Mapping[str, np.ndarray],
        tables: Mapping[str, Table],
        signals: Mapping[str, SubjectSignal],
        reference: State | None = None,
    ) -> dict[str, State]:
        """Statistics of each subject's training rows, by signal key.

        A `reference` is the state of a subject that was fitted earlier: these subjects are brought into its space,
        which stays as it is.
        """
