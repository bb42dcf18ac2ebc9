"""What is audited: the two parts of one split, and everything known of how a score would be made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec.data.dataset import NeuralDataset
from braindec.data.leakage.pictures import Pictures
from braindec.data.preprocessing import FittedPreprocessing, Preprocessing
from braindec.data.splits import stimulus_column
from braindec.types import UNKNOWN, Embeddings, Trials


@dataclass(frozen=True, eq=False)
class Case:
    """One split's parts under audit.

    Parameters
    ----------
    train, test : NeuralDataset
        Parts of one dataset; their `about` says how the data were made.
    claim : str or None
        The unit that the score is about (a protocol's, or else the split's): ``"stimulus"`` and ``"concept"`` claim
        that test stimuli are new.
    label_column : str or None
        The class of a trial or stimulus, where there are classes.
    scopes : tuple of str or None
        Scopes of preprocessing that the protocol allows; None where no protocol is known.
    steps : mapping of str to Preprocessing
        By modality, where known.
    fitted : mapping of str to FittedPreprocessing
        By signal key: of the decoder that is judged.
    chosen_on : mapping or None
        The record of the rows that chose the model (`provenance.chosen_on`); None where there is no model.
    refitted : bool
        Every fold's decoder is compared with its test trials when it is fitted (`provenance.check_fitted`).
    embeddings : Embeddings or None
    pictures : Pictures or None
        Of the stimuli, where they may be read.
    max_values : int
        Responses are compared where they have at most so many values.
    """

    train: NeuralDataset
    test: NeuralDataset
    claim: str | None = None
    label_column: str | None = None
    scopes: tuple[str, ...] | None = None
    steps: Mapping[str, Preprocessing] = field(default_factory=dict)
    fitted: Mapping[str, FittedPreprocessing] = field(default_factory=dict)
    chosen_on: Mapping[str, Any] | None = None
    refitted: bool = False
    embeddings: Embeddings | None = None
    pictures: Pictures | None = None
    max_values: int = 1 << 26

    @property
    def about(self) -> Mapping[str, Any]:
        """What the dataset says of how it was made."""
        return self.test.about

    @property
    def new_stimuli(self) -> bool:
        """Whether the score claims that test stimuli are new."""
        return self.claim in ("stimulus", "concept")

    @property
    def split_name(self) -> str:
        """In words, for `Finding.where`."""
        split = self.test.split or self.train.split
        return "two parts" if split is None else f"split {split.name!r}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Signals with trials on both sides."""
        return tuple(key for key in self.test.keys if key in self.train.trials)

    def where(self, *keys: str) -> str:
        """``"sub-01_fmri, split 'default'"``."""
        return ", ".join(
            [*(keys[:3]), *([f"{len(keys) - 3} more"] if len(keys) > 3 else []), self.split_name]
        )

    def labels(self, trials: Trials) -> np.ndarray | None:
        """Class of each trial as text, or None where no column holds classes."""
        column = self.label_column
        table = self.test.stimuli.table
        if column is None or (column not in trials.table and (table is None or column not in table)):
            return None
        if column not in trials.table and (trials.table["stimulus_id"].astype(str) == UNKNOWN).any():
            return None
        return stimulus_column(trials, self.test.stimuli, column).astype(str)
