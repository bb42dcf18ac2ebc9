"""The speech SimpleConv, converted and loaded as a user would, against what the published code computes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec.convert import convert, load, simpleconv
from braindec.types import SensorSpace, SignalInfo, SubjectSignal

WEIGHTS, EXAMPLE = "simpleconv_public.safetensors", "simpleconv_public_io.safetensors"


@pytest.fixture(scope="module")
def converted(parity, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simpleconv") / "converted"
    convert("simpleconv", parity / WEIGHTS, folder)
    return load(folder)


@pytest.fixture(scope="module")
def example(parity):
    return load_file(parity / EXAMPLE)


def sensors(converted, subject, n_channels, generator):
    positions = 0.08 * torch.randn(n_channels, 3, generator=generator).numpy()
    space = SensorSpace(tuple(f"M{i}" for i in range(n_channels)), positions, ("mag",) * n_channels)
    modality = converted.encoder.keys[0].rpartition("_")[2]
    return SubjectSignal(subject, modality, (n_channels, 40), space)


def test_output(converted, example):
    found = simpleconv.predict(converted, example["meg"], example["positions"], example["subject_index"])
    torch.testing.assert_close(found, example["output"], atol=1e-4, rtol=1e-4)


def test_who_the_subject_is_and_where_the_sensors_are_matters(converted, example):
    """Null: other subjects or other places give another output."""
    n_subjects = len(converted.encoder.keys)
    others = (example["subject_index"] + 1) % n_subjects
    for positions, index in (
        (example["positions"], others),
        (example["positions"].flip(1), example["subject_index"]),
    ):
        found = simpleconv.predict(converted, example["meg"], positions, index)
        assert not torch.allclose(found, example["output"], atol=1e-4, rtol=1e-4)


def test_on_sensors_of_their_own_subjects_decode_as_the_published_model_does(converted):
    """The same places, given as sensors on heads of 3 samples and as positions with every trial."""
    generator = torch.Generator().manual_seed(0)
    signals = [sensors(converted, 1, 5, generator), sensors(converted, 2, 7, generator)]
    encoder = simpleconv.on_sensors(converted, SignalInfo({s.key: s for s in signals}))
    x = {s.key: torch.randn(2, *s.shape, generator=generator) for s in signals}
    for i, (key, out) in enumerate(encoder(x).items()):
        places = encoder.adapter(key).positions.expand(2, -1, -1)
        expected = simpleconv.predict(converted, x[key], places, torch.tensor([i, i]))
        torch.testing.assert_close(out["main"].transpose(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_a_subject_that_the_checkpoint_does_not_know_starts_as_the_mean_of_those_it_knows(converted):
    n_subjects = len(converted.encoder.keys)
    signal = sensors(converted, n_subjects + 1, 5, torch.Generator().manual_seed(0))
    encoder = simpleconv.on_sensors(converted, SignalInfo({signal.key: signal}))
    known = torch.stack([converted.encoder.adapter(key).matrix for key in converted.encoder.keys])
    torch.testing.assert_close(encoder.adapter(signal.key).matrix, known.mean(0))


def test_every_tensor_is_named_in_the_report(parity, tmp_path):
    report = convert("simpleconv", parity / WEIGHTS, tmp_path / "out")
    assert all(key in report.text for key in load_file(parity / WEIGHTS))
    assert "no sensors" in report.text


@pytest.mark.parametrize("change", ["missing", "one too many", "wrong shape", "a gate gone"])
def test_a_checkpoint_that_is_not_this_model_is_refused_whole(parity, tmp_path, change):
    tensors = load_file(parity / WEIGHTS)
    if change == "missing":
        del tensors["final.0.bias"]
    elif change == "one too many":
        tensors["final.4.weight"] = torch.zeros(3)
    elif change == "wrong shape":
        tensors["subject_layers.weights"] = tensors["subject_layers.weights"][:, :-1].contiguous()
    else:
        gate = next(key for key in tensors if ".glus." in key and key.endswith("weight"))
        tensors = {k: v for k, v in tensors.items() if not k.startswith(gate.removesuffix("0.weight"))}
    save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(ValueError):
        convert("simpleconv", tmp_path / "changed.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()
