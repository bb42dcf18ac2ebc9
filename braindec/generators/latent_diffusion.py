"""Latent diffusion whose cross-attention is told the predicted tokens themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec.generators import _folder
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks
from braindec.generators._texts import texts

PIPELINES = (
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionControlNetPipeline",
    "LDMTextToImagePipeline",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of latent diffusion told tokens, beside `Settings`.

    Parameters
    ----------
    n_tokens : int
        Tokens of an embedding; their width is the network's.
    negative : str
        A caption that guidance goes away from; without a text encoder zeros say nothing.
    """

    n_tokens: int = 77
    negative: str = ""


def build(config: Config) -> LatentDiffusionOfTokens:
    """The generator of a folder."""
    return LatentDiffusionOfTokens(config)


class LatentDiffusionOfTokens(LatentDiffusion):
    """Pictures of tokens that were predicted in place of a caption's or a class's.

    Notes
    -----
    Takagi and Nishimoto 2023, doi:10.1109/CVPR52729.2023.01389: z from `Guides.low_level`, c from the embedding.
    """

    name = "latent_diffusion"
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        super().__init__(config, folder, networks(folder, config))
        self.item_ = (config.n_tokens, int(self.networks.unet.config.cross_attention_dim))
        self.texts = None
        if "text_encoder" in folder.parts and config.guidance > 1:
            self.texts = texts(folder, config.device, config.dtype, config.variant)

    @property
    def item(self) -> tuple[int, int]:
        """The tokens of the config, as wide as the network's cross-attention."""
        return self.item_

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """The embeddings as tokens, and those of an empty caption."""
        if self.texts is None:
            return Condition(embeddings), Condition(torch.zeros_like(embeddings))
        nothing, _ = self.texts.nothing(self.config.negative, len(embeddings))
        return Condition(embeddings), Condition(_as_many(nothing, embeddings.shape[1]))


def _as_many(tokens: Tensor, n: int) -> Tensor:
    """As many tokens as asked: the last one repeated, or the first ones."""
    if tokens.shape[1] >= n:
        return tokens[:, :n]
    return torch.cat([tokens, tokens[:, -1:].expand(-1, n - tokens.shape[1], -1)], 1)
