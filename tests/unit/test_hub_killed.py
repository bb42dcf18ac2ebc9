"""A pull or a push that is killed leaves nothing that could be taken for the whole, and the same command goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from braindec import hub
from braindec.weights import published

pytestmark = pytest.mark.slow  # processes of their own
WEIGHTS = np.random.default_rng(0).bytes(2_000_000)
NAME = "someone/model"
PULL = "from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = 50_000\n"
PULL += "from braindec import hub; hub.pull('someone/model', revision={commit!r})"
PUSH = "from huggingface_hub import constants; constants.HF_HUB_DISABLE_XET = True\n"
PUSH += "from braindec import hub; hub.push({folder!r}, 'someone/decoder')"


def killed_when(code, ready):
    """Runs code in a process of its own and kills it (-9) once `ready()`."""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    pause, until = threading.Event(), time.monotonic() + 60
    while not ready() and process.poll() is None and time.monotonic() < until:
        pause.wait(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()


def asked_for(loopback_hub, method, part):
    return [r for m, path, r in loopback_hub.asked if m == method and part in path]


def test_a_pull_that_is_killed_goes_on_from_what_came(loopback_hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    commit = loopback_hub.add(NAME, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    loopback_hub.faults["model.safetensors"] = ["stall"]
    blobs = published.repository_folder(NAME) / "blobs"

    def half_is_here():
        return any(p.stat().st_size >= 900_000 for p in blobs.glob("*.incomplete"))

    killed_when(PULL.format(commit=commit), half_is_here)
    assert published.repository_folder(NAME).is_dir()
    assert not list((published.repository_folder(NAME) / "snapshots").glob("*/model.safetensors"))
    loopback_hub.asked.clear()
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    (resumed,) = asked_for(loopback_hub, "GET", "model.safetensors")
    assert int(resumed.removeprefix("bytes=").rstrip("-")) >= 900_000


@pytest.mark.parametrize("moment", ["upload", "commit"])
def test_a_push_that_is_killed_is_not_to_be_seen_and_goes_on(loopback_hub, tmp_path, moment):
    config = {"signals": {"sub-01_fmri": {}}, "outputs": {"main": {"space": "x", "shape": [1, 4]}}}
    for name, content in {
        "config.json": json.dumps(config).encode(), "model.safetensors": WEIGHTS, "preprocessing.h5": b"x",
        "README.md": hub.model_card(config, None).encode(),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    hub.write_manifest(tmp_path)
    loopback_hub.faults[moment] = ["stall"]
    method, part = ("PUT", "upload") if moment == "upload" else ("POST", "commit/main")
    killed_when(PUSH.format(folder=str(tmp_path)), lambda: asked_for(loopback_hub, method, part))
    assert set(loopback_hub.repositories["model", "someone/decoder"][1]) == {".gitattributes"}
    loopback_hub.asked.clear()
    commit = hub.push(tmp_path, "someone/decoder").rpartition("/")[2]
    assert (hub.local_or_download("someone/decoder", commit) / "model.safetensors").read_bytes() == WEIGHTS
    assert len(asked_for(loopback_hub, "PUT", "upload")) == (1 if moment == "upload" else 0)
