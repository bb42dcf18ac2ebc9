"""MindEye2's checkpoint, converted and loaded as a user would, against what its own code computed: a test an output."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from braindec.convert import convert, load
from braindec.priors.diffusion import q_sample

WEIGHTS, EXAMPLE = "mindeye2_public.pth", "mindeye2_public_io.safetensors"
INPUTS = {"voxels", "prior_noisy", "prior_t"}
USUAL = ("ridge", "backbone", "clip_voxels", "blurry_latents", "blurry_aux", "prior_pred", "prior_pred_cond_scale_2",
         "alphas_cumprod", "q_sample")  # fmt: skip
OURS = {
    "backbone": "backbone",
    "clip_voxels": "clip",
    "blurry_latents": "latents",
    "blurry_aux": "latent_maps",
}


def keys() -> list[str]:
    """The outputs that the file holds; their usual names where there is no file (the tests then skip)."""
    file = Path(os.environ.get("BRAINDEC_PARITY", "nowhere")) / EXAMPLE
    return sorted(set(load_file(file)) - INPUTS) if file.is_file() else list(USUAL)


@pytest.fixture(scope="module")
def converted(parity, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mindeye2") / "converted"
    convert("mindeye2", parity / WEIGHTS, folder)
    return load(folder)


@pytest.fixture(scope="module")
def example(parity):
    return load_file(parity / EXAMPLE)


def signal_of(converted, example) -> tuple[str, torch.Tensor]:
    """The subject whose voxels these are (the second one, where several have as many), and a trial's signal."""
    voxels = example["voxels"].squeeze(1)
    fitting = [k for k, s in converted.design.info.signals.items() if s.shape == tuple(voxels.shape[1:])]
    second = converted.encoder.keys[1:2]
    return next((key for key in fitting if key in second), fitting[0]), voxels


def computed(converted, example, key: str) -> torch.Tensor:
    """What ours gives for one output of the file."""
    subject, voxels = signal_of(converted, example)
    if key == "ridge":
        return converted.encoder.adapter(subject)(voxels)
    if key in OURS:
        return converted.encoder({subject: voxels})[subject][OURS[key]]
    noisy, step = example["prior_noisy"], example["prior_t"]
    if found := re.fullmatch(r"prior_pred(?:_cond_scale_(\w+))?", key):
        scale = float((found[1] or "1").replace("_", "."))
        return converted.prior.denoise(noisy, step, example["backbone"], guidance=scale)
    if key == "q_sample":
        return q_sample(noisy, step, torch.ones_like(noisy), converted.prior.alphas_cumprod)
    assert key == "alphas_cumprod", f"this test does not know what {key} is"
    return converted.prior.alphas_cumprod


@torch.no_grad()
@pytest.mark.parametrize("key", keys())
def test_the_output_is_the_published_one(converted, example, key):
    found = computed(converted, example, key)
    torch.testing.assert_close(found.reshape(example[key].shape), example[key], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("key", sorted(OURS))
def test_other_voxels_do_not_give_the_published_output(converted, example, key):
    """Null."""
    other = dict(example, voxels=example["voxels"].roll(1, 0))
    found = computed(converted, other, key).reshape(example[key].shape)
    assert not torch.allclose(found, example[key], atol=1e-2, rtol=1e-2)


def test_every_tensor_of_the_checkpoint_is_in_the_report(parity, tmp_path):
    tensors = torch.load(parity / WEIGHTS, weights_only=True)["model_state_dict"]
    report = convert("mindeye2", parity / WEIGHTS, tmp_path / "out")
    assert all(f"`{key}`" in report.text for key in tensors)
    assert report.n_source == len(tensors)


@pytest.mark.parametrize("change", ["missing", "one too many", "wrong shape"])
def test_a_checkpoint_that_is_not_this_model_is_refused_whole(parity, tmp_path, change):
    whole = torch.load(parity / WEIGHTS, weights_only=True)
    tensors = whole["model_state_dict"]
    key = "backbone.blin1.bias"
    if change == "missing":
        del tensors[key]
    elif change == "one too many":
        tensors["backbone.blin2.bias"] = tensors[key]
    else:
        tensors[key] = tensors[key][:-1].clone()
    torch.save(whole, tmp_path / "changed.pth")
    with pytest.raises(ValueError, match=r"backbone\.blin"):
        convert("mindeye2", tmp_path / "changed.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()
