"""MindEye2's unCLIP after conversion, against sgm's networks and sampler written down beside it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from braindec import checks, convert
from braindec.generators import Guides, _noise, sdxl_unclip

SIDE, N_TOKENS = 8, 3
SGM = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("sgm.py"))))


@pytest.fixture(scope="module")
def sgm():
    return SGM.drawn()


@pytest.fixture(scope="module")
def folder(sgm, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("unclip")
    torch.save({"state_dict": sgm[2], "epoch": 1}, place / "unclip.ckpt")
    convert.convert("sdxl_unclip", place / "unclip.ckpt", place / "out", size=SIDE, head_dim=16)
    return place / "out"


@pytest.fixture
def made(folder):
    return sdxl_unclip.build(config(folder))


def config(folder: Path, **settings) -> sdxl_unclip.Config:
    return sdxl_unclip.Config(folder=str(folder), space="a space", n_tokens=N_TOKENS, **settings)


def embeddings(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, N_TOKENS, 24)).astype(np.float32)


def vector(n: int) -> Tensor:
    numbers = torch.tensor([16.0, 16.0, 0.0, 0.0])
    return torch.cat([SGM.code(number[None], 16) for number in numbers], 1).expand(n, -1)


@torch.no_grad()
def test_the_converted_unet_is_the_same_function(sgm, made):
    x, context = torch.randn(2, 4, SIDE, SIDE), torch.as_tensor(embeddings())
    level = torch.tensor([7, 800])
    added = {"text_embeds": torch.empty(2, 0), "time_ids": torch.tensor([[16.0, 16, 0, 0]]).expand(2, -1)}
    ours = made.networks.unet(x, level, context, added_cond_kwargs=added).sample
    torch.testing.assert_close(ours, sgm[0](x, level, context, vector(2)), atol=2e-5, rtol=1e-4)
    assert ours.std() > 0.1


@torch.no_grad()
def test_the_converted_autoencoder_is_the_same_function(sgm, made):
    pictures, latents = torch.rand(2, 3, 16, 16) * 2 - 1, torch.randn(2, 4, SIDE, SIDE)
    ours = made.networks.autoencoder
    torch.testing.assert_close(
        ours.encode(pictures).latent_dist.mode(), sgm[1].mode(pictures), atol=2e-5, rtol=1e-4
    )
    torch.testing.assert_close(ours.decode(latents).sample, sgm[1].decode(latents), atol=2e-5, rtol=1e-4)
    assert ours.config.scaling_factor == pytest.approx(0.13025)


@torch.no_grad()
def test_pictures_are_those_of_the_published_sampler(sgm, made):
    """Euler's method on sigma, as sgm's EulerEDMSampler runs it, from the same noise."""
    unet, autoencoder, _ = sgm
    n, steps = 2, 5
    sources = _noise.own_sources(n, torch.Generator().manual_seed(3))
    nothing = _noise.noise(sources, (N_TOKENS, 24))
    noise = _noise.noise(sources, (4, SIDE, SIDE)) + 0.04 * _noise.noise(sources, (1, 1, 1))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)
    levels = [int(999 * (1 - i / steps)) for i in range(steps)]
    sigmas = [float(((1 - alphas[i]) / alphas[i]) ** 0.5) for i in levels] + [0.0]
    x, told = noise * (1 + sigmas[0] ** 2) ** 0.5, torch.as_tensor(embeddings(n))
    for level, sigma, following in zip(levels, sigmas, sigmas[1:]):
        scaled, at = x / (1 + sigma**2) ** 0.5, torch.full((n,), level)
        clean, untold = (x - sigma * unet(scaled, at, c, vector(n)) for c in (told, nothing))
        clean = untold + 5 * (clean - untold)
        x = x + (x - clean) / sigma * (following - sigma)
    expected = (0.8 * autoencoder.decode(x / 0.13025) + 0.2).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    drawn = made.generate(embeddings(n), generator=torch.Generator().manual_seed(3), n_steps=steps)
    assert np.abs(drawn.astype(int) - np.round(255 * expected)).max() <= 1
    assert drawn.std() > 5


def test_published_settings_are_the_defaults():
    made = sdxl_unclip.Config(folder="", space="")
    assert (made.n_steps, made.guidance, made.n_tokens) == (38, 5.0, 256)
    levels = sdxl_unclip.legacy_levels(38)
    assert levels[0] == 999 and levels[-1] == 26 and len(levels) == 38


def test_a_low_level_picture_changes_what_is_drawn(made):
    picture = np.zeros((2, 16, 16, 3), np.uint8)
    asked = {"generator": torch.Generator().manual_seed(3), "n_steps": 4}
    told = made.generate(embeddings(), guides=Guides(low_level=picture), **asked)
    assert (
        told != made.generate(embeddings(), **asked | {"generator": torch.Generator().manual_seed(3)})
    ).any()


def test_diffusers_own_converter_names_the_unet_alike(sgm, folder):
    from diffusers.loaders import single_file_utils
    from safetensors.torch import load_file

    settings = json.loads((folder / "unet" / "config.json").read_text())
    theirs = single_file_utils.convert_ldm_unet_checkpoint(dict(sgm[2]), settings)
    ours = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=0, rtol=0)


def test_the_report_names_what_was_left_out_and_every_tensor(folder):
    text = (folder / "report.md").read_text()
    assert "conditioner.embedders.0.model.proj" in text
    assert "`unet.mid_block.attentions.0.proj_in.weight`" in text


@pytest.mark.parametrize("change", ["lost", "added", "reshaped"])
def test_a_checkpoint_that_does_not_fit_is_refused_whole(sgm, tmp_path, change):
    tensors = dict(sgm[2])
    name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    if change == "lost":
        del tensors[name]
    elif change == "added":
        tensors["model.diffusion_model.extra.weight"] = torch.zeros(1)
    else:
        tensors[name] = tensors[name][:5]
    torch.save(tensors, tmp_path / "unclip.ckpt")
    with pytest.raises(checks.DataFileError, match="extra" if change == "added" else "middle_block"):
        convert.convert("sdxl_unclip", tmp_path / "unclip.ckpt", tmp_path / "out", size=SIDE, head_dim=16)
    assert not (tmp_path / "out").exists()
