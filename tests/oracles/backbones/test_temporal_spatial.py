"""The temporal-spatial network against the published one, with the published weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from braindec.backbones import temporal_spatial

# Published name -> ours. The biases of the two convolutions before a norm go into that norm's mean.
NAMES = {
    "enc.0.tsconv.0.weight": "temporal.weight",
    "enc.0.tsconv.2": "temporal_norm.0",
    "enc.0.tsconv.4.weight": "spatial.weight",
    "enc.0.tsconv.5": "spatial_norm.0",
    "enc.0.projection.0": "mix",
    "proj.0": "heads.to_main.project",
    "proj.1.fn.1": "heads.to_main.hidden.1",
    "proj.2": "heads.to_main.norm",
}
FOLDED = {"enc.0.tsconv.0.bias": "temporal_norm.0", "enc.0.tsconv.4.bias": "spatial_norm.0"}


def renamed(weights):
    ours = {}
    for name, tensor in weights.items():
        if name not in FOLDED:
            prefix = next(p for p in NAMES if name == p or name.startswith(p + "."))
            ours[NAMES[prefix] + name.removeprefix(prefix)] = tensor.clone()
    for name, norm in FOLDED.items():
        ours[f"{norm}.running_mean"] -= weights[name]
    return ours


@pytest.fixture(scope="module")
def published(parity):
    """(our network with the published weights, what the published one computes)."""
    weights = load_file(parity / "nice_public.safetensors")
    example = load_file(parity / "nice_public_io.safetensors")
    n_filters, _, _, kernel = weights["enc.0.tsconv.0.weight"].shape
    config = temporal_spatial.Config(n_filters=n_filters, kernel=kernel)
    n_dims = weights["proj.2.weight"].shape[0]
    network = temporal_spatial.build(tuple(example["eeg"].shape[2:]), {"main": (1, n_dims)}, config)
    network.load_state_dict(renamed(weights), strict=True)
    return network.eval(), example


def test_the_features_are_the_published_ones(published):
    network, example = published
    torch.testing.assert_close(
        network.features(example["eeg"].squeeze(1)), example["tokens"], atol=1e-4, rtol=1e-4
    )


def test_the_embedding_is_the_published_one(published):
    network, example = published
    found = network(example["eeg"].squeeze(1))["main"]
    torch.testing.assert_close(found.squeeze(1), example["embedding"], atol=1e-4, rtol=1e-4)
