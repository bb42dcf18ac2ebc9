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
    ways = json.loads(run.stdout.splitlines()[-1])
    for way in ("aside", "out of fold"):
        found = ways[way]
        assert found["coverage"]["n"] > 500
        assert 0.8 < found["coverage"]["value"] <= 1
        assert found["not_encoded_from_the_prior"]["value"] > 0.9
        assert set(found["by_attribute"]) >= {"colour", "place", "object", "latent"}


def test_ink_its_slant_and_its_tail_are_read_from_pictures(repository):
    parts = runpy.run_path(str(repository / "benchmarks" / "hallucination_parts" / "digits.py"))
    picture = np.zeros((2, 28, 28))
    picture[0, 4:8, 10:14] = 1
    picture[1, 20:24, 10:14] = 1
    found = parts["attributes"](picture)
    assert found["ink"] == pytest.approx([16 / 784] * 2)
    assert found["slant"] == pytest.approx([0, 0], abs=1e-6)
    assert found["tail"] == pytest.approx([0, 0], abs=1e-6)
    picture[0, 8:16, 12] = 0.5  # a tail below the block, and one above it
    picture[1, 12:20, 12] = 0.5
    assert parts["attributes"](picture)["tail"][0] > 0.3
    assert parts["attributes"](picture)["tail"][1] < -0.3


def test_leaving_a_digit_out_is_fitting_again_without_it(repository):
    parts = runpy.run_path(str(repository / "benchmarks" / "hallucination_parts" / "digits.py"))
    rng = np.random.default_rng(0)
    x, new, pictures = rng.standard_normal((9, 5)), rng.standard_normal((2, 5)), rng.random((9, 28, 28))
    made, asked = parts["_left_out"](x @ x.T, new @ x.T, pictures)
    size = np.trace(x @ x.T) / 9
    kept = np.arange(9) != 3
    kernel = x[kept] @ x[kept].T + size + parts["PENALTY"] * size * np.eye(8)
    weights = np.linalg.solve(kernel, pictures[kept].reshape(8, -1))
    expected = (np.stack([x[3], *new]) @ x[kept].T + size) @ weights
    np.testing.assert_allclose(made[3].ravel(), expected[0], atol=1e-8)
    np.testing.assert_allclose(asked[3].reshape(2, -1), expected[1:], atol=1e-8)
