"""Guided pictures beside diffusers' own pipelines, from the same folder and the same noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from braindec import checks
from braindec._compat import ensure_torchvision
from braindec.generators import _guidance, _pipeline

ensure_torchvision()
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

UNET = {
    "sample_size": 16, "block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4,
}  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction", "sample"])
def pixels(request, tmp_path_factory):
    """Folder of a DDPM pipeline of random weights, and the pipeline."""
    folder = tmp_path_factory.mktemp("ddpm")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = diffusers.UNet2DModel(in_channels=3, out_channels=3, add_attention=False, **UNET, **blocks)
    scheduler = diffusers.DDIMScheduler(prediction_type=request.param, clip_sample=False)
    pipeline = diffusers.DDIMPipeline(unet, scheduler)
    pipeline.save_pretrained(folder)
    return folder, pipeline


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """Folder of a pipeline that is told texts, of random weights."""
    folder = tmp_path_factory.mktemp("latent")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, cross_attention_dim=16, attention_head_dim=4, **UNET | {"sample_size": 8},
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    words = {w: i for i, w in enumerate(("<|startoftext|>", "<|endoftext|>", "a</w>", "b</w>"))}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=6
    )
    text = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=4, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=6, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    ))  # fmt: skip
    scheduler = diffusers.DDIMScheduler(clip_sample=False, steps_offset=1)
    pipeline = diffusers.StableDiffusionPipeline(
        vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return folder, pipeline


def redder(pictures):
    return pictures[:, 0].mean((1, 2)) - pictures[:, 2].mean((1, 2))


def redness(images):
    return (images[..., 0].astype(float) - images[..., 2]).mean((1, 2)) / 255


def test_without_strength_pictures_are_those_of_the_pixel_pipeline_itself(pixels):
    folder, pipeline = pixels
    ours = _pipeline.load(_pipeline.Config(str(folder), n_steps=5, batch_size=2))
    made = ours.synthesise(redder, 3, generator=seeded(), strength=0.0)
    pipeline.set_progress_bar_config(disable=True)
    # In one batch: the pipeline draws its noise batch by batch.
    theirs = pipeline(batch_size=3, generator=seeded(), num_inference_steps=5, output_type="np").images
    assert made.shape == (3, 16, 16, 3) and made.dtype == np.uint8
    assert np.abs(made - theirs * 255).max() <= 0.51


def test_without_strength_pictures_are_those_of_the_latent_pipeline_itself(latents):
    folder, pipeline = latents
    ours = _pipeline.load(_pipeline.Config(str(folder), n_steps=4, prompt="a b"))
    made = ours.synthesise(redder, 2, generator=seeded(), strength=0.0)
    theirs = pipeline(
        ["a b", "a b"], height=16, width=16, num_inference_steps=4, guidance_scale=1.0, output_type="np",
        latents=torch.randn(2, 4, 8, 8, generator=seeded()),
    ).images  # fmt: skip
    assert np.abs(made - theirs * 255).max() <= 0.51


def test_guided_pictures_score_higher_the_more_strength_and_by_their_generator_alone(latents):
    folder, _ = latents
    ours = _pipeline.load(_pipeline.Config(str(folder), n_steps=4))
    scores = [
        redness(ours.synthesise(redder, 4, generator=seeded(), strength=s)).mean() for s in (0.0, 0.3, 1.0)
    ]
    assert scores[0] < scores[1] < scores[2]
    one, again, other = (ours.synthesise(redder, 2, generator=seeded(s)) for s in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert set(ours.identity()["weights_sha256"]) >= {"unet"}


def test_the_gradient_is_that_of_finite_differences(pixels):
    folder, _ = pixels
    model = _pipeline.load(_pipeline.Config(str(folder), n_steps=4))
    model.unet.double()
    model.scheduler.set_timesteps(4)
    x = 0.1 * torch.randn(1, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    level, step = 250, torch.randn(1, 3, 16, 16, generator=seeded(1), dtype=torch.float64)
    kind = model.scheduler.config.prediction_type
    share = model.scheduler.alphas_cumprod[level].double()
    a, b = share.sqrt(), (1 - share).sqrt()

    def value(x):
        with torch.no_grad():
            return redder(model.pictures(_guidance._parts(kind, model.output(x, level), x, a, b)[0]))

    bent, plain = _guidance._bent(model, x, level, redder, 1.0), model.output(x, level).detach()
    moved = _guidance._parts(kind, bent, x, a, b)[0] - _guidance._parts(kind, plain, x, a, b)[0]
    unit = moved / b.square()
    assert float(unit.square().mean()) == pytest.approx(1)
    numeric = (value(x + 1e-5 * step) - value(x - 1e-5 * step)) / 2e-5
    along = torch.nn.functional.cosine_similarity(unit.flatten(), step.flatten(), 0)
    # The direction is the gradient's: stepping along it climbs by its whole length.
    climb = (value(x + 1e-5 * unit) - value(x - 1e-5 * unit)) / 2e-5
    length = climb / unit.norm()
    assert float(numeric) == pytest.approx(float(along * length * step.norm()), rel=1e-3)


def test_scores_that_cannot_guide_are_refused_with_the_reason(pixels):
    folder, _ = pixels
    ours = _pipeline.load(_pipeline.Config(str(folder), n_steps=2))
    for score, message in (
        (lambda x: x.mean(), "one number a picture"),
        (lambda x: torch.zeros(len(x)), "does not depend on the pictures"),
        (lambda x: x.sum((1, 2, 3)) / 0, "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.synthesise(score, 2, generator=seeded())
    with pytest.raises(ValueError, match="strength must be at least 0"):
        ours.synthesise(redder, 2, generator=seeded(), strength=-1.0)


def test_a_folder_that_holds_no_pipeline_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model_index\.json"):
        _pipeline.load(_pipeline.Config(str(tmp_path)))
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["evil", "Code"]}))
    with pytest.raises(checks.ConfigError, match="unet must be one of"):
        _pipeline.load(_pipeline.Config(str(tmp_path)))
