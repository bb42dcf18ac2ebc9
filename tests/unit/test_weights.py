"""The shipped weights are the recorded bytes, small enough, and a changed byte is noticed."""

from __future__ import annotations

import hashlib

import pytest
import torch

from braindec import checks, weights


def test_every_shipped_file_has_its_recorded_sha256():
    recorded = weights.expected_sha256()
    present = {p.name for p in weights.FOLDER.iterdir() if p.suffix in (".safetensors", ".json")}
    present.remove("published.json")  # a table about the weights of others
    assert set(recorded) == present
    for name, digest in recorded.items():
        assert hashlib.sha256((weights.FOLDER / name).read_bytes()).hexdigest() == digest


def test_the_shipped_weights_are_at_most_12_megabytes_of_half_precision():
    from safetensors import safe_open

    files = list(weights.FOLDER.glob("*.safetensors"))
    assert sum(p.stat().st_size for p in files) <= 12e6
    for path in files:
        with safe_open(path, "pt") as file:
            kinds = {file.get_tensor(key).dtype for key in file.keys()}
        assert kinds <= {torch.float16, torch.int64}


def test_a_changed_byte_is_noticed(tmp_path, monkeypatch):
    for name in ("SHA256SUMS", "scene_network.safetensors"):
        content = bytearray((weights.FOLDER / name).read_bytes())
        if name.endswith("safetensors"):
            content[-1] ^= 1
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(checks.DataFileError, match="content differs"):
        weights.verified("scene_network.safetensors")


def test_an_unknown_file_is_refused_by_name():
    with pytest.raises(checks.ConfigError, match="scene_network"):
        weights.verified("scene_network")
