"""Generators from folders against diffusers' own pipelines of the same folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from braindec import _compat
from braindec.generators import Guides, _latent, ip_adapter, latent_diffusion, stable_unclip

N, STEPS = 3, 4
TEXTS = ("a b", "c", "a dog")


@pytest.fixture
def embeddings() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, 1, 16)).astype(np.float32)


@pytest.fixture
def low_level() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def sources() -> list[torch.Generator]:
    return _latent.own_sources(N, seeded())


def shown(pictures: np.ndarray) -> np.ndarray:
    """Bytes of what a pipeline gives in [0, 1]."""
    return np.round(255 * pictures).astype(np.uint8)


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Up to rounding, and pictures of something."""
    assert ours.std() > 5
    assert np.abs(ours.astype(int) - shown(theirs).astype(int)).max() <= 1


def latents_of(generator, pictures: np.ndarray) -> torch.Tensor:
    """What img2img pipelines take for a picture that was encoded already; ours is the autoencoder's mode."""
    x = torch.as_tensor(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    autoencoder = generator.networks.autoencoder
    with torch.no_grad():
        return autoencoder.encode(x).latent_dist.mean * autoencoder.config.scaling_factor


def test_stable_unclip_draws_what_its_pipeline_draws(tiny_pipelines, tmp_path, embeddings):
    pipeline = tiny_pipelines.stable_unclip(tmp_path)
    config = stable_unclip.Config(folder=str(tmp_path), space="a space", guidance=3.0, noise_level=20)
    ours = stable_unclip.build(config).generate(
        embeddings, generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS
    )
    theirs = pipeline(
        prompt=list(TEXTS), image_embeds=torch.as_tensor(embeddings[:, 0]), guidance_scale=3.0, noise_level=20,
        num_inference_steps=STEPS, generator=sources(), output_type="np",
    ).images  # fmt: skip
    same(ours, theirs)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "PNDMScheduler", "EulerAncestralDiscreteScheduler"])
def test_latent_diffusion_draws_what_stable_diffusion_draws_of_the_same_tokens(
    tiny_pipelines, tmp_path, scheduler
):
    pipeline = tiny_pipelines.stable_diffusion(tmp_path, scheduler)
    tokens = np.random.default_rng(0).standard_normal((N, 10, 16)).astype(np.float32)
    config = latent_diffusion.Config(folder=str(tmp_path), space="a space", n_tokens=10, guidance=4.0)
    ours = latent_diffusion.build(config).generate(tokens, generator=seeded(), n_steps=STEPS)
    theirs = pipeline(
        prompt_embeds=torch.as_tensor(tokens), negative_prompt=[""] * N, guidance_scale=4.0,
        num_inference_steps=STEPS, generator=sources(), output_type="np",
    ).images  # fmt: skip
    same(ours, theirs)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_a_low_level_picture_is_started_from_as_img2img_does(tiny_pipelines, tmp_path, low_level, scheduler):
    _compat.ensure_torchvision()
    from diffusers import StableDiffusionImg2ImgPipeline

    made = tiny_pipelines.stable_diffusion(tmp_path, scheduler)
    pipeline = StableDiffusionImg2ImgPipeline(**made.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    tokens = np.random.default_rng(0).standard_normal((N, 10, 16)).astype(np.float32)
    config = latent_diffusion.Config(folder=str(tmp_path), space="s", n_tokens=10, guidance=4.0, strength=0.6)
    generator = latent_diffusion.build(config)
    ours = generator.generate(tokens, generator=seeded(), guides=Guides(low_level=low_level), n_steps=STEPS)
    theirs = pipeline(
        image=latents_of(generator, low_level), prompt_embeds=torch.as_tensor(tokens), negative_prompt=[""] * N,
        strength=0.6, guidance_scale=4.0, num_inference_steps=STEPS, generator=sources(), output_type="np",
    ).images  # fmt: skip
    same(ours, theirs)


def test_a_control_map_is_followed_as_the_controlnet_pipeline_does(tiny_pipelines, tmp_path: Path):
    _compat.ensure_torchvision()
    from diffusers import StableDiffusionControlNetPipeline

    made = tiny_pipelines.stable_diffusion(tmp_path / "sd")
    network = tiny_pipelines.controlnet(tmp_path / "control", made.unet)
    pipeline = StableDiffusionControlNetPipeline(
        **made.components, controlnet=network, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    tokens = np.random.default_rng(0).standard_normal((N, 10, 16)).astype(np.float32)
    control = np.random.default_rng(2).random((N, 16, 16), dtype=np.float32)
    config = latent_diffusion.Config(
        folder=str(tmp_path / "sd"), space="s", n_tokens=10, guidance=4.0, control=str(tmp_path / "control"),
        control_scale=0.7,
    )  # fmt: skip
    ours = latent_diffusion.build(config).generate(
        tokens, generator=seeded(), guides=Guides(control=control), n_steps=STEPS
    )
    theirs = pipeline(
        image=torch.as_tensor(control)[:, None].expand(-1, 3, -1, -1), prompt_embeds=torch.as_tensor(tokens),
        negative_prompt=[""] * N, guidance_scale=4.0, controlnet_conditioning_scale=0.7, num_inference_steps=STEPS,
        generator=sources(), output_type="np",
    ).images  # fmt: skip
    same(ours, theirs)


@pytest.mark.parametrize("n_tokens", [1, 5])
@pytest.mark.parametrize("base", ["stable_diffusion", "sdxl"])
def test_an_ip_adapter_draws_what_its_pipeline_draws(tiny_pipelines, tmp_path, base, n_tokens):
    pipeline = getattr(tiny_pipelines, base)(tmp_path)
    tiny_pipelines.ip_adapter(tmp_path / "ip.safetensors", pipeline.unet, plus=n_tokens > 1)
    about = np.random.default_rng(0).standard_normal((N, n_tokens, 16)).astype(np.float32)
    nothing = np.random.default_rng(1).standard_normal((n_tokens, 16)).astype(np.float32)
    config = ip_adapter.Config(
        folder=str(tmp_path), adapter=str(tmp_path / "ip.safetensors"), space="s", guidance=3.0, scale=0.8,
        n_tokens=n_tokens,
    )  # fmt: skip
    ours = ip_adapter.build(config, nothing).generate(
        about, generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS
    )
    pipeline.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None
    )
    pipeline.set_ip_adapter_scale(0.8)
    # The pipeline repeats what it is given for each caption, so it is asked for one picture at a time.
    theirs = []
    for row, source in enumerate(sources()):
        pair = torch.as_tensor(np.stack([nothing, about[row]]))
        theirs.append(
            pipeline(
                prompt=TEXTS[row], ip_adapter_image_embeds=[pair if n_tokens == 1 else pair[:, None]],
                guidance_scale=3.0, num_inference_steps=STEPS, generator=source, output_type="np",
            ).images
        )  # fmt: skip
    same(ours, np.concatenate(theirs))
