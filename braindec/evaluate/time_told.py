"""A nuisance decoder of classes that can know an order which runs repeat: what other runs show at a trial's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data import NeuralDataset
from braindec.decoder import Direction, Prediction, Repeats, with_repeats
from braindec.decoder.fitting import identification_score, inner_unit
from braindec.evaluate.systems import RidgeFitter, RidgeSystem, centred_cosine, nuisance_features
from braindec.types import Embeddings, Trials

TIMES = ("onset_s", "acquisition_order", "run_position")
# In standard errors of the score of rows of which nothing is known: without an order the linear decoder stays.
CLEARLY = 2.0


@dataclass(frozen=True, eq=False)
class Timetable:
    """What was shown when, in the runs of training.

    Parameters
    ----------
    column : str
        Of the trial table: where a trial's place in its run is read.
    runs : text array, shape (n,)
    places : float array, shape (n,)
    values : float32 array, shape (n, n_tokens, n_dims)
        Embeddings of what was shown.
    """

    column: str
    runs: np.ndarray
    places: np.ndarray
    values: np.ndarray

    def of(self, trials: Trials) -> np.ndarray:
        """Mean over other runs of what was shown nearest to the trial's time there: (n_trials, n_tokens, n_dims)."""
        wanted, own = trials.table[self.column].astype(np.float64), runs_of(trials)
        total = np.zeros((trials.n_trials, *self.values.shape[1:]), np.float32)
        n = np.zeros(trials.n_trials)
        for run in np.unique(self.runs):
            inside = np.flatnonzero(self.runs == run)
            inside = inside[np.argsort(self.places[inside], kind="stable")]
            others = np.flatnonzero(own != run)
            edges = (self.places[inside][1:] + self.places[inside][:-1]) / 2
            total[others] += self.values[inside[np.searchsorted(edges, wanted[others])]]
            n[others] += 1
        return total / np.maximum(n, 1).reshape(-1, *[1] * (self.values.ndim - 1)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class TimedSystem:
    """The linear decoder, and for the subjects in `tables` what other runs show at a trial's time."""

    linear: RidgeSystem
    tables: Mapping[str, Timetable]

    def predict(self, trials: Trials, *, repeats: Repeats) -> Prediction:
        """Predicted embeddings."""
        table = self.tables.get(trials.key)
        if table is None:
            return self.linear.predict(trials, repeats=repeats)
        return with_repeats(table.of(trials), trials.table, repeats, lambda values: values)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """Cosine about the training stimuli's mean, in both directions."""
        return centred_cosine(prediction, candidates, self.linear.mean)


class TimedNuisanceFitter:
    """Ridge on the named nuisance columns, or the usual class at a trial's time; training runs choose for each subject.

    A line, a parabola and a step for each run cannot follow classes that alternate. What other runs show at a trial's
    time is taken only where it tells held-out training runs clearly better than the ridge does.

    Parameters
    ----------
    columns : sequence of str
        The first of `TIMES` among them says when a trial was.
    """

    def __init__(self, columns: Sequence[str]):
        self._linear = RidgeFitter(partial(nuisance_features, columns=tuple(columns)))
        self._column = next((c for c in TIMES if c in columns), None)

    def __call__(self, part: NeuralDataset, embeddings: Embeddings, seed: int) -> TimedSystem:
        linear = self._linear(part, embeddings, seed)
        tables = {}
        for key, trials in part.trials.items():
            scores = linear.fits[key].cv_scores
            table = self._timetable(part, trials, embeddings)
            if table is None or scores is None:
                continue
            found, truth = (torch.from_numpy(v).flatten(1) for v in (table.of(trials), table.values))
            margin = CLEARLY / trials.n_trials**0.5
            if float(identification_score(found, truth)) > float(scores.max()) + margin:
                tables[key] = table
        return TimedSystem(linear, tables)

    def _timetable(self, part: NeuralDataset, trials: Trials, embeddings: Embeddings) -> Timetable | None:
        """None where no time was named, where it was not recorded, or where runs are not what is held out."""
        if self._column is None or inner_unit(part) not in ("run", "session"):
            return None
        runs, places = runs_of(trials), trials.table[self._column].astype(np.float64)
        if len(np.unique(runs)) < 2 or (self._column == "acquisition_order" and (places < 0).any()):
            return None
        checks.finite(
            f"nuisance column {self._column!r}", places, way_out="Fill them, or do not name the column."
        )
        return Timetable(self._column, runs, places, embeddings.of(trials.table["stimulus_id"].tolist()))


def runs_of(trials: Trials) -> np.ndarray:
    """Session and run of each trial, as text: runs are counted anew in each session."""
    session, run = (trials.table[c].astype(str) for c in ("session", "run"))
    return np.char.add(np.char.add(session, "/"), run)
