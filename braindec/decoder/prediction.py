"""Predicted embeddings with the stimuli they belong to, and where repeats are averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from braindec import checks
from braindec.maths.groups import group_means
from braindec.types import UNKNOWN, Embeddings, Table

OF_CLASSES = "category_prototypes/"  # spaces that hold one embedding a class
AVERAGED_BYTES = 64 << 20  # of the columns that are averaged at a time, in double precision

Repeats = Literal["none", "before", "after"]
Direction = Literal[
    "image", "brain"
]  # what is looked for: the image of a response, or the response to an image


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted embeddings of one subject.

    Parameters
    ----------
    ids : tuple of str
        The stimulus that was presented, a row each.
    values : float32 array, shape (n, n_tokens, n_dims)
        In the target's own space (its mean and scale restored).
    table : Table
        Trial table of the rows (the first repeat's row where repeats were averaged).
    n_repeats : int array, shape (n,)
        Trials behind each row.
    key : str
        Signal key of the subject, where it is known.
    told : mapping of str to float32 array, shapes (n, n_tokens, n_dims)
        What the prior is told beside it: predictions of the decoder's further outputs (`Settings.prior_told`), each in
        its own space.
    """

    ids: tuple[str, ...]
    values: np.ndarray
    table: Table
    n_repeats: np.ndarray
    key: str = ""
    told: Mapping[str, np.ndarray] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> Prediction:
        """These rows."""
        return Prediction(
            tuple(self.ids[i] for i in rows), self.values[rows], self.table.take(rows), self.n_repeats[rows],
            self.key, {name: values[rows] for name, values in self.told.items()},
        )  # fmt: skip


def group_repeats(stimulus_ids: np.ndarray, units: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Group number of every row and the first row of every group, in order of first appearance.

    Parameters
    ----------
    stimulus_ids : text array, shape (n_trials,)
        Trials whose stimulus is not recorded are groups of their own.
    units : text array, shape (n_trials,), optional
        The split's unit of each trial (run, session): repeats in different units are no group, so that folds over
        units still divide what was averaged.
    """
    keys = np.where(
        stimulus_ids == UNKNOWN, np.char.add("\x00", np.arange(len(stimulus_ids)).astype(str)), stimulus_ids
    )
    if units is not None:
        keys = np.char.add(np.char.add(keys, "\x01"), np.asarray(units).astype(str))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[group], first[order]


def told_apart(stimulus_ids: np.ndarray, embeddings: Embeddings) -> np.ndarray:
    """Stimulus ids to group repeats by; of trials that are named by their class alone, a name of its own for each.

    Trials of a class are no repeats of a stimulus: their means would leave as many rows as there are classes, while
    each trial is judged alone.
    """
    known = np.unique(stimulus_ids)
    if not embeddings.space.startswith(OF_CLASSES) or len(known) == len(stimulus_ids):
        return stimulus_ids
    n_classes = len(np.unique(embeddings.of(known.tolist()).reshape(len(known), -1), axis=0))
    return np.arange(len(stimulus_ids)).astype(str) if n_classes == len(known) else stimulus_ids


def average_groups(
    values: np.ndarray, group: np.ndarray, n_groups: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """Mean over the rows of each group: (n, ...) to (n_groups, ...), float32.

    Parameters
    ----------
    values : float array, shape (n, ...)
        May lie in a mapped file: some of its columns are copied at a time.
    group : int array, shape (n,)
    n_groups : int
    rows : int array, optional
        Which rows are meant; `group` is theirs.
    """
    flat = values.reshape(len(values), -1)
    out = np.empty((n_groups, flat.shape[1]), dtype=np.float32)
    step = max(1, AVERAGED_BYTES // (8 * max(1, len(group))))
    for start in range(0, flat.shape[1], step):
        some = flat[:, start : start + step]
        out[:, start : start + step] = group_means(some if rows is None else some[rows], group, n_groups)
    return out.reshape(n_groups, *values.shape[1:])


def with_repeats(
    responses: np.ndarray, table: Table, repeats: Repeats, predict: Callable[[np.ndarray], np.ndarray]
) -> Prediction:
    """Predicts single trials, the mean response of a stimulus (`before`) or the mean prediction (`after`).

    Parameters
    ----------
    responses : float32 array, shape (n_trials, *signal)
    table : Table
    repeats : ``"none"``, ``"before"`` or ``"after"``
        Where repeats are averaged: not at all, before the model, or after it.
    predict : callable
        (n, *signal) to (n, n_tokens, n_dims).
    """
    checks.one_of("repeats", repeats, ("none", "before", "after"))
    ids = table["stimulus_id"]
    if repeats == "none":
        return Prediction(tuple(ids.tolist()), predict(responses), table, np.ones(len(ids), dtype=int))
    group, first = group_repeats(ids)
    if repeats == "before":
        values = predict(average_groups(responses, group, len(first)))
    else:
        values = average_groups(predict(responses), group, len(first))
    return Prediction(tuple(ids[first].tolist()), values, table.take(first), np.bincount(group))
