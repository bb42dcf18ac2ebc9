"""Independent jobs through joblib, on whatever its caller chose: processes here, dask, ray, or SLURM through submitit.

There is no engine in braindec: `joblib.parallel_config(backend=...)` around a call decides where its jobs run. Without
one, jobs whose data are too large to send run on joblib's multiprocessing backend (`numbered`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from braindec import checks

if TYPE_CHECKING:
    from tqdm.auto import tqdm

T = TypeVar("T")
BACKENDS = ("loky", "dask", "ray", "submitit")
_sent = 0  # jobs that were given to joblib so far


def each(function: Callable[..., T], arguments: Iterable[tuple[Any, ...]], n_jobs: int = 1) -> list[T]:
    """``[function(*a) for a in arguments]``, wherever joblib's caller wants it.

    Parameters
    ----------
    function : callable
        Of its arguments alone; it and they can be pickled (by cloudpickle, so functions within functions can).
    arguments : iterable of tuple
    n_jobs : int
        Jobs at once; 1 leaves it to `joblib.parallel_config`, and is one after the other where there is none.
    """
    from joblib import Parallel, delayed

    def calls() -> Iterator[Any]:
        global _sent
        for a in arguments:
            _sent += 1
            yield delayed(function)(*a)

    return list(Parallel(n_jobs=None if n_jobs == 1 else n_jobs)(calls()))


def numbered(task: Callable[[int], T], n: int, n_jobs: int, bar: tqdm[Any]) -> list[T]:
    """``[task(0), ..., task(n - 1)]`` of a task that may be a function within a function, over arrays of any size.

    Parameters
    ----------
    task : callable
        A function of its number alone: nothing that it changes outlives it. Its result can be pickled.
    n_jobs : int
        At once; 0 for as many as `n_cores`. By default they are joblib's, on its multiprocessing backend: processes
        that are forked share their parent's memory, so that neither the task nor its data are sent, and each computes
        with one thread. One after the other, and in no process of their own, where forking is not
        safe: on other systems than Linux, once a GPU is in use, and within a job. Where `on` or
        `joblib.parallel_config` asks for several jobs, as many as it says; on another backend than multiprocessing
        the task is sent to each of them, pickled by cloudpickle.
    bar : tqdm
        Moves by one a job; at the end where another backend runs them.
    """
    wanted = chosen()
    if n > 1 and wanted and not _multiprocessing_chosen():
        found = each(partial(_with_one_thread, task), ((number,) for number in range(n)))
        bar.update(n)
        return found
    at_once = min(n, wanted or n_jobs or n_cores())
    if at_once > 1 and _may_fork():
        from braindec.jobs import _forked

        return _forked.each(task, n, at_once, bar)
    found = []
    for number in range(n):
        found.append(task(number))
        bar.update()
    return found


def n_cores() -> int:
    """Processor cores that this process may use: fewer than the machine's within a container or a job of SLURM."""
    from joblib import cpu_count

    return int(cpu_count())


def chosen() -> int:
    """How many jobs `joblib.parallel_config` wants at once; 0 where nobody chose, and within a job."""
    from joblib.parallel import get_active_backend

    backend, n_jobs = get_active_backend()
    if (backend.nesting_level or 0) > 0:
        return 0
    wanted = int(backend.effective_n_jobs(n_jobs if n_jobs is not None else backend.default_n_jobs))
    return wanted if wanted > 1 else 0


@contextlib.contextmanager
def on(backend: str | None, n_jobs: int = -1, **settings: Any) -> Iterator[None]:
    """Around calls whose jobs shall run on a backend; None leaves things as they are.

    Where there were no jobs, a warning says so.

    Parameters
    ----------
    backend : str or None
        ``"loky"`` (processes here), ``"dask"`` (the scheduler of DASK_SCHEDULER_ADDRESS, or workers on this machine),
        ``"ray"`` (the cluster of RAY_ADDRESS, or this machine), ``"submitit"`` (SLURM where it is, or this machine).
    n_jobs : int
        At once; -1: as many as there are processors or workers.
    **settings
        Of the backend, e.g. ``folder="logs", slurm_partition="cpu", timeout_min=120`` of submitit.

    Raises
    ------
    MissingPackageError
        If the backend is not installed.
    """
    if backend is None:
        yield
        return
    from joblib import parallel_config

    checks.one_of("backend", backend, BACKENDS)
    with contextlib.ExitStack() as stack:
        if backend == "dask":
            stack.enter_context(_dask(n_jobs))
        elif backend == "ray":
            _ray()
        elif backend == "submitit":
            register_submitit()
        stack.enter_context(parallel_config(backend=backend, n_jobs=n_jobs, **settings))
        before = _sent
        yield
        if _sent == before:
            warnings.warn(
                f"nothing was sent to {backend!r}: this work had no independent jobs, or they were done before.",
                stacklevel=3,
            )


def register_submitit() -> None:
    """Makes ``joblib.parallel_config(backend="submitit", n_jobs=..., folder=..., **parameters)`` known.

    `folder` holds pickled jobs and their logs, for all machines to see; `cluster` is ``"slurm"``, ``"local"`` or left
    out; the parameters are those of `submitit.AutoExecutor.update_parameters`.
    """
    _needed("submitit")
    from joblib import register_parallel_backend

    from braindec.jobs._submitit import Submitit

    register_parallel_backend("submitit", Submitit)


def _multiprocessing_chosen() -> bool:
    """Whether the chosen backend is joblib's own pool of processes; ray's backend inherits from it and is another."""
    from joblib._parallel_backends import MultiprocessingBackend
    from joblib.parallel import get_active_backend

    return type(get_active_backend()[0]) is MultiprocessingBackend


def _may_fork() -> bool:
    import torch

    inside = multiprocessing.current_process().daemon  # of another pool, which may have no children
    return sys.platform == "linux" and not torch.cuda.is_initialized() and not inside


def _with_one_thread(task: Callable[[int], T], number: int) -> T:
    """One task as a forked process would do it."""
    import torch
    from threadpoolctl import threadpool_limits

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return task(number)
    finally:
        torch.set_num_threads(n_threads)


@contextlib.contextmanager
def _dask(n_jobs: int) -> Iterator[None]:
    _needed("distributed", "dask[distributed]")
    from distributed import Client

    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    n_workers = None if n_jobs < 1 else n_jobs
    make = partial(Client, address) if address else partial(Client, n_workers=n_workers, threads_per_worker=1)
    with make():
        yield


def _ray() -> None:
    _needed("ray")
    from ray.util.joblib import register_ray

    register_ray()


def _needed(package: str, name: str | None = None) -> None:
    if importlib.util.find_spec(package) is None:
        raise checks.needs_package(name or package, None, "this backend of jobs")
