"""Versatile Diffusion: one network told image tokens, another one caption tokens, mixed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from braindec import _compat, checks
from braindec.generators import _folder
from braindec.generators._latent import Condition, LatentDiffusion, Settings, networks

PIPELINES = (
    "VersatileDiffusionPipeline", "VersatileDiffusionDualGuidedPipeline", "VersatileDiffusionImageVariationPipeline",
)  # fmt: skip
GREY = 0.5 / 255  # of 1: the pipeline's grey picture is divided by 255 once more by its image processor


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of Versatile Diffusion, beside `Settings`.

    Parameters
    ----------
    text_share : float
        How much captions count beside the image embedding, in [0, 1]; 0: no caption is taken.
    n_tokens : int
        Image tokens of an embedding.
    n_text_tokens : int
        Predicted caption tokens behind them; 0: captions are told as texts.
    """

    guidance: float = 7.5
    text_share: float = 0.5
    n_tokens: int = 257
    n_text_tokens: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.in_range("text_share", self.text_share, 0, 1)
        checks.at_least("n_tokens", self.n_tokens, 1)
        checks.at_least("n_text_tokens", self.n_text_tokens, 0)
        if self.n_text_tokens and not self.text_share:
            raise checks.ConfigError("n_text_tokens are not looked at when text_share is 0; set one of them.")


def build(config: Config) -> VersatileDiffusion:
    """The generator of a folder."""
    return VersatileDiffusion(config)


class VersatileDiffusion(LatentDiffusion):
    """Pictures of CLIP's tokens of images, and of captions or their tokens.

    Notes
    -----
    Xu et al. 2023, arXiv:2211.08332, through diffusers' (deprecated) dual-guided pipeline. Tokens are normed, projected
    and divided by the length of the first one. Image tokens alone: MindEye1 (guidance 3.5); both predicted, img2img:
    Brain-Diffuser (text_share 0.4, strength 0.75, guidance 7.5) and MindBridge.
    """

    name = "versatile_diffusion"
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        made = networks(folder, config, "image_unet")
        if config.text_share:
            made = replace(made, unet=_dual(folder, made.unet, config))
        super().__init__(config, folder, made)
        place = {"device": config.device, "variant": config.variant}
        self.words: tuple[Any, Any] | None = None
        self.nothing_seen: Tensor | None = None
        if config.text_share:
            encoder = _folder.model(folder, "text_encoder", ("CLIPTextModelWithProjection",), **place)
            self.words = _folder.tokenizer(folder), encoder
            self.takes |= frozenset() if config.n_text_tokens else {"texts"}
            n_words = config.n_text_tokens or encoder.config.max_position_embeddings
            _share_(made.unet, config.text_share, (n_words, config.n_tokens))
        if config.guidance > 1:
            vision = _folder.model(folder, "image_encoder", ("CLIPVisionModelWithProjection",), **place)
            self.nothing_seen = _grey(folder, vision)

    @property
    def item(self) -> tuple[int, int]:
        """Image tokens and predicted caption tokens, as wide as the network's cross-attention."""
        return self.config.n_tokens + self.config.n_text_tokens, self.networks.unet.config.cross_attention_dim

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """Caption tokens, then image tokens; and those of an empty caption and a grey picture."""
        seen, words = embeddings.split([self.config.n_tokens, self.config.n_text_tokens], 1)
        nothing_seen = (
            torch.zeros_like(seen) if self.nothing_seen is None else self.nothing_seen.expand_as(seen)
        )
        if self.words is None:
            return Condition(seen), Condition(nothing_seen)
        if not self.config.n_text_tokens:
            words = self._read(texts)
        nothing = self._read(("",)).expand(len(words), -1, -1)[:, : words.shape[1]]
        return Condition(torch.cat([words, seen], 1)), Condition(torch.cat([nothing, nothing_seen], 1))

    def _read(self, texts: tuple[str, ...]) -> Tensor:
        tokenizer, encoder = self.words  # type: ignore[misc]  # there whenever captions count
        ids = tokenizer(
            list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        found = encoder(ids.to(encoder.device))
        tokens = encoder.text_projection(found.last_hidden_state)
        return tokens / found.text_embeds.norm(dim=-1, keepdim=True)[:, None]


def _dual(folder: _folder.Folder, unet: Any, config: Config) -> Any:
    """The image network with the text network's cross-attention beside its own."""
    _compat.ensure_torchvision()
    from diffusers import VersatileDiffusionDualGuidedPipeline

    if unet.config.get("dual_cross_attention", False):
        return unet
    text = _folder.model(
        folder, "text_unet", ("UNetFlatConditionModel",), device=config.device, dtype=config.dtype,
        variant=config.variant,
    )  # fmt: skip
    with _folder.quiet(), torch.random.fork_rng(devices=[]):
        made = VersatileDiffusionDualGuidedPipeline(
            tokenizer=None, image_feature_extractor=None, text_encoder=None, image_encoder=None, image_unet=unet,
            text_unet=text, vae=None, scheduler=None,
        ).image_unet  # fmt: skip
    return made.requires_grad_(False).eval()


def _share_(unet: Any, text_share: float, lengths: tuple[int, int]) -> None:
    """Tells every attention which tokens are whose: caption tokens first, the text network's."""
    from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel

    for module in unet.modules():
        if isinstance(module, DualTransformer2DModel):
            module.mix_ratio = text_share
            module.condition_lengths = list(lengths)
            module.transformer_index_for_condition = [1, 0]


@torch.no_grad()
def _grey(folder: _folder.Folder, vision: Any) -> Tensor:
    """Tokens (1, n_tokens, dim) of the picture that says nothing."""
    file = checks.existing_file(
        folder.path / "image_feature_extractor" / "preprocessor_config.json", _folder.WRITE
    )
    about = json.loads(file.read_text(encoding="utf-8"))
    mean, std = (torch.tensor(about[key])[None, :, None, None] for key in ("image_mean", "image_std"))
    side = vision.config.image_size
    pixels = ((GREY - mean) / std).expand(1, -1, side, side).to(vision.device)
    tokens = vision.visual_projection(vision.vision_model.post_layernorm(vision(pixels).last_hidden_state))
    return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)
