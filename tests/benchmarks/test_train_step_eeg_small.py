"""The benchmark of EEG training steps runs small, finds equal functions, and its results tell what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def run(repository, *options, **environment):
    command = [sys.executable, repository / "benchmarks" / "train_step_eeg.py", *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, env=os.environ | environment
    )


def test_it_runs_small_and_both_sides_are_one_function(repository):
    made = run(repository, "--small")
    assert made.returncode == 0, made.stderr
    rows = {row["system"]: row for row in json.loads(made.stdout.splitlines()[-1])["values"]}
    assert set(rows) == {"nice", "atm"}
    for row in rows.values():
        assert max(row["equality_float64"]["output"], row["equality_float64"]["worst_gradient"]) < 1e-9
        assert row["equality_float64"]["gradients_compared"] >= 16
        assert row["first_loss"]["ours"] == pytest.approx(row["first_loss"]["theirs"], rel=1e-5)
        assert row["ratio"] > 0


def test_without_a_gpu_the_result_says_so(repository, tmp_path):
    made = run(repository, "--device", "cuda", "--out", tmp_path / "out.json", CUDA_VISIBLE_DEVICES="")
    assert made.returncode == 0, made.stderr
    assert json.loads((tmp_path / "out.json").read_text())["measured"] == "not measured: no GPU"
