"""Retrieval at several granularities: the very picture, one of its kind, one of its background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.data import NeuralDataset
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.scoring import Judged, scores_of
from braindec.maths import nearest
from braindec.stats.intervals import proportion_interval
from braindec.types import Embeddings, Score

Predict = Callable[[str, Sequence[str]], np.ndarray]


def granular_retrieval(
    predict: Predict,
    nulls: Sequence[Predict],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    columns: Mapping[str, str | None],
) -> list[Score]:
    """Whether the nearest test picture is the presented one, or shares a property with it.

    Parameters
    ----------
    predict : callable
        ``predict(signal key, ids)``: embeddings (n, n_tokens, dim) of these test stimuli.
    nulls : sequence of callable
        The same of decoders fitted to permuted pairs.
    recipe : Recipe
    dataset : NeuralDataset
        Whole, with the split in use; its stimuli have a table.
    embeddings : Embeddings
        True ones, compared by the cosine about the training stimuli's mean.
    columns : mapping of str to str or None
        By granularity, the stimuli's column that has to agree; None: the picture itself.

    Returns
    -------
    list of Score
        ``"<granularity>_top1"`` of ``"braindec"`` and ``"shuffled"``. Chance is the mean share of the gallery that
        would count.
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    table = dataset.stimuli.table
    if table is None:
        raise ValueError(f"the stimuli of {dataset.name!r} have no table: nothing is known that could agree.")
    row = {name: i for i, name in enumerate(dataset.stimuli.ids)}
    measured: dict[str, dict[str, dict[str, Measured]]] = {"braindec": {}, "shuffled": {}}
    null, ids = {}, {}
    for key in test.keys:
        ids[key] = tuple(sorted(set(test.trials[key].table["stimulus_id"].tolist())))
        own = sorted(set(dataset.part("train").trials[key].table["stimulus_id"].tolist()))
        mean, gallery = embeddings.of(own).mean(0), embeddings.of(ids[key])
        labels = {
            name: np.array(ids[key])
            if column is None
            else np.asarray(_column(table, column))[[row[i] for i in ids[key]]]
            for name, column in columns.items()
        }
        hits = [_hits(one(key, ids[key]) - mean, gallery - mean, labels) for one in (predict, *nulls)]
        for system, found in zip(measured, hits):
            measured[system][key] = {
                f"{name}_top1": _measured(name, found[name], labels[name]) for name in labels
            }
        null[key] = {f"{name}_top1": np.array([h[name].mean() for h in hits[1:]]) for name in labels}
    return [
        score
        for system, by_key in measured.items()
        for score in scores_of(Judged(system, {}, by_key, null, sample_names=ids), protocol)
    ]


def _column(table: Any, column: str) -> Any:
    checks.one_of("column of the stimuli", column, list(table))
    return table[column]


def _hits(found: np.ndarray, gallery: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    query, known = (
        torch.from_numpy(np.ascontiguousarray(v, np.float32)).flatten(1) for v in (found, gallery)
    )
    chosen = nearest.similarity(query, known).argmax(1).numpy()
    return {name: (values[chosen] == values).astype(np.float64) for name, values in labels.items()}


def _measured(name: str, hits: np.ndarray, labels: np.ndarray) -> Measured:
    chance = float((labels[:, None] == labels[None]).mean())
    interval = proportion_interval(hits)
    ends = (float(interval.low), float(interval.high))
    return Measured(f"{name}_top1", float(hits.mean()), ends, chance, len(hits), "higher", hits)
