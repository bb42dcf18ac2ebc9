"""Real engines run the library's jobs to the results of one process: those of joblib always, others where they are."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
PACKAGES = {"loky": "joblib", "dask": "distributed", "ray": "ray", "submitit": "submitit"}


@pytest.mark.parametrize("backend", PACKAGES)
def test_a_backend_gives_what_one_process_gives(repository, tmp_path, backend):
    if importlib.util.find_spec(PACKAGES[backend]) is None:
        pytest.skip(f"{PACKAGES[backend]} is not installed: pip install {PACKAGES[backend]}")
    script = repository / "benchmarks" / "cluster_backends.py"
    run = subprocess.run(
        [sys.executable, str(script), "--smoke", "--backends", backend],
        capture_output=True, text=True, timeout=600, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    found = {line["backend"]: line for line in map(json.loads, run.stdout.splitlines())}[backend]
    for name in ("prepare", "refits"):
        assert found[name] == "equal"
    for name in ("encoding", "searchlight"):  # sums over pieces of another size
        assert found[name] == "equal" or float(found[name]) < 1e-5
