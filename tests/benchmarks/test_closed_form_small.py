"""The benchmark of the closed-form encoder runs small and says what is arithmetic."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_closed_form_benchmark_runs_small_and_predicts_what_was_planted(repository, tmp_path):
    script = repository / "benchmarks" / "closed_form.py"
    command = [sys.executable, script, "--small", "--folder", tmp_path / "targets"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(run.stdout)
    assert found["share_of_planted_signal"] > 0.15
    assert found["by_arithmetic_not_measured"]["operations"] > found["operations"]
