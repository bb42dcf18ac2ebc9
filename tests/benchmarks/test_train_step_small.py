"""The benchmarks of MindEye2's training step run small, and compare two forms of one function."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
import torch

from braindec.maths import gemm


@pytest.fixture
def benchmark(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return importlib.import_module("train_step_gpu")


def run(repository, script, *options):
    command = [sys.executable, repository / "benchmarks" / script, "--small", *options]
    made = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


def test_the_benchmark_without_a_gpu_times_equal_steps(repository, tmp_path):
    run(repository, "train_step.py", "--repeats", "1", "--out", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["losses_off"] < 1e-5
    assert [row["name"] for row in found["values"]] == ["braindec", "published"]


def test_the_gpu_benchmark_runs_small_with_the_blurry_head(repository):
    found = json.loads(run(repository, "train_step_gpu.py", "--blurry"))
    assert found["losses_off"] < 0.02
    assert [row["name"] for row in found["values"]] == ["braindec", "published"]
    assert all(row["median"] > 0 and 0 < row["of_matmul_peak"] < 1 for row in found["values"])
    assert found["embedding"]["by_tower"]["median"] > found["embedding"]["from_cache"]["median"] > 0


def losses_and_gradients(benchmark, brain, image):
    ours, plain = benchmark.built({**benchmark.SMALL, "blurry": False, "compile": False})
    prior = ours.losses["tokens"].prior
    found = []
    for network, loss in (
        (prior.network, lambda g: prior.objective(brain, image, g)),
        (plain.prior, lambda g: plain.prior.loss(image=image, brain=brain, alphas=prior.alphas_cumprod, generator=g)),
    ):  # fmt: skip
        value = loss(torch.Generator().manual_seed(3))
        value.backward()
        found.append((value.detach(), {name: p.grad for name, p in network.named_parameters()}))
    return found


def test_the_plain_prior_is_ours_in_loss_and_every_gradient(benchmark, generator):
    shape = (9, benchmark.SMALL["tokens"], benchmark.SMALL["dims"])
    brain, image = (torch.randn(shape, generator=generator) for _ in range(2))
    (ours, ours_slopes), (plain, plain_slopes) = losses_and_gradients(benchmark, brain, image)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=0)
    assert ours_slopes.keys() == plain_slopes.keys() and len(ours_slopes) > 20
    for name, slope in ours_slopes.items():
        assert slope is not None, name
        scale = float(plain_slopes[name].abs().max())
        torch.testing.assert_close(slope, plain_slopes[name], rtol=1e-3, atol=1e-4 * scale, msg=name)
    other = losses_and_gradients(benchmark, brain.roll(1, 0), image)[1][0]
    assert abs(float(other / plain) - 1) > 1e-4


def test_the_operations_are_those_that_torch_counts(benchmark, generator, monkeypatch):
    """But for the contrast's few, in a step of ours."""
    monkeypatch.setattr(gemm, "pays", lambda a, b: False)  # torch does not count oneDNN's operator
    from torch.utils.flop_counter import FlopCounterMode

    size = {
        **benchmark.SMALL,
        "tokens": 16,
        "dims": 64,
        "width": 64,
        "hidden": 32,
        "blurry": False,
        "compile": False,
    }
    ours, _ = benchmark.built(size)
    batch = benchmark.drawn(size, "cpu")
    ours.losses["tokens"].generator = generator
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        torch.stack([*benchmark.objective(ours, batch, 0.9, generator).values()]).sum().backward()
    assert counter.get_total_flops() == pytest.approx(benchmark.operations(size), rel=0.03)


def test_encoding_without_gradients_gives_equal_embeddings(repository, tmp_path):
    run(repository, "encode.py", "--repeats", "1", "--out", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert [row["system"] for row in found["values"]] == ["mindeye2", "nice", "atm"]
    assert all(row["outputs_off"] < 1e-4 and row["ratio"] > 0 for row in found["values"])
