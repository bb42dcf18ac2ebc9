"""SDXL unCLIP: SDXL's network told the patch tokens of an image, as MindEye2 trained it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import _compat, checks
from braindec.generators import _folder
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks
from braindec.generators._noise import noise

PIPELINES = ("StableDiffusionXLPipeline",)


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of SDXL unCLIP, beside `Settings`; by default those that MindEye2 draws with.

    Parameters
    ----------
    n_steps : int
        Euler steps.
    guidance : float
    n_tokens : int
        Patch tokens of an embedding; their width is the network's.
    offset_noise : float
        Noise that all first latents of a picture share, over their own.
    gain, lift : float
        A picture is gain * drawn + lift, clipped to [0, 1]; drawn lies about in [-1, 1].
    """

    n_steps: int = 38
    guidance: float = 5.0
    n_tokens: int = 256
    offset_noise: float = 0.04
    gain: float = 0.8
    lift: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("n_tokens", self.n_tokens, 1)
        checks.at_least("offset_noise", self.offset_noise, 0)


def build(config: Config) -> SdxlUnclip:
    """The generator of a folder that ``braindec convert sdxl_unclip`` wrote."""
    return SdxlUnclip(config)


class SdxlUnclip(LatentDiffusion):
    """Pictures of patch tokens.

    Notes
    -----
    Scotti et al. 2024, arXiv:2403.11207, and its code: tokens (256, 1664) of OpenCLIP ViT-bigG-14 as context; as vector
    the size 768 and the crop 0; normal noise as the tokens that say nothing; Euler's method in the noise's standard
    deviation (EDM), whose levels are counted down from 999 in equal steps that stop before 0. The picture's gain and
    lift, 0.8 and 0.2, brighten it.
    """

    name = "sdxl_unclip"
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        made = networks(folder, config)
        made.scheduler.register_to_config(
            timestep_spacing="leading"
        )  # first noise of variance 1 + sigma^2, as in sgm
        n_levels = made.scheduler.config.num_train_timesteps
        super().__init__(config, folder, type(made)(
            made.unet, made.autoencoder, made.scheduler, made.control, lambda n: legacy_levels(n, n_levels)
        ))  # fmt: skip
        self.shown, self.offset_noise = (config.gain, config.lift), config.offset_noise
        about = made.unet.config
        n_ids, rest = divmod(
            about.projection_class_embeddings_input_dim or 0, about.addition_time_embed_dim or 1
        )
        if about.addition_embed_type != "text_time" or n_ids != 4 or rest:
            raise checks.DataFileError(
                folder.path / "unet", "is not told a size and a crop alone (four numbers)",
                "Convert a checkpoint with: braindec convert sdxl_unclip CHECKPOINT --out DIR",
            )  # fmt: skip

    @property
    def item(self) -> tuple[int, int]:
        """The tokens of the config, as wide as the network's cross-attention."""
        return self.config.n_tokens, int(self.networks.unet.config.cross_attention_dim)

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """The embedding's tokens, and noise in their place; size and crop with both."""
        n = len(embeddings)
        added = {
            "text_embeds": embeddings.new_empty((n, 0)),
            "time_ids": torch.tensor([*self.size, 0, 0], dtype=torch.float32).to(embeddings).expand(n, -1),
        }
        nothing = noise(sources, tuple(embeddings.shape[1:])).to(embeddings)
        return Condition(embeddings, None, added), Condition(nothing, None, added)


def legacy_levels(n_steps: int, n_levels: int = 1000) -> list[int]:
    """Noise levels of n steps, falling from the last one in equal steps that stop before 0."""
    return np.linspace(n_levels - 1, 0, n_steps, endpoint=False).astype(int).tolist()


def unfilled(unet: dict[str, Any], vae: dict[str, Any], dtype: str) -> nn.ModuleDict:
    """A UNet2DConditionModel and an AutoencoderKL of these configs without memory: names, shapes and types alone."""
    _compat.ensure_torchvision()
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"), _folder.quiet():
        parts = {"unet": UNet2DConditionModel(**unet), "vae": AutoencoderKL(**vae)}
        return nn.ModuleDict({"unet": parts["unet"].to(dtype=getattr(torch, dtype)), "vae": parts["vae"]})
