"""Training data larger than memory: rows of a tensor that are read when a step asks for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import store
from braindec.data import NeuralDataset
from braindec.data.loader import MappedRows, gather
from braindec.data.mapped import Scratch
from braindec.data.place import MEMORY, Place
from braindec.data.preprocessing import FittedPreprocessing, Preprocessing, fit_together
from braindec.maths.groups import group_means
from braindec.types import Embeddings, Trials

IN_MEMORY_BYTES = 128 << 20  # what a part may hold of signals, and of targets, to be read whole
AT_ONCE_BYTES = 32 << 20  # what is computed on at once, of whatever is larger
MAX_AT_ONCE = 2048

Read = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


class RowTensor:
    """A float32 tensor (n, ...) whose rows are read on demand, in any order.

    Parameters
    ----------
    read : callable
        ``read(rows, out)`` gives float32 rows of the source, in `out` where it is given.
    index : int array, shape (n,)
        Which rows of the source these are.
    shape : tuple of int
        Of one row.
    """

    dtype = torch.float32

    def __init__(self, read: Read, index: np.ndarray, shape: tuple[int, ...]):
        self._read, self._index = read, index
        self.shape: tuple[int, ...] = (len(index), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Tensor:
        """Rows at positions (an integer tensor of any shape) or of a slice."""
        return self.read(torch.arange(len(self))[rows])

    def read(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows at positions, (*rows.shape, ...); in `out` where it is given, (rows.numel(), ...)."""
        found = self._read(self._index[rows.flatten().numpy()], None if out is None else out.numpy())
        values = torch.from_numpy(found) if out is None else out
        return values.reshape(*rows.shape, *self.shape[1:])

    def take(self, rows: Tensor) -> RowTensor:
        """Only these rows, still unread."""
        return RowTensor(self._read, self._index[rows.numpy()], self.shape[1:])


Rows = Tensor | RowTensor


def take(values: Rows, rows: Tensor) -> Rows:
    """These rows, read or unread as before."""
    return values.take(rows) if isinstance(values, RowTensor) else values[rows]


def whole(values: Rows) -> Tensor:
    """All rows, in memory."""
    return values[:] if isinstance(values, RowTensor) else values


def parts(*values: Rows) -> Iterator[slice]:
    """Slices of rows, few enough that those of the widest of the values stay small; one where all are small."""
    widest = max(4 * int(np.prod(v.shape[1:], dtype=np.int64)) for v in values)
    step = max(1, min(MAX_AT_ONCE, AT_ONCE_BYTES // max(1, widest)))
    for start in range(0, len(values[0]), step):
        yield slice(start, start + step)


def made_of(make: Callable[[slice], Tensor], *values: Rows, dtype: torch.dtype = torch.float32) -> Tensor:
    """What ``make(slice)`` gives for the rows of each of `parts`, in one tensor of this dtype.

    Each part's result is copied away before the next is read: kept, even few numbers would lie where a part was, and
    the next part could not lie there.
    """
    out = None
    for some in parts(*values):
        found = make(some)
        if out is None:
            out = torch.empty((len(values[0]), *found.shape[1:]), dtype=dtype)
        out[some] = found
        del found
    return torch.empty(0, dtype=dtype) if out is None else out


def of_array(values: MappedRows | np.ndarray) -> RowTensor:
    """All rows of a float32 array that lies in a mapped file."""
    return RowTensor(_reader(values), np.arange(len(values)), tuple(values.shape[1:]))


def of_embeddings(
    embeddings: Embeddings, ids: list[str], finish: Callable[[Tensor], Tensor] = lambda values: values
) -> RowTensor:
    """The embeddings of these stimuli, and what `finish` makes of them (row by row), unread."""
    values = embeddings.values
    source = MappedRows(values) if isinstance(values, store.Rows) else values

    def read(rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        unique, back = np.unique(rows, return_inverse=True)
        found = torch.from_numpy(np.asarray(source[unique], dtype=np.float32)[back])
        made: np.ndarray = finish(found).numpy()
        if out is None:
            return made
        out[...] = made
        return out

    return RowTensor(read, embeddings.positions(ids), tuple(values.shape[1:]))


def means(values: RowTensor, group: np.ndarray, n_groups: int) -> RowTensor:
    """The mean of each group of rows, unread; to the bit what `average_groups` makes of them in memory."""
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=n_groups)
    first = np.cumsum(counts) - counts
    n_values = int(np.prod(values.shape[1:], dtype=np.int64))

    def read(rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        if out is None:
            out = np.empty((len(rows), *values.shape[1:]), dtype=np.float32)
        step = max(1, AT_ONCE_BYTES // (8 * n_values * int(counts.max())))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            local = np.repeat(np.arange(len(some)), counts[some])
            members = np.concatenate([order[first[g] : first[g] + counts[g]] for g in some.tolist()])
            found = values.read(torch.from_numpy(members)).numpy()
            out[start : start + step] = group_means(found, local, len(some))
        return out

    return RowTensor(read, np.arange(n_groups), values.shape[1:])


def _reader(values: MappedRows | np.ndarray) -> Read:
    if isinstance(values, MappedRows):
        return values.read

    def read(rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        if out is None:
            out = np.empty((len(rows), *values.shape[1:]), dtype=np.float32)
        gather(values, rows, out)
        return out

    return read


def is_large(n_rows: int, shape: tuple[int, ...]) -> bool:
    """Whether float32 rows of this shape are too many for memory."""
    return 4 * n_rows * int(np.prod(shape, dtype=np.int64)) > IN_MEMORY_BYTES


def place_of(part: NeuralDataset, folder: Path | None) -> Path | None:
    """Where files of signals go that are too large for memory: None where they are not.

    Beside the prepared data; beside what the fit writes where that folder may not be written to; the system's folder
    for temporary files where there is neither.
    """
    n_values = sum(int(np.prod(t.responses.shape, dtype=np.int64)) for t in part.trials.values())
    if not is_large(n_values, ()):
        return None
    if part.folder is not None and os.access(part.folder, os.W_OK):
        return part.folder / "preprocessed"
    return (Path(tempfile.gettempdir()) / "braindec" if folder is None else folder) / "preprocessed"


def fitted_on(preprocessing: Preprocessing, trials: Trials) -> FittedPreprocessing:
    """`Preprocessing.fit`, of trials that may be too large for memory."""
    return fit_together({trials.key: preprocessing}, {trials.key: trials}, place=place_for(trials))[
        trials.key
    ][0]


def applied(fitted: FittedPreprocessing, trials: Trials) -> np.ndarray:
    """`FittedPreprocessing.apply`, of trials that may be too large for memory: then the array lies in a file."""
    return fitted.apply(trials, place_for(trials))


def place_for(trials: Trials) -> Place:
    """Where signals that are decoded lie: memory, or nameless temporary files where they are too large."""
    if not is_large(1, tuple(trials.responses.shape)):
        return MEMORY
    return Scratch(Path(tempfile.gettempdir()) / "braindec" / "preprocessed")
