"""The benchmark of the hallucination meter runs small, and its digits are read by their definition."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import numpy as np
import pytest


@pytest.mark.slow
def test_the_meter_benchmark_runs_small_and_covers(repository):
    script = repository / "benchmarks" / "hallucination.py"
    run = subprocess.run(
        [sys.executable, script, "--small"], capture_output=True, text=True, timeout=170, check=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["coverage"]["n"] > 500
    assert 0.8 < found["coverage"]["value"] <= 1
    assert found["not_encoded_from_the_prior"]["value"] > 0.9
    assert set(found["by_attribute"]) >= {"colour", "place", "object", "latent"}


def test_ink_its_height_and_its_slant_are_read_from_pictures(repository):
    parts = runpy.run_path(str(repository / "benchmarks" / "hallucination_parts" / "digits.py"))
    picture = np.zeros((2, 28, 28))
    picture[0, 4:8, 10:14] = 1
    picture[1, 20:24, 10:14] = 1
    found = parts["attributes"](picture)
    assert found["ink"] == pytest.approx([16 / 784] * 2)
    assert found["height of the ink"] == pytest.approx([5.5, 21.5])
    assert found["slant"] == pytest.approx([0, 0], abs=1e-6)
