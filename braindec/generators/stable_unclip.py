"""Stable unCLIP: Stable Diffusion told a pooled image embedding beside a caption."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import _compat, checks
from braindec.generators import _folder
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks
from braindec.generators._noise import noise
from braindec.generators._texts import texts

PIPELINES = ("StableUnCLIPImg2ImgPipeline",)


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of Stable unCLIP, beside `Settings`.

    Parameters
    ----------
    n_steps : int
    guidance : float
    noise_level : int
        Noise that is put onto the embedding, which is told of it; more of it lets the network trust it less.
    negative : str
        A caption that guidance goes away from.
    """

    n_steps: int = 20
    guidance: float = 10.0
    noise_level: int = 0
    negative: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("noise_level", self.noise_level, 0)


def build(config: Config) -> StableUnclip:
    """The generator of a folder."""
    return StableUnclip(config)


class StableUnclip(LatentDiffusion):
    """Pictures of pooled image embeddings and captions.

    Notes
    -----
    As diffusers' StableUnCLIPImg2ImgPipeline computes it: noise at `noise_level` on the standardised embedding, the
    level's sine code beside it, both as class embedding; zeros where guidance says nothing. Ramesh et al. 2022,
    arXiv:2204.06125.
    """

    name = "stable_unclip"
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        super().__init__(config, folder, networks(folder, config))
        self.texts = texts(folder, config.device, config.dtype, config.variant)
        self.normalizer = _folder.model(
            folder, "image_normalizer", ("StableUnCLIPImageNormalizer",), device=config.device
        )
        self.noising = _folder.scheduler(folder, "image_noising_scheduler")
        checks.in_range("noise_level", config.noise_level, 0, self.noising.config.num_train_timesteps - 1)
        self.takes |= {"texts"}

    @property
    def item(self) -> tuple[int, int]:
        """One token of the normaliser's width."""
        return 1, self.normalizer.config.embedding_dim

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """The caption's tokens, and the noisy embedding with its level as class."""
        tokens, _ = self.texts.read(texts)
        nothing, _ = self.texts.nothing(self.config.negative, len(embeddings))
        classes = self._noisy(embeddings[:, 0], sources)
        return Condition(tokens, classes), Condition(nothing, torch.zeros_like(classes))

    def _noisy(self, embeddings: Tensor, sources: list[torch.Generator]) -> Tensor:
        _compat.ensure_torchvision()
        from diffusers.models.embeddings import get_timestep_embedding

        level = torch.full((len(embeddings),), self.config.noise_level, device=embeddings.device)
        drawn = noise(sources, tuple(embeddings.shape[1:])).to(embeddings)
        noisy = self.normalizer.unscale(
            self.noising.add_noise(self.normalizer.scale(embeddings), drawn, level)
        )
        code = get_timestep_embedding(level, noisy.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0)
        return torch.cat([noisy, code.to(noisy)], 1)
