"""Independent jobs through joblib, on whatever its caller chose: processes here, dask, ray, or SLURM through submitit.

There is no engine in braindec: `joblib.parallel_config(backend=...)` around a call decides where its jobs run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from braindec import checks

T = TypeVar("T")
BACKENDS = ("loky", "dask", "ray", "submitit")


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

    return list(Parallel(n_jobs=None if n_jobs == 1 else n_jobs)(delayed(function)(*a) for a in arguments))


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
        yield


def register_submitit() -> None:
    """Makes ``joblib.parallel_config(backend="submitit", n_jobs=..., folder=..., **parameters)`` known.

    `folder` holds pickled jobs and their logs, for all machines to see; `cluster` is ``"slurm"``, ``"local"`` or left
    out; the parameters are those of `submitit.AutoExecutor.update_parameters`.
    """
    _needed("submitit")
    from joblib import register_parallel_backend

    from braindec.jobs._submitit import Submitit

    register_parallel_backend("submitit", Submitit)


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
