"""A training set smaller or larger than the recorded one: fewer runs or stimuli, or the same design recorded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset, splits
from braindec.evaluate.systems import Fitter, System
from braindec.types import Embeddings, Table, Trials

More = Callable[
    [str, int], np.ndarray
]  # signal key, number -> responses of the whole design, recorded once more


def resized(fit: Fitter, more: More, size: float) -> Fitter:
    """`fit` on a share of the training units, or on the training trials and further recordings of the same design."""

    def fit_resized(part: NeuralDataset, embeddings: Embeddings, seed: int) -> System:
        if size < 1:
            return fit(_fewer(part, size, seeding.numpy_generator(seed, "fewer", size)), embeddings, seed)
        trials = {key: _longer(t, more, int(size)) for key, t in part.trials.items()}
        return fit(replace(part, trials=trials), embeddings, seed)

    return fit_resized


def _fewer(part: NeuralDataset, share: float, generator: np.random.Generator) -> NeuralDataset:
    unit = "stimulus" if part.split is None else part.split.unit
    rows = {}
    for key, trials in part.trials.items():
        unit_of = splits.unit_values(trials, part.stimuli, unit)
        units = np.unique(unit_of)
        kept = generator.permutation(units)[: max(min(3, len(units)), round(share * len(units)))]
        rows[key] = np.isin(unit_of, kept)
    return part.select(rows=rows)


def _longer(trials: Trials, more: More, times: int) -> Trials:
    index = getattr(trials.responses, "index", np.arange(trials.n_trials))
    shape = trials.responses.shape
    responses = [np.asarray(trials.responses[np.arange(trials.n_trials)])]
    tables = [_renamed(trials.table, 0)]
    for again in range(1, times):
        responses.append(more(trials.key, again)[index].reshape(shape).astype(np.float32))
        tables.append(_renamed(trials.table, again))
    table = Table({name: np.concatenate([t[name] for t in tables]) for name in tables[0]})
    return replace(trials, responses=np.concatenate(responses), table=table)


def _renamed(table: Table, again: int) -> Table:
    """The table of a further recording: its runs, sessions and blocks are others."""
    names = ("run", "session", "exchangeability_block")
    other = {n: [f"{v}+{again}" if again else str(v) for v in table[n].tolist()] for n in names if n in table}
    moved = {"repeat": table["repeat"] + again * (table["repeat"].max() + 1)} if "repeat" in table else {}
    return table.replace(**other, **moved)
