"""joblib's jobs as jobs of submitit: SLURM, or processes of this machine where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from joblib.parallel import ParallelBackendBase


class Submitit(ParallelBackendBase):
    """joblib's jobs, each as a job of submitit, at most `n_jobs` of them at once."""

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self, folder: str = "submitit", cluster: str | None = None, nesting_level: int | None = None,
        inner_max_num_threads: int | None = None, **parameters: Any,
    ):  # fmt: skip
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._folder, self._cluster, self._parameters = folder, cluster, parameters
        self._waiting: ThreadPoolExecutor | None = None
        self._executor: Any = None
        self._begun: dict[int, Any] = {}  # jobs of submitit that are waited for
        self._given_up, self._n_jobs = False, 1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """-1: as many as there are processors here."""
        return n_jobs if n_jobs is not None and n_jobs > 0 else os.cpu_count() or 1

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Called by joblib before the first job."""
        import submitit

        self.parallel = parallel
        n_jobs = self._n_jobs = self.effective_n_jobs(n_jobs)
        self._executor = submitit.AutoExecutor(folder=self._folder, cluster=self._cluster)
        self._executor.update_parameters(**self._parameters)
        self._waiting = ThreadPoolExecutor(n_jobs)
        self._given_up = False
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """One job; a thread here waits for it."""
        if self._waiting is None:
            raise RuntimeError("a job was submitted before joblib configured the backend.")
        found = self._waiting.submit(self._wait_for, func)
        if callback is not None:
            found.add_done_callback(callback)
        return found

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The result of a job, or what it raised."""
        return out.result()

    def terminate(self) -> None:
        """Called by joblib after the last job."""
        if self._waiting is not None:
            self._waiting.shutdown(wait=False, cancel_futures=True)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Called by joblib where a job failed, or somebody interrupts: the others are cancelled, none is waited for."""
        self._given_up = True
        self.terminate()
        for job in list(self._begun.values()):
            job.cancel(check=False)
        if ensure_ready and self._waiting is not None:
            self.configure(self._n_jobs, self.parallel)

    def _wait_for(self, func: Callable[[], Any]) -> Any:
        job = self._executor.submit(func)
        self._begun[id(job)] = job
        try:
            if self._given_up:  # while it was being submitted
                job.cancel(check=False)
            return job.result()
        finally:
            del self._begun[id(job)]
