"""Embeddings on disk: one file a target and set of stimuli, made once by whoever comes first, block by block."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks, store

AT_ONCE = 256  # stimuli read, embedded and written together: whole batches of the models

Compute = Callable[[Sequence[str]], np.ndarray]  # ids -> float32 (n, n_tokens, dim)


def kept(
    path: Path, ids: Sequence[str], compute: Compute, about: dict[str, Any], *, text: str, progress: bool
) -> store.Stored:
    """The file, made if it is not there.

    Processes that ask for the same file at once wait for the first one. What it has embedded when it is killed is
    found by the next one, but for the last block.

    Parameters
    ----------
    path : Path
    ids : sequence of str
    compute : callable
    about : dict
        ``space``, ``identity`` and ``provenance``, kept with the values.
    text : str
        Of the progress bar.
    progress : bool

    Raises
    ------
    DataFileError
        If the file holds other embeddings.
    """
    if not path.is_file():
        with alone(path):
            if not path.is_file():  # made by another process while this one waited
                _make(path, ids, compute, about, text, progress)
    found = store.Stored(path)
    if found.attributes["provenance"] != about["provenance"]:
        raise checks.DataFileError(
            path, "holds embeddings of other stimuli or of another model", "Delete this file."
        )
    return found


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process of this machine at a time, by a lock that dies with its process."""
    try:
        import fcntl
    except ImportError:  # Windows: all may make the file, and the last one's replaces the others'
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.parent / f".{path.name}.lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        # Who waits for it finds the file made, so that it does not matter that the next one makes a new lock.
        lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _make(
    path: Path, ids: Sequence[str], compute: Compute, about: dict[str, Any], text: str, progress: bool
) -> None:
    """Blocks beside the file first, then the file, whole or not at all, then the blocks go."""
    starts = range(0, len(ids), AT_ONCE)
    blocks = path.parent / f".{path.name}.blocks"
    bar = tqdm(starts, desc=text, disable=not progress)
    if len(starts) <= 1:
        _write(path, ids, (compute(ids[start : start + AT_ONCE]) for start in bar), about)
        return
    for start in bar:
        _block(blocks, start, ids[start : start + AT_ONCE], compute, about["provenance"])
    read = (store.Stored(_name(blocks, start)).rows("values")[:] for start in starts)
    _write(path, ids, read, about)
    shutil.rmtree(blocks)


def _name(blocks: Path, start: int) -> Path:
    return blocks / f"{start:09d}.h5"


def _block(blocks: Path, start: int, ids: Sequence[str], compute: Compute, provenance: str) -> None:
    path = _name(blocks, start)
    if path.is_file():
        with contextlib.suppress(checks.DataFileError):  # a damaged block is made again
            stored = store.Stored(path)
            stored.rows("values")[:]
            if stored.attributes["provenance"] == provenance:
                return
    values = compute(ids)
    with store.writer(path) as out:
        out.bulk("values", values.shape, values.dtype).append(values)
        out.attributes({"provenance": provenance})


def _write(path: Path, ids: Sequence[str], blocks: Iterator[np.ndarray], about: dict[str, Any]) -> None:
    with store.writer(path) as out:
        out.array("ids", np.array(ids))
        bulk = None
        for values in blocks:
            if bulk is None:
                bulk = out.bulk("values", (len(ids), *values.shape[1:]), values.dtype)
            bulk.append(values)
        out.attributes(about)
