"""The benchmark of live answers runs small and counts every window and volume."""

from __future__ import annotations

import json
import subprocess
import sys


def test_every_window_and_volume_is_timed(repository, tmp_path):
    out = tmp_path / "stream.json"
    command = [sys.executable, repository / "benchmarks" / "stream.py", "--small", "--n", "20", "--out", out]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = {row["answer"]: row for row in json.loads(out.read_text())["values"]}
    assert found["eeg window"]["n"] == 21 and found["fmri volume"]["n"] == 40
    assert all(0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] for row in found.values())
