"""Some rows and columns of an array that is read on demand, and the hash that names a choice of rows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import store
from braindec.types import Trials

# What tells a trial from others.
ROW_COLUMNS = ("stimulus_id", "session", "run", "onset_s", "acquisition_order", "repeat")


class RowsView:
    """Rows (and features) of an array or of anything read by ``[rows]``, still read on demand.

    Parameters
    ----------
    rows : array-like with ``shape`` and ``[rows]``
    index : int array, shape (n_kept,)
        Positions along axis 0, in order.
    members : bool array, shape (n_features,), optional
        Features of axis 1 that are kept.
    """

    def __init__(self, rows: Any, index: np.ndarray, members: np.ndarray | None = None):
        self.rows: Any = rows
        self.index: np.ndarray = np.asarray(index, dtype=np.int64)
        self.members: np.ndarray | None = members
        if isinstance(rows, RowsView):  # views of views stay one step from the file
            self.rows, self.index = rows.rows, rows.index[self.index]
            self.members = rows.members if members is None else _compose(rows.members, members)
        rows, members = self.rows, self.members
        n_features = rows.shape[1] if members is None else int(members.sum())
        self.shape: tuple[int, ...] = (len(self.index), n_features, *rows.shape[2:])

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return np.dtype(self.rows.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions, as a numpy array."""
        values = np.asarray(self.rows[self.index[rows]])
        if self.members is None:
            return values
        return values[self.members] if isinstance(rows, int | np.integer) else values[:, self.members]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[np.arange(len(self))], dtype=dtype)


def rows_hash(trials: Trials) -> str:
    """sha256 over subject, modality and the trials' session, run, onset, order, stimulus and repeat."""
    columns = {n: trials.table[n].astype(str) for n in ROW_COLUMNS}
    return store.content_hash(subject=trials.subject, modality=trials.modality, **columns)


def row_digests(trials: Trials) -> np.ndarray:
    """A number for each trial that tells it from others of any dataset, uint64 (n_trials,): which rows were used.

    Made of what `rows_hash` is made of; two of a million trials share one with a chance of 3e-8.
    """
    columns = [trials.table[n].astype(str).tolist() for n in ROW_COLUMNS]
    texts = ("\x1f".join((trials.key, *row)).encode() for row in zip(*columns, strict=True))
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _compose(outer: np.ndarray | None, inner: np.ndarray) -> np.ndarray:
    if outer is None:
        return inner
    members = outer.copy()
    members[outer] = inner
    return members


def view(trials: Trials, rows: np.ndarray) -> Trials:
    """The trials at these rows (mask or positions); responses stay where they are and are read on demand."""
    rows = np.asarray(rows)
    index = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
    if rows.dtype == bool and rows.shape != (trials.n_trials,):
        raise ValueError(f"rows has {rows.shape} but there are {trials.n_trials} trials; they must match.")
    return replace(trials, responses=RowsView(trials.responses, index), table=trials.table.take(index))


def array_hash(trials: Trials) -> str:
    """sha256 over the responses and the table of trials in memory."""
    responses = np.asarray(trials.responses[np.arange(trials.n_trials)])
    return store.content_hash(responses=responses, **{f"table/{n}": c for n, c in trials.table.items()})
