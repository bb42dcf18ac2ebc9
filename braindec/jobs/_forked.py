"""Jobs that share their caller's memory: joblib's pool of forked processes, each of one thread."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

_ENDING = (signal.SIGTERM, signal.SIGUSR1)
_task: Callable[[int], Any] | None = None  # what a forked process finds of its parent


class _Parallel(Parallel):
    """joblib's, with a bar in place of its lines of text."""

    def __init__(self, bar: tqdm[Any], **settings: Any):
        super().__init__(**settings)
        self._bar = bar

    def print_progress(self) -> None:
        """Called by joblib when a job is done."""
        self._bar.update(self.n_completed_tasks - self._bar.n)


class _Process(ForkProcess):
    """One thread and no handlers: processes fill the machine together, and a forked OpenMP pool would hang."""

    def start(self) -> None:
        """Forks; what comes meanwhile waits until the new process has handlers of its own."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def run(self) -> None:
        """What multiprocessing calls in the new process."""
        for number in _ENDING:
            # The command's own handlers raise; a process that begins, or waits for work, may swallow that, and its
            # pool wait on.
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        torch.set_num_threads(1)
        threadpool_limits(1)  # numpy's and scipy's BLAS
        super().run()


class _Context(ForkContext):
    Process = _Process


def each(task: Callable[[int], Any], n: int, n_jobs: int, bar: tqdm[Any]) -> list[Any]:
    """See `jobs.numbered`; two processes or more."""
    global _task
    _task = task
    try:
        run = _Parallel(bar, n_jobs=n_jobs, backend=_Context(), batch_size=1, pre_dispatch="all")
        return list(run(map(delayed(_run), range(n))))
    finally:
        _task = None


def _run(number: int) -> Any:
    if _task is None:
        raise RuntimeError("a job was asked of a process that was not forked for it.")
    return _task(number)
