"""Benchmarks that need a GPU, or much memory and disk, run in small on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["sae_gpu", "ridge_gpu"])
def test_the_gpu_benchmarks_of_comparing_run_small_and_know_their_floor(repository, name):
    script = repository / "benchmarks" / f"{name}.py"
    run = subprocess.run(
        [sys.executable, script, "--small"], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(run.stdout.splitlines()[-1])
    values = found["small"] if name == "sae_gpu" else found
    share = values["of_matmul_peak" if name == "sae_gpu" else "of_floor"]
    assert 0 < share < 1
    if name == "sae_gpu":
        assert values["selected_as_float32"] > 0.9
    else:
        assert values["scores_off_float64"] < 1e-4


def test_what_no_gpu_measured_is_said_and_not_filled_in(repository):
    for path in (repository / "benchmarks" / "results").glob("*_gpu.json"):
        found = json.loads(path.read_text())
        assert ("not measured" in str(found["measured"])) != (found["versions"]["device"] != "cpu")


def test_the_loader_benchmark_runs_small_and_every_system_reads_every_row(repository, tmp_path):
    script, out = repository / "benchmarks" / "loader.py", tmp_path / "loader.json"
    command = [
        sys.executable,
        script,
        "--small",
        "--seconds",
        "0.3",
        "--rounds",
        "1",
        "--folder",
        tmp_path,
        "--out",
        out,
    ]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(out.read_text())
    rows = found["values"]
    assert {key: set(of) for key, of in found["limits"].items()} == {
        "nsd": {"warm", "cold"}, "things_eeg2": {"warm", "cold"},
    }  # fmt: skip
    systems = {row["system"] for row in rows}
    assert {"braindec", "preloaded", "h5py", "h5py chunked", "tars", "disk"} < systems
    assert {row["state"] for row in rows} == {"cold", "warm"}
    assert all(row["ms_per_batch"] > 0 and row["batches"] > 0 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["loader.json"]


def test_the_autoencoder_benchmark_starts_all_systems_from_an_equal_loss(repository, tmp_path):
    sizes = ["--dims", "16", "--latents", "64", "--active", "4", "--batch", "32", "--repeats", "2"]
    command = [sys.executable, repository / "benchmarks" / "sae.py", *sizes, "--out", tmp_path / "sae.json"]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = json.loads((tmp_path / "sae.json").read_text())["values"]
    assert rows[0]["name"] == "braindec"
    assert all(abs(row["first_loss"] / rows[0]["first_loss"] - 1) < 1e-4 for row in rows)


def test_the_memory_benchmark_runs_small(repository, tmp_path):
    script, out = repository / "benchmarks" / "memory.py", tmp_path / "memory.json"
    command = [
        sys.executable,
        script,
        "--small",
        "--folder",
        tmp_path,
        "--out",
        out,
        "--only",
        "ClipMad",
        "training",
    ]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rows = {row["job"]: row for row in json.loads(out.read_text())["values"]}
    assert set(rows) == {"ClipMad", "training"} and all(row["seconds"] > 0 for row in rows.values())
    assert rows["training"]["shape"] == [1350, 10_000] and rows["training"]["beyond_model_mb"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["memory.json"]


def test_no_step_and_no_training_took_more_memory_than_the_limit(repository):
    """What was measured at full size."""
    found = json.loads((repository / "benchmarks" / "results" / "memory.json").read_text())
    rows = found["values"]
    assert {row["job"] for row in rows} > {"Pca", "SelectReliable", "PercentSignalChange", "training"}
    assert all(row["shape"][1] == 15_724 for row in rows)
    assert max(row.get("beyond_model_mb", row["grown_mb"]) for row in rows) < found["limit_mb"]


def test_the_matching_benchmark_finds_the_mean_of_the_definition(repository, tmp_path):
    out = tmp_path / "matching.json"
    command = [sys.executable, repository / "benchmarks" / "matching.py", "--sizes", "64", "--dims", "16"]
    subprocess.run([*command, "--out", out], capture_output=True, text=True, timeout=120, check=True)
    rows = json.loads(out.read_text())["values"]
    assert {(r["system"], r["shared"]) for r in rows} == {
        (s, x) for s in ("braindec", "numpy", "mutual first") for x in (1.0, 0.67, 0.33, 0.0)
    }


@pytest.mark.parametrize("name", ["rdm", "inference"])
def test_benchmarks_of_similarity_run_small_and_find_equal_results(repository, tmp_path, name):
    script, out = repository / "benchmarks" / f"{name}.py", tmp_path / f"{name}.json"
    command = [sys.executable, script, "--small", "--out", out]
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(out.read_text())["values"]


def test_the_benchmark_of_planted_dictionaries_scores_every_method(repository, tmp_path):
    out = tmp_path / "dictionaries.json"
    sizes = ["--samples", "400", "--dims", "24", "--seeds", "1", "--steps", "40"]
    command = [sys.executable, repository / "benchmarks" / "dictionaries.py", *sizes, "--out", out]
    environment = {k: v for k, v in os.environ.items() if k != "BRAINDEC_REAL_DATA"}
    subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    found = json.loads(out.read_text())
    assert found["codes"] == "drawn"
    assert {r["system"] for r in found["values"]} == {
        "topk", "batch_topk", "ica", "nmf", "kmeans", "pca", "chance",
    }  # fmt: skip
