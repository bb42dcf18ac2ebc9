"""Large datasets prepared session by session, several at a time: what is done is kept, and nothing shows before all is.

Each session's responses become one file in a hidden folder beside the prepared one. A run that was stopped goes on with
the sessions that are missing; one whose raw files and settings did not change does nothing.
"""

from __future__ import annotations

import abc
import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec import jobs as jobs_of
from braindec.data import layout

PIECE_BYTES = 32 << 20  # responses are copied in pieces of about this size
NOT_FINITE, CONSTANT = 1, 2  # flags of a feature


@dataclass(frozen=True, eq=False)
class Task(abc.ABC):
    """What becomes one staged file, of a session of a subject as a rule.

    Parameters
    ----------
    name : str
        Of the file, e.g. ``"sub-01_ses-03"``.
    files : tuple of Path
        Raw files that it is made from.
    settings : mapping
        JSON values: what else decides it.
    """

    name: str
    files: tuple[Path, ...]
    settings: Mapping[str, Any]

    @abc.abstractmethod
    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Fills the file, where the job is done, and returns further attributes of it (JSON values)."""


@dataclass(frozen=True, eq=False)
class Job(Task):
    """A task whose rows are responses, copied as they are.

    Parameters
    ----------
    read : callable () -> rows
        What has ``shape`` and gives (n_rows, n_features, ...) by ``[positions]``; called where the job is done.
    index : int array, shape (n_trials,), optional
        The rows that are trials; None: all.
    """

    read: Callable[[], Any]
    index: np.ndarray | None = None

    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Copies the rows in pieces, and flags features that are not finite or never vary."""
        rows = self.read()
        index = np.arange(rows.shape[0]) if self.index is None else self.index
        n_trials, n_features = len(index), rows.shape[1]
        others = (0, *range(2, len(rows.shape)))
        step = max(1, PIECE_BYTES // (4 * int(np.prod(rows.shape[1:], dtype=np.int64))))
        constant, bad, first = np.ones(n_features, bool), np.zeros(n_features, bool), None
        bulk = out.bulk("responses", (n_trials, *rows.shape[1:]), np.float32)
        for start in range(0, n_trials, step):
            piece = np.asarray(rows[index[start : start + step]], dtype=np.float32)
            bad |= ~np.isfinite(piece).all(others)
            first = piece[0].copy() if first is None else first
            constant &= (piece == first).all(others)
            bulk.append(piece)
        out.array("flags", NOT_FINITE * bad.astype(np.uint8) + CONSTANT * constant.astype(np.uint8))
        return {}


class Staged:
    """Sessions that were staged, one after the other, by row: float32 (n_trials, n_kept, ...).

    Parameters
    ----------
    paths : sequence of Path
    name : str
        Of the array in each file.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, paths: Sequence[Path], name: str = "responses"):
        self._stored = [store.Stored(path) for path in paths]
        self._rows = [stored.rows(name) for stored in self._stored]
        self._first = np.concatenate([[0], np.cumsum([len(rows) for rows in self._rows])])
        self.flags = np.stack([stored.array("flags") for stored in self._stored])  # (session, feature)
        self.members = np.ones(self.flags.shape[1], dtype=bool)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_trials, n_kept, ...)."""
        return int(self._first[-1]), int(self.members.sum()), *self._rows[0].shape[2:]

    @property
    def raw_files(self) -> dict[str, str]:
        """sha256 of every raw file by its path as given."""
        return {path: sha for stored in self._stored for path, sha in stored.attributes["raw_files"].items()}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions."""
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        of = np.searchsorted(self._first, wanted, side="right") - 1
        for s in np.unique(of).tolist():
            places = np.flatnonzero(of == s)
            out[places] = self._rows[s][wanted[places] - self._first[s]][:, self.members]
        return out


def folder_of(out: str | Path) -> Path:
    """Where the sessions of a prepared folder are staged."""
    out = Path(out).resolve()
    return out.with_name(f".{out.name}.staging")


def stage(out: str | Path, jobs: Sequence[Task], n_jobs: int = 1) -> dict[str, Path]:
    """Reads every session that is not there yet and returns their files by name.

    Parameters
    ----------
    out : path
        The prepared folder to be.
    jobs : sequence of Task
    n_jobs : int
        Processes at work (joblib: `joblib.parallel_config` chooses another backend).

    Raises
    ------
    DataFileError
        Of the first session that cannot be read; those that were stay.
    """
    checks.unique("names of jobs", [job.name for job in jobs])
    folder = folder_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {job.name: folder / f"{job.name}.h5" for job in jobs}
    missing = [job for job in jobs if not _is_done(paths[job.name], job)]
    try:
        jobs_of.each(_do, ((paths[job.name], job) for job in missing), n_jobs)
    except BaseException:
        with contextlib.suppress(OSError):  # it holds what was done
            folder.rmdir()
        raise
    return paths


def finish(out: str | Path, made: Path) -> None:
    """Puts a folder that is complete in place of `out`, dataset.json last, and forgets the staged sessions."""
    out = Path(out)
    if out.exists():
        for path in sorted(made.iterdir(), key=lambda p: p.name == layout.MANIFEST):
            path.replace(out / path.name)
    else:
        made.replace(out)
    shutil.rmtree(folder_of(out))


def is_made_of(
    held: Mapping[str, Any], files: Sequence[Path], hashes: Callable[[], Mapping[str, str]]
) -> bool:
    """Whether files are those that `held` tells of: by size and time of change, or else by their content.

    Parameters
    ----------
    held : mapping
        ``stamps`` (`stamps` of the files then) and ``raw_files`` (sha256 by name).
    files : sequence of Path
    hashes : callable
        The files' sha256 now, by the same names; asked for where a stamp differs.
    """
    return held["stamps"] == stamps(files) or held["raw_files"] == hashes()


def stamps(files: Sequence[Path]) -> dict[str, list[int]]:
    """Size and time of change of each file: what tells cheaply that it is still the same."""
    return {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def _do(path: Path, task: Task) -> None:
    with store.writer(path) as out:
        further = task.write(out)
        out.attributes(
            {
                **further,
                "settings": dict(task.settings),
                "stamps": stamps(task.files),
                "raw_files": {str(file): store.sha256_of(file) for file in task.files},
            }
        )


def _is_done(path: Path, job: Task) -> bool:
    """Whether the staged file is whole and was made from what the raw files hold now."""
    if not path.is_file():
        return False
    about = store.Stored(path).attributes
    if about["settings"] != dict(job.settings) or set(about["raw_files"]) != {str(f) for f in job.files}:
        return False
    return is_made_of(about, job.files, lambda: {str(file): store.sha256_of(file) for file in job.files})
