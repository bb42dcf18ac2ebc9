"""The benchmarks of the shipped generator run small: what looks at what it draws embeds nearer to what it is told."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_pictures_that_were_looked_at_embed_nearer_and_every_share_has_its_n(repository):
    script = repository / "benchmarks" / "generator.py"
    run = subprocess.run(
        [sys.executable, script, "--small"], capture_output=True, text=True, timeout=300, check=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    noiseless = found["noiseless"]
    assert noiseless["the demo's"]["cosine"] > noiseless["10 steps"]["cosine"] + 0.01
    assert noiseless["the scenes"]["shape"]["n"] >= 12
    for subject in found["brains"].values():
        given = {"the scenes", "the autoencoder's"}  # what is not drawn of an embedding
        assert set(subject) == {"embedding", *noiseless} - given
        assert all(0 <= one["value"] <= 1 for one in subject["embedding"].values())


@pytest.mark.slow
def test_what_the_embedding_holds_is_read_and_another_shape_embeds_elsewhere(repository):
    script = repository / "benchmarks" / "generator_limits.py"
    run = subprocess.run(
        [sys.executable, script, "--small"], capture_output=True, text=True, timeout=300, check=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    size = found["read"]["size"]
    assert size["value"] > 1 / 3
    assert size["n"] == sum(one["n"] for one in found["nearest"].values()) == 23
    assert all(0.5 < one["50 %"] < 0.99 for one in found["nearest"].values())
    assert set(found["drawn"]) == {"the scenes", "one", "the best of four"}
