"""Checkpoints of other sizes, against the published computation written out step by step."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from braindec.convert import convert, load, simpleconv


def checkpoint(
    generator, *, virtual, width, n_layers, kernel, context, waves, n_subjects, n_out, every, linear
):
    def draw(*shape):
        return 0.3 * torch.randn(*shape, generator=generator)

    tensors = {
        "merger.heads": draw(virtual, 2 * waves**2),
        "subject_layers.weights": draw(n_subjects, virtual, virtual),
    }
    if linear:
        tensors |= {
            "initial_linear.0.weight": draw(virtual, virtual, 1),
            "initial_linear.0.bias": draw(virtual),
        }
    for k in range(n_layers):
        layer, gate = f"encoders.eeg.sequence.{k}", f"encoders.eeg.glus.{k}.0"
        tensors |= {
            f"{layer}.0.weight": draw(width, width if k else virtual, kernel),
            f"{layer}.0.bias": draw(width),
        }
        tensors |= {f"{layer}.1.{n}": draw(width) for n in ("weight", "bias", "running_mean")}
        tensors[f"{layer}.1.running_var"] = draw(width).abs() + 0.5
        tensors[f"{layer}.1.num_batches_tracked"] = torch.tensor(7)
        if every and (k + 1) % every == 0:
            tensors |= {
                f"{gate}.weight": draw(2 * width, width, 1 + 2 * context),
                f"{gate}.bias": draw(2 * width),
            }
    tensors |= {"final.0.weight": draw(2 * width, width, 1), "final.0.bias": draw(2 * width)}
    return tensors | {"final.2.weight": draw(2 * width, n_out, 1), "final.2.bias": draw(n_out)}


def published(tensors, x, positions, subject, period):
    """One trial (channel, time) at places (channel, 2), one step after another."""
    waves = math.isqrt(tensors["merger.heads"].shape[1] // 2)
    phases = [
        2 * math.pi * (i * (positions[:, 0] + 0.2) + j * (positions[:, 1] + 0.2)) / 1.4
        for i in range(waves)
        for j in range(waves)
    ]
    features = torch.stack([p.cos() for p in phases] + [p.sin() for p in phases])  # (feature, channel)
    scores = tensors["merger.heads"] @ features
    scores[:, (positions < 0).any(1)] = -math.inf
    x = scores.softmax(1) @ x
    if "initial_linear.0.weight" in tensors:
        x = tensors["initial_linear.0.weight"][:, :, 0] @ x + tensors["initial_linear.0.bias"][:, None]
    x = (x.T @ tensors["subject_layers.weights"][subject]).T[None]
    for k in range(sum(key.endswith(".0.weight") and ".sequence." in key for key in tensors)):
        layer, gate, before = f"encoders.eeg.sequence.{k}", f"encoders.eeg.glus.{k}.0", x
        weight, dilation = tensors[f"{layer}.0.weight"], 2 ** (k % period)
        x = functional.conv1d(
            x,
            weight,
            tensors[f"{layer}.0.bias"],
            dilation=dilation,
            padding=dilation * (weight.shape[2] // 2),
        )
        x = (x - tensors[f"{layer}.1.running_mean"][:, None]) / (
            tensors[f"{layer}.1.running_var"][:, None] + 1e-5
        ).sqrt()
        x = functional.gelu(x * tensors[f"{layer}.1.weight"][:, None] + tensors[f"{layer}.1.bias"][:, None])
        x = x + before if x.shape == before.shape else x
        if f"{gate}.weight" in tensors:
            pad = tensors[f"{gate}.weight"].shape[2] // 2
            value, open_ = functional.conv1d(
                x, tensors[f"{gate}.weight"], tensors[f"{gate}.bias"], padding=pad
            ).chunk(2, 1)
            x = value * open_.sigmoid()
    x = functional.gelu(functional.conv1d(x, tensors["final.0.weight"], tensors["final.0.bias"]))
    return (
        torch.einsum("nct,cd->ndt", x, tensors["final.2.weight"][:, :, 0]) + tensors["final.2.bias"][:, None]
    )


SIZES = {
    "as wide as there are virtual channels": {"virtual": 6, "width": 6, "every": 2, "linear": True},
    "gates at every third layer": {"virtual": 5, "width": 8, "every": 3, "linear": True},
    "no gates, no first matrix": {"virtual": 7, "width": 4, "every": 0, "linear": False},
}


@pytest.mark.parametrize("name", SIZES)
def test_other_sizes_are_read_from_the_shapes(name, generator, tmp_path):
    tensors = checkpoint(
        generator, n_layers=6, kernel=5, context=2, waves=3, n_subjects=3, n_out=9, **SIZES[name]
    )
    save_file(tensors, tmp_path / "weights.safetensors")
    convert("simpleconv", tmp_path / "weights.safetensors", tmp_path / "out", dilation_period=4, n_times=40)
    x, positions = torch.randn(4, 10, 40, generator=generator), torch.rand(4, 10, 2, generator=generator)
    positions[1, 3], subjects = -0.1, torch.tensor([2, 0, 0, 1])
    found = simpleconv.predict(load(tmp_path / "out"), x, positions, subjects)
    for i, index in enumerate(subjects.tolist()):
        expected = published(tensors, x[i], positions[i], index, period=4)
        torch.testing.assert_close(found[i : i + 1], expected, atol=1e-4, rtol=1e-4)
