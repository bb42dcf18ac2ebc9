"""The benchmark of similarity measures runs small, and refuses results that are not equal."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_similarity_benchmark_runs_small_and_finds_equal_results(repository, tmp_path):
    script, out = repository / "benchmarks" / "similarity.py", tmp_path / "similarity.json"
    sizes = ["--n", "400", "--p", "30", "--shape-n", "100", "--repeats", "1"]
    command = [sys.executable, script, *sizes, "--out", out]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = json.loads(out.read_text())["values"]
    assert {row["work"] for row in rows} == {"cka", "procrustes", "mutual_knn"}
    assert all(row["off"] < 1e-5 and row["median"] > 0 for row in rows)
