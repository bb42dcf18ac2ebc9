"""The benchmark of priors runs small: every system is told of every world, and shuffled pairs lose."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_prior_benchmark_runs_small(repository, tmp_path):
    out = tmp_path / "priors.json"
    command = [sys.executable, repository / "benchmarks" / "priors.py", "--small", "--out", out]
    subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(out.read_text())
    rows = found["values"]
    assert {"flow", "diffusion", "ridge", "flow, shuffled pairs"} <= {row["system"] for row in rows}
    told = {(row["system"], row["world"], row["measure"]): row["value"] for row in rows}
    own, null = (told[name, "sub-01_fmri", "two_way"] for name in ("flow", "flow, shuffled pairs"))
    assert own > null
    paired = [row for row in rows if "(4 steps)" in row["system"]]
    assert {row["world"] for row in paired} >= {"sub-01_fmri", "mixture 0", "over_runs"}
    assert all(row["interval"][0] <= row["value"] <= row["interval"][1] for row in paired)


def test_the_written_result_tells_where_and_how_it_was_measured(repository):
    found = json.loads((repository / "benchmarks" / "results" / "priors.json").read_text())
    assert found["measured"] is True or "not measured" in found["measured"]
    assert "benchmarks/priors.py" in found["command"]
    assert {"cpu", "cores"} <= set(found["machine"]) and "diffusers" in found["versions"]
