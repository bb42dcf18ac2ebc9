"""Pipelines of the published classes, a few thousand weights each, drawn and saved as `save_pretrained` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from braindec import _compat

_compat.ensure_torchvision()

WORDS = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
N_WORDS = 2 + 2 * 26
SIDE = 8  # of latents; pictures are twice as large


def _drawn(make: Any, seed: int = 0) -> Any:
    """A network with drawn weights, and the global generator as it was; nothing in it is zero at first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for parameter in network.parameters():
            if float(parameter.detach().abs().sum()) == 0:
                torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def unet(**settings: Any) -> Any:
    from diffusers import UNet2DConditionModel

    sizes: dict[str, Any] = {
        "sample_size": SIDE, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return _drawn(lambda: UNet2DConditionModel(**(sizes | settings)))


def vae() -> Any:
    from diffusers import AutoencoderKL

    return _drawn(
        lambda: AutoencoderKL(
            block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4, sample_size=2 * SIDE,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )
    )  # fmt: skip


def scheduler(kind: str = "DDIMScheduler", **settings: Any) -> Any:
    import diffusers

    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if kind == "DDIMScheduler":
        schedule |= {"clip_sample": False, "set_alpha_to_one": False}
    return getattr(diffusers, kind)(**(schedule | settings))


def tokenizer(folder: Path) -> Any:
    """CLIP's, of letters: each is a word."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=10)


def text_encoder(projection: bool = False, dim: int = 16, seed: int = 0) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=N_WORDS, hidden_size=dim, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=10, projection_dim=dim, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return _drawn(lambda: kind(config), seed)


def image_encoder(dim: int = 16, n_patches: int = 4) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=dim, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=2 * n_patches,
        patch_size=4, projection_dim=dim,
    )  # fmt: skip
    return _drawn(lambda: CLIPVisionModelWithProjection(config))


def image_processor(side: int = 8) -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def stable_diffusion(folder: Path, scheduler_kind: str = "DDIMScheduler", **unet_settings: Any) -> Any:
    """StableDiffusionPipeline, saved in the folder."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=vae(), text_encoder=text_encoder(), tokenizer=tokenizer(folder / "words"), unet=unet(**unet_settings),
        scheduler=scheduler(scheduler_kind), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    return _saved(pipeline, folder)


def sdxl(folder: Path, scheduler_kind: str = "EulerDiscreteScheduler", **settings: Any) -> Any:
    """StableDiffusionXLPipeline, saved in the folder."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(
        vae=vae(), text_encoder=text_encoder(), text_encoder_2=text_encoder(projection=True, seed=1),
        tokenizer=tokenizer(folder / "words"), tokenizer_2=tokenizer(folder / "words"),
        unet=unet(
            cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8, use_linear_projection=True,
        ),
        scheduler=scheduler(scheduler_kind, **settings),
    )  # fmt: skip
    return _saved(pipeline, folder)


def stable_unclip(folder: Path, dim: int = 16) -> Any:
    """StableUnCLIPImg2ImgPipeline, saved in the folder."""
    from diffusers import StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

    normalizer = _drawn(lambda: StableUnCLIPImageNormalizer(dim))
    pipeline = StableUnCLIPImg2ImgPipeline(
        feature_extractor=image_processor(), image_encoder=image_encoder(dim), image_normalizer=normalizer,
        image_noising_scheduler=scheduler("DDPMScheduler"), tokenizer=tokenizer(folder / "words"),
        text_encoder=text_encoder(), scheduler=scheduler(), vae=vae(),
        unet=unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * dim),
    )  # fmt: skip
    return _saved(pipeline, folder)


def sdxl_unclip(folder: Path) -> Any:
    """SDXL's pipeline without texts, told a size and a crop, saved in the folder."""
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(
        vae=vae(), text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None,
        unet=unet(
            addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=4 * 8
        ),
        scheduler=scheduler("EulerDiscreteScheduler"),
    )  # fmt: skip
    return _saved(pipeline, folder)


def versatile_diffusion(folder: Path) -> Any:
    """VersatileDiffusionDualGuidedPipeline as its parts were published: two networks, not joined yet."""
    from diffusers.pipelines.deprecated.versatile_diffusion import (
        VersatileDiffusionPipeline,
        modeling_text_unet,
    )

    flat = _drawn(
        lambda: modeling_text_unet.UNetFlatConditionModel(
            sample_size=SIDE,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=4,
            down_block_types=("DownBlockFlat", "CrossAttnDownBlockFlat"),
            mid_block_type="UNetMidBlockFlatCrossAttn",
            up_block_types=("CrossAttnUpBlockFlat", "UpBlockFlat"),
        ),
        seed=1,
    )
    pipeline = VersatileDiffusionPipeline(
        tokenizer=tokenizer(folder / "words"), image_feature_extractor=image_processor(), image_encoder=image_encoder(),
        text_encoder=text_encoder(projection=True), image_unet=unet(), text_unet=flat, vae=vae(), scheduler=scheduler(),
    )  # fmt: skip
    return _saved(pipeline, folder)


def controlnet(folder: Path, of: Any) -> Any:
    """ControlNetModel beside a UNet, with residuals that are not zero, saved in the folder."""
    from diffusers import ControlNetModel

    network = _drawn(lambda: ControlNetModel.from_unet(of, conditioning_embedding_out_channels=(4, 8)))
    network.save_pretrained(folder)
    return network


def ip_adapter(file: Path, of: Any, dim: int = 16, plus: bool = False) -> dict[str, torch.Tensor]:
    """An adapter's published tensors for a UNet, by hand from their names, saved in a safetensors file."""
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(0)
    width, inner = of.config.cross_attention_dim, 64  # one head of the resampler

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw) / shape[-1] ** 0.5

    made = {}
    for i, name in enumerate(of.attn_processors):
        if name.endswith("attn2.processor"):
            n_hidden = of.get_submodule(name.rpartition(".")[0]).to_q.weight.shape[0]
            made |= {f"ip_adapter.{i}.to_{x}_ip.weight": tensor(n_hidden, width) for x in "kv"}
    if not plus:
        made |= {"image_proj.proj.weight": tensor(4 * width, dim), "image_proj.proj.bias": tensor(4 * width)}
        made |= {"image_proj.norm.weight": tensor(width), "image_proj.norm.bias": tensor(width)}
    else:
        n = 32
        made |= {"image_proj.latents": tensor(1, 4, n), "image_proj.proj_in.weight": tensor(n, dim)}
        made |= {"image_proj.proj_in.bias": tensor(n), "image_proj.proj_out.weight": tensor(width, n)}
        made |= {"image_proj.proj_out.bias": tensor(width), "image_proj.norm_out.weight": tensor(width)}
        made |= {"image_proj.norm_out.bias": tensor(width)}
        for i in range(4):
            layer = f"image_proj.layers.{i}."
            made |= {
                f"{layer}0.to_q.weight": tensor(inner, n),
                f"{layer}0.to_kv.weight": tensor(2 * inner, n),
            }
            made |= {f"{layer}0.to_out.weight": tensor(n, inner), f"{layer}1.1.weight": tensor(4 * n, n)}
            made |= {f"{layer}1.3.weight": tensor(n, 4 * n)}
            for norm in ("0.norm1", "0.norm2", "1.0"):
                made |= {f"{layer}{norm}.{kind}": tensor(n) for kind in ("weight", "bias")}
    save_file(made, file)
    return made


def _saved(pipeline: Any, folder: Path) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return pipeline
