"""Benchmarks that need a GPU run in small on any machine."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_gpu_training_benchmark_runs_small(repository):
    script = repository / "benchmarks" / "train_step_gpu.py"
    run = subprocess.run([sys.executable, script, "--small"], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["seconds_per_step"] > 0
    assert found["loss"] == found["loss"]
