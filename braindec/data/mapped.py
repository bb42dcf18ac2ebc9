"""Preprocessing of recordings larger than memory: rows go through files that are mapped, a block at a time.

What steps compute is the same to the bit as in memory: they are given the same arrays, which lie elsewhere. What a
decoder trains on is kept beside the prepared data, by the hash of all that decides it, and found again by the next fit.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from braindec import __version__, checks, store
from braindec.data import spaces
from braindec.data.loader import MappedRows
from braindec.data.place import Place
from braindec.data.preprocessing import FittedPreprocessing, Preprocessing, fit_together
from braindec.data.rows import RowsView, rows_hash
from braindec.data.step import State, Step
from braindec.data.unit_steps import feature_parts
from braindec.types import SubjectSignal, Table, Trials

BLOCK_BYTES = 64 << 20


class Scratch(Place):
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

    def responses(self, trials: Trials) -> np.ndarray:
        out = self.empty(tuple(trials.responses.shape))
        for part in blocks(out.shape):
            values = np.asarray(trials.responses[np.arange(part.start, part.stop)], dtype=np.float32)
            out[part] = checks.finite(f"responses of {trials.key}", values)
        return out

    def some(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out = self.empty((len(rows), *x.shape[1:]))
        for part in blocks(out.shape):
            out[part] = x[rows[part]]
        return out

    def applied(
        self, step: Step, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> np.ndarray:
        out = self.empty((len(x), *step.output(signal, state).shape))
        alone = step.by_row(x, table, signal, state)
        if alone is not None:
            step, state = alone
            for part in blocks(x.shape):
                rows = np.arange(part.start, part.stop)
                out[part] = step.apply(x[part], table.take(rows), signal, state)
            return out
        for rows in step.together(table):
            for part in feature_parts(len(rows), x.shape):
                some = step.of_features(state, part)
                out[rows, part] = step.apply(x[rows, part], table.take(rows), signal, some)
        return out


def fit_apply(
    preprocessing: Preprocessing, trials: Trials, scratch: Scratch, rows: np.ndarray | None = None
) -> tuple[FittedPreprocessing, np.ndarray]:
    """`Preprocessing.fit_apply` in files: statistics of some rows, and all rows with them applied."""
    kept = None if rows is None else {trials.key: rows}
    return fit_together({trials.key: preprocessing}, {trials.key: trials}, kept, place=scratch)[trials.key]


def cached(
    chains: Mapping[str, Preprocessing],
    trials: Mapping[str, Trials],
    folder: Path,
    reference: Mapping[str, FittedPreprocessing] | None = None,
) -> dict[str, tuple[FittedPreprocessing, MappedRows]]:
    """Preprocessing fitted on these trials, and the trials with it applied, made once and kept in a folder.

    Parameters
    ----------
    chains, trials, reference
        As in `preprocessing.fit_together`; subjects that are aligned are fitted together, others one by one.
    folder : Path
        Holds a file for each recording, choice of rows and preprocessing; any may be deleted.

    Raises
    ------
    ValueError
        If a response is NaN or infinite.
    """
    out: dict[str, tuple[FittedPreprocessing, MappedRows]] = {}
    for keys in _groups(chains, trials):
        group = {key: trials[key] for key in keys}
        earlier = None if reference is None else reference.get(group[keys[0]].modality)
        about = {key: _about(chains[key], t) for key, t in group.items()}
        if chains[keys[0]].joint:  # whoever it is aligned with decides what it becomes
            others = store.content_hash(**about, reference=None if earlier is None else _hash_of(earlier))
            about = {key: store.content_hash(own=own, others=others) for key, own in about.items()}
        paths = {key: folder / f"{key}-{name[:16]}.h5" for key, name in about.items()}
        if not all(path.is_file() for path in paths.values()):
            found = fit_together(chains, group, reference=reference, place=Scratch(folder))
            for key, (fitted, x) in found.items():
                _write(paths[key], about[key], fitted, x)
        out |= {key: _read(path, about[key]) for key, path in paths.items()}
    return {key: out[key] for key in trials}


def _groups(chains: Mapping[str, Preprocessing], trials: Mapping[str, Trials]) -> list[list[str]]:
    """Signal keys that are fitted together: those of a modality with an alignment, and each other one alone."""
    groups: dict[str, list[str]] = {}
    for key, t in trials.items():
        groups.setdefault(t.modality if chains[key].joint else key, []).append(key)
    return list(groups.values())


def _about(preprocessing: Preprocessing, trials: Trials) -> str:
    """Hash of all that decides what is made of one recording alone: steps look at regions and at any column too."""
    space, places = spaces.to_arrays(trials.space)
    return store.content_hash(
        content=content_of(trials), rows=rows_hash(trials), steps=preprocessing.to_json(), made_by=__version__,
        signal=[trials.units, trials.sfreq, trials.tmin, list(trials.responses.shape)], space=space,
        **{f"space/{name}": values for name, values in places.items()},
        **{f"table/{name}": column for name, column in trials.table.items()},
    )  # fmt: skip


def _hash_of(fitted: FittedPreprocessing) -> str:
    return store.content_hash(config=fitted.config, **fitted.to_arrays())


def _write(path: Path, name: str, fitted: FittedPreprocessing, x: np.ndarray) -> None:
    with store.writer(path) as out:
        bulk = out.bulk("signals", x.shape, np.float32)
        for part in blocks(x.shape):
            bulk.append(x[part])
        arrays = fitted.to_arrays()
        for key, values in arrays.items():
            if values.size:
                out.array(f"fitted/{key}", np.atleast_1d(values))
        odd = {
            k: [list(v.shape), v.dtype.str] for k, v in arrays.items() if not v.size or not v.ndim
        }  # HDF5 checks no empty array and no single number
        out.attributes({"name": name, "fitted": fitted.config, "odd": odd})


def _read(path: Path, name: str) -> tuple[FittedPreprocessing, MappedRows]:
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
