"""A pull that is killed while a file comes is given again, and brings the bytes that were published."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from braindec import hub

WEIGHTS = np.random.default_rng(1).bytes(300_000)
PULL = (
    "from huggingface_hub import constants; constants.HF_HUB_DISABLE_XET = True\n"
    "from braindec import hub; hub.pull('someone/model', revision='{commit}')"
)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.2])
def test_a_pull_that_is_killed_is_given_again_and_brings_every_byte(after, loopback_hub, record_property):
    commit = loopback_hub.add("someone/model", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    loopback_hub.faults["model.safetensors"] = ["stall"]  # half of it, then silence
    killed = subprocess.Popen(
        [sys.executable, "-c", PULL.format(commit=commit)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    clock = threading.Event()
    while not any(m == "GET" and path.endswith("model.safetensors") for m, path, _ in loopback_hub.asked):
        assert killed.poll() is None and not clock.wait(0.02)
    clock.wait(after)
    killed.kill()
    assert killed.wait() < 0
    folder = hub.pull("someone/model", revision=commit).snapshot.folder
    record_property(f"R8 pull, killed {after} s into a file", "equal")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
