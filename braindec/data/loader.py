"""Rows of arrays larger than memory, in the sampler's order: a memory map of the block that `store` wrote as a whole.

HDF5 lays a bulk array down as one contiguous block, so its rows need no HDF5 to be read: torch's threads copy them from
the map into a buffer that is used again, at the speed of an array in memory once the file is in the page cache. Mapped
pages belong to the file and are given back when memory is short; they are no anonymous memory. Copying is bound by
memory: what shortens it is a second core, and pages of 2 MiB, whose addresses the processor keeps at hand.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from braindec import checks, store

T = TypeVar("T")
N_HASHING = 4  # threads that check blocks
HUGE_SHARE = 0.5  # of the machine's memory: a larger file is read by its rows, not by pages of 2 MiB
WAITS_S = 1e-3  # a read of this length or more waits for the disk (or is long enough to be done ahead)


_HERE = os.getpid()
_WORDS = tuple(np.dtype(name) for name in ("int64", "int32", "int16", "uint8"))
_HUGE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)  # Linux has it
_HUGE_BYTES = 2 << 20
_ADVISED = hasattr(os, "posix_fadvise")  # Linux; elsewhere the disk is asked row by row


def buffer(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Memory to be filled again and again: in pages of 2 MiB where it is large and the system has them.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy dtype

    Returns
    -------
    array
        What is in it is undefined.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if _HUGE is None or n_bytes < _HUGE_BYTES:
        return np.empty(shape, dtype)
    memory = mmap.mmap(-1, (n_bytes // _HUGE_BYTES + 2) * _HUGE_BYTES)
    memory.madvise(_HUGE)
    content = np.frombuffer(memory, np.uint8)
    start = -_address(content) % _HUGE_BYTES
    return content[start : start + n_bytes].view(dtype).reshape(shape)


def gather(values: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Copies rows of an array into a buffer, by as many threads as torch has.

    Parameters
    ----------
    values : array, shape (n_rows, ...)
        Contiguous; may be read-only.
    rows : int array, shape (n,)
        In [0, n_rows).
    out : array, shape (n, ...)
        Of the same type, contiguous.
    """
    if out.size:
        word = _word(out.nbytes // len(out), _address(values), _address(out))
        _copy(_words(values, word), rows, _words(out, word))


def _copy(source: torch.Tensor, rows: np.ndarray, target: torch.Tensor) -> None:
    if os.getpid() == _HERE:
        torch.index_select(source, 0, torch.from_numpy(rows.astype(np.int64, copy=False)), out=target)
    else:  # torch's threads do not survive a fork; mode "raise" would copy twice
        np.take(source.numpy(), rows, axis=0, out=target.numpy(), mode="clip")


def _address(values: np.ndarray) -> int:
    return int(values.__array_interface__["data"][0])


def _word(*numbers: int) -> np.dtype:
    """The longest type whose size divides them all."""
    return next(word for word in _WORDS if not any(number % word.itemsize for number in numbers))


def _words(values: np.ndarray, word: np.dtype) -> torch.Tensor:
    """The same memory as rows of integers: one copying routine for every type, and long ones are copied faster."""
    writable = values if values.flags.writeable else np.asarray(_Seen(values))
    return torch.from_numpy(writable.view(np.uint8).reshape(len(values), -1).view(word))


class _Seen:
    """Read-only memory as torch wants to see it, which knows of no such thing; nobody writes to it."""

    def __init__(self, values: np.ndarray):
        self.values = values
        known = values.__array_interface__
        self.__array_interface__ = known | {"data": (known["data"][0], False)}


class MappedRows:
    """Rows of one bulk array of a file that `store` wrote; every block is verified when first read.

    May be pickled and used after a fork; each process maps the file for itself.

    Parameters
    ----------
    rows : store.Rows
        ``store.Stored(path).rows(name)``.

    Raises
    ------
    DataFileError
        If the file is shorter than the array, or (when rows are read) a block is not what was written.
    """

    def __init__(self, rows: store.Rows):
        self.path, self.name = Path(rows.path), rows.name
        self.shape, self.dtype = tuple(rows.shape), np.dtype(rows.dtype)
        self._block_rows = rows.block_rows
        self._offset, self._digests = rows.placed()
        self._row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._unread = np.ones(len(self._digests), dtype=bool)
        self._n_unread = len(self._digests)
        self._huge = False  # whether the map asks for pages of 2 MiB
        self._waited = True  # the first read is from the disk, as far as anybody knows
        self._open: tuple[int, int, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def __del__(self) -> None:
        if (opened := getattr(self, "_open", None)) is not None:
            os.close(opened[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions, copied."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        return self.read(np.arange(len(self))[rows])

    def read(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows at positions in any order, repeats allowed.

        Parameters
        ----------
        rows : int array, shape (n,)
            In [0, n_rows).
        out : array, shape (n, *shape[1:]), optional
            Of the same type and contiguous: filled and returned.
        """
        if out is None:
            out = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        if out.dtype != self.dtype or out.shape != (len(rows), *self.shape[1:]):
            raise ValueError(
                f"out must be {self.dtype} {(len(rows), *self.shape[1:])}, got {out.dtype} {out.shape}."
            )
        if not len(rows):
            return out
        if int(rows.astype(np.uint64).max()) >= len(self):  # negative ones are huge there
            raise IndexError(f"rows must lie in [0, {len(self)}), got {rows.min()} to {rows.max()}.")
        values = self._map()[1]
        if self._n_unread:
            self._verify(rows)
        elif self._waited:
            self.announce(rows)
        start = time.perf_counter()
        gather(values, rows, out)
        self._waited = time.perf_counter() - start > WAITS_S + out.nbytes / 2e9
        return out

    def announce(self, rows: np.ndarray) -> None:
        """Tells the system which rows come next, in the order of the file: the disk fetches them all at once."""
        descriptor = self._map()[0]
        ordered = np.unique(rows)
        breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
        for run in np.split(ordered, breaks):
            self._fetch(descriptor, int(run[0]), int(run[-1]) + 1)

    def _fetch(self, descriptor: int, start: int, stop: int) -> None:
        place = self._offset + start * self._row_bytes
        if _ADVISED:
            os.posix_fadvise(descriptor, place, (stop - start) * self._row_bytes, os.POSIX_FADV_WILLNEED)

    def _verify(self, rows: np.ndarray) -> None:
        blocks = np.unique(rows // self._block_rows)
        new = blocks[self._unread[blocks]]
        descriptor, values = self._map()

        def whole(
            block: int,
        ) -> bool:  # asked for one by one: some threads wait for the disk while others hash
            if not self._huge:  # there the first value of a block brings the whole of it, in large pages
                self._fetch(
                    descriptor, block * self._block_rows, min((block + 1) * self._block_rows, len(self))
                )
            content = values[block * self._block_rows : (block + 1) * self._block_rows]
            return hashlib.sha256(content.data).digest() == self._digests[block].tobytes()

        if len(new) > 1:  # hashing leaves Python's lock
            with ThreadPoolExecutor(N_HASHING) as pool:
                good = list(pool.map(whole, new.tolist()))
        else:
            good = [whole(block) for block in new.tolist()]
        for block, is_good in zip(new.tolist(), good, strict=True):
            if not is_good:
                found = f"{self.name!r} is damaged in rows {block * self._block_rows} and after"
                raise checks.DataFileError(self.path, found, "Prepare it again.")
        self._unread[new] = False
        self._n_unread = int(self._unread.sum())

    def _map(self) -> tuple[int, np.ndarray]:
        """File descriptor and the array, of this process."""
        if self._open is None or self._open[0] != os.getpid():
            descriptor = os.open(self.path, os.O_RDONLY)
            n_values = int(np.prod(self.shape, dtype=np.int64))
            if os.fstat(descriptor).st_size < self._offset + n_values * self.dtype.itemsize:
                os.close(descriptor)
                raise checks.DataFileError(self.path, f"ends within {self.name!r}", "Prepare it again.")
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            self._huge = False
            if _HUGE is not None:
                self._huge = len(mapped) < HUGE_SHARE * os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
                if self._huge:
                    mapped.madvise(_HUGE)
            values = np.frombuffer(mapped, self.dtype, n_values, self._offset).reshape(self.shape)
            self._open = (os.getpid(), descriptor, values)
        return self._open[1], self._open[2]


class Ahead(Generic[T]):
    """``make(step, slot)`` for one step after the other; the next one is made meanwhile, where making takes long.

    `slot` is 0 or 1 and says which of two sets of buffers to fill: what a call returned stays whole until the next
    call. What is made depends on the step alone, so it is the same with and without the thread.

    Parameters
    ----------
    make : callable
        ``make(step, slot)``.
    """

    def __init__(self, make: Callable[[int, int], T]):
        self._make = make
        self._slot = 0
        self._next: tuple[int, Future[T]] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._long = False

    def __call__(self, step: int) -> T:
        """What is made for a step."""
        pending, self._next = self._next, None
        if pending is not None and pending[0] == step:
            made = pending[1].result()
        else:
            if pending is not None:
                pending[1].exception()  # another step was asked for: its buffers are free once it is done
            made = self._timed(step, self._slot)
        if self._long:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="braindec-ahead")
            self._slot = (
                1 - self._slot
            )  # only then: a buffer that is used again is still in the processor's cache
            self._next = (step + 1, self._thread.submit(self._timed, step + 1, self._slot))
        return made

    def _timed(self, step: int, slot: int) -> T:
        start = time.perf_counter()
        made = self._make(step, slot)
        self._long = time.perf_counter() - start > WAITS_S
        return made
