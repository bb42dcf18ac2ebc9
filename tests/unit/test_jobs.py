"""Independent jobs run where the caller wants them, and come to the same: shown with a backend of the test's own."""

from __future__ import annotations

import importlib.util

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
