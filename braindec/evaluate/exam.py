"""What every system is judged on alike: the data, the folds, the protocol, the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from braindec.data import NeuralDataset, Split, splits
from braindec.evaluate.decoded import Decoded, cross_decode
from braindec.evaluate.systems import Fitter, System
from braindec.protocols import Protocol
from braindec.types import Embeddings, Trials

IN_MEMORY = 2**29  # bytes of responses that are read once for all refits, instead of once for each


@dataclass(frozen=True, eq=False)
class Exam:
    """What every system is judged on alike.

    Parameters
    ----------
    dataset : NeuralDataset
        Whole; every fold takes its own parts.
    embeddings : Embeddings
    folds : sequence of Split
        One for a held-out test set, several for cross-validation.
    protocol : Protocol
    seed : int
    label_column : str, optional
        Column with each trial's class, of the trial table or the stimuli's.
    n_jobs : int
        Refits at once; see `jobs.refits`.
    progress : bool
    only : tuple of str, optional
        Metrics of the protocol that are asked for, where not all are: intervals of the others take their time.
    """

    dataset: NeuralDataset
    embeddings: Embeddings
    folds: Sequence[Split]
    protocol: Protocol
    seed: int = 0
    label_column: str | None = None
    n_jobs: int = 1
    progress: bool = True
    only: tuple[str, ...] | None = None

    def decode(
        self, fit: Fitter, also: Callable[[System, NeuralDataset], None] | None = None
    ) -> dict[str, Decoded]:
        """Held-out predictions of what `fit` makes of each fold's train part, by signal key; `also` sees every fit."""
        return cross_decode(
            fit, self.dataset, self.embeddings, self.folds, self.protocol, self.seed, self.label_column, also
        )

    def labels(self, decoded: Mapping[str, Decoded]) -> dict[str, np.ndarray | None]:
        """Each decoded row's class as text, by signal key; None without a label column."""
        return row_labels(decoded, self.dataset, self.label_column)


def in_memory(dataset: NeuralDataset) -> NeuralDataset:
    """The same dataset with its responses as arrays, where they are small enough: refits read them again and again."""
    sizes = [int(np.prod(t.responses.shape)) * t.responses.dtype.itemsize for t in dataset.trials.values()]
    if sum(sizes) > IN_MEMORY:
        return dataset
    rows = {key: np.asarray(t.responses[np.arange(t.n_trials)]) for key, t in dataset.trials.items()}
    return replace(
        dataset, trials={key: replace(t, responses=rows[key]) for key, t in dataset.trials.items()}
    )


def row_labels(
    decoded: Mapping[str, Decoded], dataset: NeuralDataset, column: str | None
) -> dict[str, np.ndarray | None]:
    """Each decoded row's class as text, by signal key; None without a column."""
    if column is None:
        return dict.fromkeys(decoded)
    return {key: _column(dataset.trials[key], d, dataset, column) for key, d in decoded.items()}


def _column(trials: Trials, decoded: Decoded, dataset: NeuralDataset, column: str) -> np.ndarray:
    if column in decoded.table:
        return decoded.table[column].astype(str)
    view = replace(trials, responses=np.zeros((len(decoded.ids), trials.space.n_features)), table=decoded.table,
                   sfreq=None, tmin=None)  # fmt: skip
    return splits.stimulus_column(view, dataset.stimuli, column).astype(str)
