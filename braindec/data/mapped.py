"""Preprocessing of recordings larger than memory: rows go through files that are mapped, a block at a time.

What steps compute is the same to the bit as in memory: they are given the same arrays, which lie elsewhere. What a
decoder trains on is kept beside the prepared data, by the hash of all that decides it, and found again by the next fit.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from braindec import __version__, checks, store
from braindec.data.loader import MappedRows
from braindec.data.preprocessing import FittedPreprocessing, Preprocessing
from braindec.data.rows import RowsView, row_digests, rows_hash
from braindec.data.step import State, Step
from braindec.data.unit_steps import units
from braindec.types import SubjectSignal, Table, Trials

BLOCK_BYTES = 64 << 20


class Scratch:
    """Arrays in files without a name, that vanish with the last use of the array.

    Parameters
    ----------
    folder : Path
        On a disk with room for the arrays; made where it is not there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def empty(self, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
        """An array to fill; its pages belong to the file."""
        if 0 in shape:
            return np.empty(shape, dtype)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))

    def copy(self, x: np.ndarray) -> np.ndarray:
        """The array, in a file."""
        out = self.empty(x.shape, x.dtype.type)
        out[...] = x
        return out


def fit_apply(
    preprocessing: Preprocessing, trials: Trials, scratch: Scratch, rows: np.ndarray | None = None
) -> tuple[FittedPreprocessing, np.ndarray]:
    """`Preprocessing.fit_apply` in files: statistics of some rows, and all rows with them applied."""
    signal, states = trials.signal, []
    x = _responses(trials, scratch)
    kept = trials.table if rows is None else trials.table.take(rows)
    for step in preprocessing.steps:
        state = step.fit(x if rows is None else _taken(x, rows, scratch), kept, signal)
        x = _applied(step, x, trials.table, signal, state, scratch)
        signal = step.output(signal, state)
        states.append(state)
    used = trials if rows is None else replace(trials, responses=RowsView(trials.responses, rows), table=kept)
    fitted = FittedPreprocessing(
        preprocessing.steps, tuple(states), trials.signal, signal, rows_hash(used), row_digests(used)
    )
    return fitted, x


def cached(
    preprocessing: Preprocessing, trials: Trials, folder: Path
) -> tuple[FittedPreprocessing, MappedRows]:
    """Preprocessing fitted on these trials, and the trials with it applied, made once and kept in a folder.

    Parameters
    ----------
    preprocessing : Preprocessing
    trials : Trials
    folder : Path
        Holds a file for each recording, choice of rows and preprocessing; any may be deleted.

    Raises
    ------
    ValueError
        If a response is NaN or infinite.
    """
    name = store.content_hash(
        content=content_of(trials), rows=rows_hash(trials), steps=preprocessing.to_json(), made_by=__version__,
        signal=[trials.units, trials.sfreq, trials.tmin, list(trials.responses.shape)],
    )  # fmt: skip
    path = folder / f"{trials.key}-{name[:16]}.h5"
    if not path.is_file():
        fitted, x = fit_apply(preprocessing, trials, Scratch(folder))
        with store.writer(path) as out:
            bulk = out.bulk("signals", x.shape, np.float32)
            for part in blocks(x.shape):
                bulk.append(x[part])
            arrays = fitted.to_arrays()
            for key, values in arrays.items():
                if values.size:
                    out.array(f"fitted/{key}", np.atleast_1d(values))
            about = {
                k: [list(v.shape), v.dtype.str] for k, v in arrays.items() if not v.size or not v.ndim
            }  # HDF5 checks no empty array and no single number
            out.attributes({"name": name, "fitted": fitted.config, "odd": about})
    stored = store.Stored(path)
    if stored.attributes["name"] != name:
        raise checks.DataFileError(path, "holds other trials than its name says", "Delete this file.")
    arrays = stored.group("fitted")
    for key, (shape, kind) in stored.attributes["odd"].items():
        arrays[key] = arrays[key].reshape(shape) if key in arrays else np.empty(shape, np.dtype(kind))
    return FittedPreprocessing.from_arrays(stored.attributes["fitted"], arrays), MappedRows(
        stored.rows("signals")
    )


def content_of(trials: Trials) -> str:
    """sha256 that changes with the responses; cheap for those of a prepared file, whose blocks are hashed already."""
    view = trials.responses
    if isinstance(view, RowsView) and isinstance(view.rows, store.Rows):
        members = np.ones(0, bool) if view.members is None else view.members
        return store.content_hash(digests=view.rows.placed()[1], index=view.index, members=members)
    if isinstance(view, store.Rows):
        return store.content_hash(digests=view.placed()[1])
    digest = hashlib.sha256(repr((view.shape, str(view.dtype))).encode())
    for part in blocks(view.shape):
        digest.update(np.ascontiguousarray(view[part]).data)
    return digest.hexdigest()


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows whose double-precision copy stays small."""
    step = max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(shape[1:], dtype=np.int64)))))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _responses(trials: Trials, scratch: Scratch) -> np.ndarray:
    out = scratch.empty(tuple(trials.responses.shape))
    for part in blocks(out.shape):
        values = np.asarray(trials.responses[np.arange(part.start, part.stop)], dtype=np.float32)
        out[part] = checks.finite(f"responses of {trials.key}", values)
    return out


def _taken(x: np.ndarray, rows: np.ndarray, scratch: Scratch) -> np.ndarray:
    out = scratch.empty((len(rows), *x.shape[1:]))
    for part in blocks(out.shape):
        out[part] = x[rows[part]]
    return out


def _applied(
    step: Step, x: np.ndarray, table: Table, signal: SubjectSignal, state: State, scratch: Scratch
) -> np.ndarray:
    """What the step makes of all rows; rows that it must see together (a run, a session) come together."""
    out = scratch.empty((len(x), *step.output(signal, state).shape))
    unit = getattr(step, "unit", None)
    if unit is None:
        groups = (np.arange(part.start, part.stop) for part in blocks(x.shape))
    else:
        groups = (rows for _, rows in units(table, unit))
    for rows in groups:
        out[rows] = step.apply(x[rows], table.take(rows), signal, state)
    return out
