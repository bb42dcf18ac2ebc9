"""The ridge benchmark runs small, and refuses results that are not equal."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_ridge_benchmark_runs_small_and_finds_equal_results(repository, tmp_path):
    script, out = repository / "benchmarks" / "ridge.py", tmp_path / "ridge.json"
    sizes = ["--n", "200", "--p", "40", "--targets", "300", "--alphas", "6", "--repeats", "1"]
    subprocess.run(
        [sys.executable, script, *sizes, "--out", out],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    rows = {row["name"]: row for row in json.loads(out.read_text())["values"]}
    assert set(rows) == {"braindec", "himalaya", "sklearn", "permuted"}
    assert rows["braindec"]["scores_off"] <= 1e-6 and rows["braindec"]["weights_off"] <= 6e-6
    assert rows["braindec"]["scores_off_float64"] <= 5e-7
