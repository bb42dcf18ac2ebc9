"""Generators from folders against diffusers' own pipelines of the same folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from braindec.generators import (
    Guides,
    _noise,
    ip_adapter,
    latent_diffusion,
    nearest_image,
    refined,
    stable_unclip,
    versatile_diffusion,
)

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
    return _noise.own_sources(N, seeded())


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
    built = ip_adapter.build(config, nothing)
    assert built.identity() != ip_adapter.build(config, 2 * nothing).identity()
    ours = built.generate(about, generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS)
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


def pictures_of(n: int) -> list:
    from PIL import Image

    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(n)]


def test_versatile_diffusion_draws_what_the_dual_guided_pipeline_draws(tiny_pipelines, tmp_path, monkeypatch):
    from diffusers import VersatileDiffusionDualGuidedPipeline

    made = tiny_pipelines.versatile_diffusion(tmp_path)
    config = versatile_diffusion.Config(
        folder=str(tmp_path), space="s", n_tokens=5, text_share=0.3, guidance=3.0
    )
    generator = versatile_diffusion.build(config)
    pipeline = VersatileDiffusionDualGuidedPipeline(**made.components)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pictures_of(N)
    with torch.no_grad():
        seen = pipeline._encode_image_prompt(pictures, "cpu", 1, False)
        words = pipeline._encode_text_prompt(list(TEXTS), "cpu", 1, False)
    # It is written for 257 tokens; these pictures have 5.
    fixed = pipeline.set_transformer_params
    without_mask(monkeypatch)
    pipeline.set_transformer_params = lambda share, kinds: (
        fixed(share, kinds),
        _shorten_(pipeline.image_unet, kinds),
    )
    theirs = pipeline(
        prompt=list(TEXTS), image=pictures, text_to_image_strength=0.3, guidance_scale=3.0, num_inference_steps=STEPS,
        generator=sources(), output_type="np",
    ).images  # fmt: skip
    ours = generator.generate(seen.numpy(), generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS)
    same(ours, theirs)
    predicted = versatile_diffusion.build(
        versatile_diffusion.Config(
            folder=str(tmp_path), space="s", n_tokens=5, n_text_tokens=10, text_share=0.3, guidance=3.0
        )
    )
    both = torch.cat([seen, words], 1).numpy()
    np.testing.assert_array_equal(predicted.generate(both, generator=seeded(), n_steps=STEPS), ours)
    assert predicted.takes == {"low_level"}
    pipeline.save_pretrained(tmp_path / "joined")
    joined = versatile_diffusion.build(dataclasses.replace(config, folder=str(tmp_path / "joined")))
    np.testing.assert_array_equal(
        joined.generate(seen.numpy(), generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS), ours
    )


def without_mask(monkeypatch) -> None:
    """Blocks of diffusers 0.42 hand every attention a mask; the dual one does not take it, and needs none."""
    from diffusers.models import DualTransformer2DModel

    forward = DualTransformer2DModel.forward
    monkeypatch.setattr(
        DualTransformer2DModel, "forward",
        lambda self, *args, encoder_attention_mask=None, **rest: forward(self, *args, **rest),
    )  # fmt: skip


def _shorten_(unet, kinds) -> None:
    for module in unet.modules():
        if hasattr(module, "condition_lengths"):
            module.condition_lengths = [10 if kind == "text" else 5 for kind in kinds]


def test_image_tokens_alone_draw_what_the_image_variation_pipeline_draws(tiny_pipelines, tmp_path):
    from diffusers import VersatileDiffusionImageVariationPipeline

    made = tiny_pipelines.versatile_diffusion(tmp_path)
    parts = {k: v for k, v in made.components.items() if k not in ("text_unet", "text_encoder", "tokenizer")}
    pipeline = VersatileDiffusionImageVariationPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pictures_of(N)
    with torch.no_grad():
        seen = pipeline._encode_prompt(pictures, "cpu", 1, False, None)
    config = versatile_diffusion.Config(
        folder=str(tmp_path), space="s", n_tokens=5, text_share=0.0, guidance=3.0
    )
    ours = versatile_diffusion.build(config).generate(seen.numpy(), generator=seeded(), n_steps=STEPS)
    theirs = pipeline(
        image=pictures, guidance_scale=3.0, num_inference_steps=STEPS, generator=sources(), output_type="np"
    ).images
    same(ours, theirs)


@pytest.mark.parametrize("base", ["stable_diffusion", "sdxl"])
def test_refinement_draws_on_the_first_picture_as_img2img_does(tiny_pipelines, tmp_path, embeddings, base):
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline

    made = getattr(tiny_pipelines, base)(tmp_path)
    kind = StableDiffusionXLImg2ImgPipeline if base == "sdxl" else StableDiffusionImg2ImgPipeline
    pipeline = kind(**made.components, **({} if base == "sdxl" else {"requires_safety_checker": False}))
    pipeline.set_progress_bar_config(disable=True)
    images = np.random.default_rng(1).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    first = nearest_image.build(nearest_image.Config(), embeddings, images, "a space")
    generator = refined.build(refined.Config(folder=str(tmp_path), guidance=3.0, negative="b"), first)
    assert generator.space == "a space"
    ours = generator.generate(embeddings, generator=seeded(), guides=Guides(texts=TEXTS), n_steps=STEPS)
    second = torch.randint(_noise.SEEDS, (2,), generator=seeded()).tolist()[1]
    theirs = pipeline(
        image=latents_of(generator.second, images), prompt=list(TEXTS), negative_prompt=["b"] * N, strength=0.5,
        guidance_scale=3.0, num_inference_steps=STEPS, output_type="np",
        generator=_noise.own_sources(N, torch.Generator().manual_seed(second)),
    ).images  # fmt: skip
    same(ours, theirs)
