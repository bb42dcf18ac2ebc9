"""Independent refits, several at a time, through joblib: forked processes, or whatever backend its caller chose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tqdm.auto import tqdm

from braindec import checks, jobs


def refits(task: Callable[[int], Any], n: int, *, n_jobs: int, said: str, progress: bool) -> list[Any]:
    """``[task(0), ..., task(n - 1)]``, at most `n_jobs` at once.

    Parameters
    ----------
    task : callable
        A function of its number alone: nothing that it changes outlives it. Its result can be pickled.
    n_jobs : int
        Processes; 0 for as many as there are processor cores. See `jobs.numbered`.
    said : str
        Beside the progress bar.
    """
    checks.at_least("n_jobs", n_jobs, 0)
    with tqdm(desc=said, total=n, disable=not progress, leave=False) as bar:
        return jobs.numbered(task, n, n_jobs, bar)
