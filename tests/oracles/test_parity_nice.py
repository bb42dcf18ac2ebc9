"""NICE's checkpoint, converted and loaded as a user would, against what its own code computed: a test an output."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec.backbones import temporal_spatial
from braindec.convert import convert, load

WEIGHTS, EXAMPLE = "nice_public.safetensors", "nice_public_io.safetensors"


@pytest.fixture(scope="module")
def example(parity):
    return load_file(parity / EXAMPLE)


@pytest.fixture(scope="module")
def converted(parity, example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nice") / "converted"
    convert("nice", parity / WEIGHTS, folder, n_times=example["eeg"].shape[-1])
    return load(folder)


def test_tokens(converted, example):
    found = converted.encoder.backbone.features(example["eeg"].squeeze(1))
    torch.testing.assert_close(found, example["tokens"], atol=1e-4, rtol=1e-4)


def test_embedding(converted, example):
    (key,) = converted.encoder.keys
    found = converted.encoder({key: example["eeg"].squeeze(1)})[key]["main"].squeeze(1)
    torch.testing.assert_close(found, example["embedding"], atol=1e-4, rtol=1e-4)


def test_channels_in_another_order_give_another_embedding(converted, example):
    """Null."""
    (key,) = converted.encoder.keys
    found = converted.encoder({key: example["eeg"].squeeze(1).flip(1)})[key]["main"].squeeze(1)
    assert not torch.allclose(found, example["embedding"], atol=1e-2)


def test_every_tensor_is_named_in_the_report_and_the_biases_before_norms_are_called_inert(parity, tmp_path):
    report = convert("nice", parity / WEIGHTS, tmp_path / "out")
    assert all(key in report.text for key in load_file(parity / WEIGHTS))
    assert report.n_left == 0 and "get no gradient" in report.text


def test_the_biases_before_norms_are_inert_in_training_and_count_in_evaluation(converted, example):
    backbone = converted.encoder.backbone
    assert backbone.inert == {"tsconv.temporal.bias", "tsconv.spatial.bias"}
    network = temporal_spatial.build(
        tuple(example["eeg"].shape[2:]), {"main": (1, 8)}, temporal_spatial.Config(variant="published")
    ).double()
    eeg = example["eeg"].squeeze(1).double()
    network.train()(eeg)["main"][:, 0, 0].sum().backward()
    sizes = {name: float(p.grad.abs().max()) for name, p in network.named_parameters()}
    largest = max(sizes.values())
    assert {name for name, size in sizes.items() if size < 1e-12 * largest} == network.inert
    before = network.eval().features(eeg)
    for name in network.inert:
        with torch.no_grad():
            network.get_parameter(name).add_(1.0)
        assert not torch.allclose(network.features(eeg), before, atol=1e-3)


@pytest.mark.parametrize("change", ["missing", "one too many", "wrong shape", "no projection"])
def test_a_checkpoint_that_is_not_this_model_is_refused_whole(parity, tmp_path, change):
    tensors = load_file(parity / WEIGHTS)
    if change == "missing":
        del tensors["proj.2.bias"]
    elif change == "one too many":
        tensors["enc.0.tsconv.7.weight"] = torch.zeros(3)
    elif change == "wrong shape":
        tensors["enc.0.tsconv.5.weight"] = tensors["enc.0.tsconv.5.weight"][:-1].contiguous()
    else:
        tensors = {k: v for k, v in tensors.items() if not k.startswith("proj.")}
    save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(ValueError):
        convert("nice", tmp_path / "changed.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_length_that_does_not_fit_is_refused_with_the_one_that_does(parity, example, tmp_path):
    with pytest.raises(ValueError, match="would suit"):
        convert("nice", parity / WEIGHTS, tmp_path / "out", n_times=example["eeg"].shape[-1] + 50)
