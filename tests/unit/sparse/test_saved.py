"""Autoencoders as folders: what comes back, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import sparse
from braindec.checks import DataFileError
from braindec.sparse import saved

KINDS = ["topk", "batch_topk", "gradient_topk", "matching_pursuit", "jump_relu", "relu", "gated"]
READ_AS = {"batch_topk": "jump_relu", "gradient_topk": "topk"}  # by who knows no metadata of ours


def model(activation="topk", **more):
    torch.manual_seed(0)
    out = sparse.SparseAutoencoder(6, sparse.Config(20, activation, 3, **more)).eval()
    with torch.no_grad():
        for parameter in out.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
        out.threshold.fill_(0.25)
    return out


def inputs():
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(1))


def change(folder, **entries):
    data = json.loads((folder / saved.CONFIG).read_text())
    (folder / saved.CONFIG).write_text(json.dumps(data | entries))


def forget_us(folder):
    data = json.loads((folder / saved.CONFIG).read_text())
    data["metadata"] = {}
    (folder / saved.CONFIG).write_text(json.dumps(data))


@pytest.mark.parametrize("activation", KINDS)
def test_what_is_saved_comes_back(activation, tmp_path):
    original = model(activation, prefixes=(5,))
    found = saved.load(saved.save(original, tmp_path / "sae", {"space": "pixels"}))
    assert found.config == original.config
    torch.testing.assert_close(found(inputs()), original(inputs()), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("activation", KINDS)
def test_a_folder_that_names_no_braindec_is_read_as_saelens_reads_it(activation, tmp_path):
    original = model(activation)
    saved.save(original, tmp_path)
    forget_us(tmp_path)
    found = saved.load(tmp_path)
    torch.testing.assert_close(found(inputs()), original(inputs()), atol=1e-6, rtol=1e-6)
    assert found.config.activation == READ_AS.get(activation, activation)


def test_activations_scaled_by_the_norm_of_atoms_are_the_same_function_of_unit_atoms(tmp_path):
    original = model()
    saved.save(original, tmp_path)
    forget_us(tmp_path)
    change(tmp_path, rescale_acts_by_decoder_norm=True)
    found, norms = saved.load(tmp_path), original.atoms.norm(dim=1)
    pre = original.pre_activations(inputs()) * norms
    kept = torch.relu(pre) * (pre >= pre.topk(3, dim=1).values[:, -1:])
    torch.testing.assert_close(found(inputs()), (kept / norms) @ original.atoms + original.bias)


def test_a_gated_one_is_read_by_the_names_of_its_gates_whatever_its_bias_is_subtracted_from(tmp_path):
    original = model("gated")
    saved.save(original, tmp_path)
    forget_us(tmp_path)
    change(tmp_path, apply_b_dec_to_input=False)
    t = load_file(tmp_path / saved.WEIGHTS)
    assert set(t) == {"W_enc", "W_dec", "b_dec", "b_gate", "r_mag", "b_mag"}
    opened = inputs() @ t["W_enc"] + t["b_gate"] > 0
    much = torch.relu(inputs() @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"])
    torch.testing.assert_close(saved.load(tmp_path)(inputs()), (opened * much) @ t["W_dec"] + t["b_dec"])


def test_a_bias_that_is_not_subtracted_from_inputs_is_the_same_function(tmp_path):
    original = model("relu")
    saved.save(original, tmp_path)
    forget_us(tmp_path)
    change(tmp_path, apply_b_dec_to_input=False)
    pre = inputs() @ original.encoder.T + original.encoder_bias
    torch.testing.assert_close(
        saved.load(tmp_path)(inputs()), torch.relu(pre) @ original.atoms + original.bias
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"architecture": "temporal"}, "temporal"),
        ({"architecture": "gated", "metadata": {}}, "missing: b_gate"),
        ({"residual_threshold": 0.01}, "residual_threshold"),
        ({"normalize_activations": "layer_norm"}, "layer_norm"),
        ({"activation_fn_str": "topk"}, "SAELens 6"),
        ({"d_sae": 21, "metadata": {}}, "differs: W_dec"),
    ],
)
def test_what_would_run_wrongly_is_refused(entries, words, tmp_path):
    saved.save(model("relu"), tmp_path)
    change(tmp_path, **entries)
    with pytest.raises(DataFileError, match=words):
        saved.load(tmp_path)


def test_other_weights_than_the_configuration_s_are_refused(tmp_path):
    saved.save(model(), tmp_path)
    tensors = load_file(tmp_path / saved.WEIGHTS)
    save_file(tensors | {"b_enc": tensors["b_enc"] + 1}, tmp_path / saved.WEIGHTS)
    with pytest.raises(DataFileError, match="not the file"):
        saved.load(tmp_path)
    save_file({k: v for k, v in tensors.items() if k != "b_dec"}, tmp_path / saved.WEIGHTS)
    forget_us(tmp_path)
    with pytest.raises(DataFileError, match="missing: b_dec"):
        saved.load(tmp_path)
    (tmp_path / saved.WEIGHTS).write_bytes(b"12345")
    with pytest.raises(DataFileError, match="no readable"):
        saved.load(tmp_path)


@pytest.mark.parametrize("where", ["of SAELens", "of ours", "inputs"])
def test_no_memory_is_taken_for_more_than_the_weights_hold(where, tmp_path, monkeypatch):
    saved.save(model(), tmp_path)
    data = json.loads((tmp_path / saved.CONFIG).read_text())
    if where == "of ours":
        data["metadata"]["braindec"]["config"]["n_latents"] = 10**13
        change(tmp_path, **data)
    else:
        forget_us(tmp_path)
        change(tmp_path, **{"d_in" if where == "inputs" else "d_sae": 10**13})
    monkeypatch.setattr(saved, "SparseAutoencoder", lambda *_: pytest.fail("it was built"))
    with pytest.raises(
        DataFileError, match=r"differs: W_dec is \(20, 6\), the configuration says .*10000000000000"
    ):
        saved.load(tmp_path)


def test_a_missing_folder_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="braindec sae fit"):
        saved.load(tmp_path / "none")
