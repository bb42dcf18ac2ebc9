"""The benchmark of large galleries runs small: its search is exact, its index beats chance by far."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util

import pytest


def run(repository, out, *sizes):
    command = [
        sys.executable,
        repository / "benchmarks" / "gallery.py",
        *sizes,
        "--dim",
        "32",
        "--repeats",
        "1",
        "--out",
        out,
    ]
    subprocess.run(command, capture_output=True, text=True, timeout=170, check=True)
    return json.loads(out.read_text())["values"]


def test_the_exact_search_equals_a_comparison_with_all_rows(repository, tmp_path):
    found = run(repository, tmp_path / "gallery.json", "--n", "4000")["exact"]
    assert found["equal_to_all_pairs"] and found["milliseconds_a_query"] > 0
    assert found["own_row_among_k"] > 50 * found["chance"]
    assert found["rows_compared_in_full"] < 4000


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("faiss") is None, reason="needs faiss-cpu: pip install 'braindec[faiss]'")
def test_the_index_is_measured_against_the_exact_search(repository, tmp_path):
    sizes = ("--n", "0", "--index-n", "4000", "--n-cells", "16", "--n-probed", "4", "--n-training", "2000",
             "--n-dims", "16", "--n-codes", "8")  # fmt: skip
    found = run(repository, tmp_path / "gallery.json", *sizes)
    asked = found["index"]["asked"]
    for listed in sorted({row["n_listed"] for row in asked}):
        recalls = [row["recall_at_10"] for row in asked if row["n_listed"] == listed]
        assert recalls == sorted(recalls)
    assert recalls[-1] > 0.9
    assert found["arithmetic"]["not_measured"] and found["arithmetic"]["n"] == 100_000_000
