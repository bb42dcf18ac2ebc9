"""Independent refits, several at a time: a forked process each, or wherever `joblib.parallel_config` wants them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from braindec import checks, jobs

_task: Callable[[int], Any] | None = None  # what a forked process finds of its parent


def refits(task: Callable[[int], Any], n: int, *, n_jobs: int, said: str, progress: bool) -> list[Any]:
    """``[task(0), ..., task(n - 1)]``, at most `n_jobs` at once.

    Parameters
    ----------
    task : callable
        A function of its number alone: nothing that it changes outlives it. Its result can be pickled.
    n_jobs : int
        Processes; 0 for as many as there are processor cores. One, and no process at all, where forking is not safe:
        on other systems than Linux, and once a GPU is in use. Where the caller chose a backend of joblib for more than
        one job (`braindec.jobs.on`), that backend's jobs, and as many as it says.
    said : str
        Beside the progress bar.
    """
    checks.at_least("n_jobs", n_jobs, 0)
    if n > 1 and jobs.chosen():
        return jobs.each(partial(_elsewhere, task), ((number,) for number in range(n)))
    n_jobs = min(n, n_jobs or os.cpu_count() or 1)
    forks = sys.platform == "linux" and not torch.cuda.is_initialized()
    found = _forked(task, n, n_jobs) if forks and n_jobs > 1 else map(task, range(n))
    return list(tqdm(found, desc=said, total=n, disable=not progress, leave=False))


def _forked(task: Callable[[int], Any], n: int, n_jobs: int) -> Iterator[Any]:
    global _task
    _task = task
    try:
        with multiprocessing.get_context("fork").Pool(n_jobs, initializer=_alone) as pool:
            yield from map(pickle.loads, pool.imap(_run, range(n)))
    finally:
        _task = None


def _alone() -> None:
    """One thread and no handlers: processes fill the machine together, a forked OpenMP pool would hang."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        # the command's own handlers raise; a process that waits for work may swallow that, and its pool wait for ever
        signal.signal(number, signal.SIG_DFL)
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's and scipy's BLAS


def _elsewhere(task: Callable[[int], Any], number: int) -> Any:
    """One task with one thread, as a forked process would do it."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return task(number)
    finally:
        torch.set_num_threads(n_threads)


def _run(number: int) -> bytes:
    """One result as bytes: pickled here, tensors travel as values and not as files shared with a process that ends."""
    if _task is None:
        raise RuntimeError("a refit was asked of a process that was not forked for it.")
    return pickle.dumps(_task(number))
