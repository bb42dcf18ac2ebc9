"""Independent jobs run where the caller wants them, and come to the same: shown with a backend of the test's own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import types

import joblib
import numpy as np
import pytest
import torch
from joblib._parallel_backends import ThreadingBackend

from braindec import encoding, jobs
from braindec.checks import ConfigError, MissingPackageError
from braindec.data import staging
from braindec.evaluate import jobs as refitting
from braindec.rdm import neighbourhoods, searching


class Counting(ThreadingBackend):
    """Threads, which count their jobs."""

    ran = 0

    def submit(self, func, callback=None):
        Counting.ran += 1
        return super().submit(func, callback)


@pytest.fixture
def counted():
    """How many jobs the test's own backend ran."""
    joblib.register_parallel_backend("counting", Counting)
    Counting.ran = 0
    with joblib.parallel_config(backend="counting", n_jobs=3):
        yield lambda: Counting.ran


def test_nobody_chose_a_backend_and_inside_of_a_job_nobody_did(counted):
    assert jobs.chosen() == 3
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert jobs.each(jobs.chosen, [()] * 3) == [0, 0, 0]


def test_without_a_choice_jobs_run_here_one_after_the_other():
    assert jobs.chosen() == 0
    order = []
    assert jobs.each(lambda i: order.append(i) or i * i, ((i,) for i in range(4))) == [0, 1, 4, 9]
    assert order == [0, 1, 2, 3]


def test_refits_are_the_backend_s_jobs_and_come_to_the_same(counted):
    def task(number):
        return torch.randn(3, generator=torch.Generator().manual_seed(number))

    found = refitting.refits(task, 5, n_jobs=2, said="x", progress=False)
    assert counted() == 5
    assert all(torch.equal(value, task(number)) for number, value in enumerate(found))


def test_voxels_are_fitted_in_jobs_to_the_same_weights(counted, rng):
    x, y = torch.from_numpy(rng.standard_normal((40, 6))), torch.from_numpy(rng.standard_normal((40, 11)))
    many = encoding.fit(x, y)
    assert counted() == 3
    with joblib.parallel_config(backend="sequential"):
        whole = encoding.fit(x, y)
    torch.testing.assert_close(many.weights, whole.weights)
    assert torch.equal(many.alpha, whole.alpha)


@pytest.mark.parametrize("n_voxels", [65, 130, 300, 1001])
@pytest.mark.parametrize("shift", ["block", "circular"])
def test_voxels_are_permuted_in_jobs_to_the_same_bits(counted, rng, shift, n_voxels):
    x, y = (torch.from_numpy(rng.standard_normal((60, n_voxels)).astype("float32")) for _ in range(2))
    given = {"blocks": np.arange(60) // 20, "shift": shift, "block_length": 3}
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    many = encoding.significance(x, x + 9 * y, 29, one, **given)
    assert counted() == {65: 1, 130: 2}.get(n_voxels, 3)
    with joblib.parallel_config(backend="sequential"):
        whole = encoding.significance(x, x + 9 * y, 29, other, **given)
    for name in ("observed", "p", "p_fdr", "p_max", "null_mean"):
        np.testing.assert_array_equal(getattr(many, name), getattr(whole, name))
    assert one.integers(1 << 60) == other.integers(1 << 60), "what is drawn next depends on the jobs"
    assert len(set(whole.p)) > 1


def test_neighbourhoods_are_searched_in_jobs_to_the_same_distances(counted, rng):
    x = torch.from_numpy(rng.standard_normal((24, 60)))
    where = neighbourhoods.spheres(np.ones((3, 4, 5), bool), np.eye(4), 1.5)
    given = {"condition": np.arange(24) % 4, "run": np.arange(24) // 8}
    many = searching.searchlight(x, where, **given)
    assert counted() >= 6
    with joblib.parallel_config(backend="sequential"):
        whole = searching.searchlight(x, where, **given)
    torch.testing.assert_close(many.distances, whole.distances)


class One(staging.Task):
    def write(self, out):
        out.array("name", np.array([ord(c) for c in self.name]))
        return {}


def test_preparation_stages_by_the_backend(counted, tmp_path):
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"x")
    paths = staging.stage(tmp_path / "out", [One(name, (raw,), {}) for name in ("a", "b", "c", "d")])
    assert counted() == 4 and all(path.is_file() for path in paths.values())


def test_an_unknown_backend_and_one_that_is_not_installed_are_said(monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'dask'"), jobs.on("dasc"):
        pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for backend in ("dask", "ray", "submitit"):
        with pytest.raises(MissingPackageError, match="pip install"), jobs.on(backend):
            pass
    with jobs.on(None):
        assert jobs.chosen() == 0


def test_a_backend_that_got_no_job_is_warned_of(recwarn):
    with jobs.on("loky", 2):
        assert jobs.each(abs, [(-1,), (-2,)]) == [1, 2]
    assert not [w for w in recwarn if "nothing was sent" in str(w.message)]
    with pytest.warns(UserWarning, match="nothing was sent to 'loky'"), jobs.on("loky", 2):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_as_many_as_there_are_cores_are_those_that_this_process_may_use():
    bound = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    command = [sys.executable, "-c", f"{bound}; from braindec import jobs; print(jobs.n_cores())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


class Remote:
    """A job of a cluster: it fails, or runs until it is cancelled."""

    def __init__(self, function, begun):
        self.function, self.cancelled = function, threading.Event()
        begun.append(self)

    def result(self):
        if self.function() == "fails":
            raise ValueError("a job failed")
        assert self.cancelled.wait(20), "nobody cancelled the job"
        raise RuntimeError("cancelled")

    def cancel(self, check=True):
        self.cancelled.set()


def test_where_one_job_of_a_cluster_fails_the_others_are_cancelled(monkeypatch, tmp_path):
    begun, several = [], threading.Event()

    def task(number):
        if number:
            several.set()
            return "runs"
        assert several.wait(20)
        return "fails"

    executor = types.SimpleNamespace(update_parameters=lambda: None)
    executor.submit = lambda batch: Remote(lambda: batch()[0], begun)
    monkeypatch.setitem(sys.modules, "submitit", types.SimpleNamespace(AutoExecutor=lambda **_: executor))
    monkeypatch.setattr(jobs, "_needed", lambda _name: None)
    with jobs.on("submitit", 2, folder=str(tmp_path)), pytest.raises(ValueError, match="a job failed"):
        jobs.each(task, [(0,), (1,), (2,)])
    assert len(begun) >= 2 and all(job.cancelled.wait(20) for job in begun[1:])
