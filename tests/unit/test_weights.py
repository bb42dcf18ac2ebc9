"""The shipped weights are the recorded bytes, small enough, and a changed byte is noticed."""

from __future__ import annotations

import hashlib
import json

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


def test_the_shipped_weights_are_at_most_25_megabytes_of_half_precision():
    from safetensors import safe_open

    files = list(weights.FOLDER.glob("*.safetensors"))
    assert sum(p.stat().st_size for p in files) <= 25e6
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


def test_what_their_page_says_of_the_generator_is_what_was_measured(repository):
    page = (repository / "braindec" / "weights" / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if line.startswith("| ")]
    head = next(row for row in cells if row[:2] == ["", "shape"])
    shown = {row[0]: dict(zip(head[1:-1], row[1:-1], strict=True)) for row in cells if len(row) == len(head)}
    found = json.loads((repository / "benchmarks" / "results" / "generator.json").read_text())["values"]
    rows = {
        "the scenes themselves": "the scenes", "through the autoencoder": "the autoencoder's",
        "of embeddings: 10 steps, not looking": "10 steps", "as in the demo": "the demo's",
        "10 steps, looking at each": "10 steps, looking at each", "the draft alone": "the draft",
    }  # fmt: skip
    for said, measured in rows.items():
        values = found["noiseless"][measured]
        for column, cell in shown[said].items():
            one = values["shape of small ones" if column == "of small ones" else column]
            assert float(cell) == pytest.approx(one["value"], abs=0.00501), (said, column)
    spent = [
        found["noiseless"][way]["processor_milliseconds_a_picture"] for way in ("the demo's", "10 steps")
    ]
    times = f"{spent[0] / spent[1]:.1f} times"
    for place in ("braindec/weights/README.md", "recipes/notes/demo.md"):
        assert times in (repository / place).read_text(), place


def test_what_the_page_of_generators_says_of_their_limits_is_what_was_measured(repository):
    page = (repository / "docs" / "generators.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if line.startswith("| ")]
    results = repository / "benchmarks" / "results"
    read = json.loads((results / "generator_limits.json").read_text())["values"]["read"]
    drawn = json.loads((results / "generator.json").read_text())["values"]["noiseless"]
    rows = {
        "the scenes themselves": drawn["the scenes"], "read of the embedding alone": read,
        "through the autoencoder": drawn["the autoencoder's"],
        "as in the demo: the draft, and three steps that look": drawn["the demo's"],
        "the draft alone, in 8 ms": drawn["the draft"],
        "drawn from noise, looking at each of 10 steps": drawn["10 steps, looking at each"],
        "drawn from noise, 10 steps": drawn["10 steps"],
    }  # fmt: skip
    shown = {row[0]: row[1:] for row in cells if row[0] in rows}
    assert shown.keys() == rows.keys()
    for name, values in rows.items():
        for cell, factor in zip(
            shown[name][:4], ("shape", "shape of small ones", "colour", "texture"), strict=True
        ):
            assert float(cell) == pytest.approx(values[factor]["value"], abs=0.00501), (name, factor)
