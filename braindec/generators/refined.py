"""Caption-guided refinement: another generator's picture, drawn on by Stable Diffusion with a caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec.generators import NOTHING, Generator, Guides, _folder, accepted
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks
from braindec.generators._noise import SEEDS
from braindec.generators._texts import Texts, texts, time_ids

PIPELINES = (
    "StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of the second pass, beside `Settings`.

    Parameters
    ----------
    space : str
        Not looked at: the first generator has one.
    n_steps : int
    guidance : float
    strength : float
        How far the first picture is changed.
    negative : str
        A caption that guidance goes away from.
    """

    space: str = ""
    n_steps: int = 25
    guidance: float = 5.0
    strength: float = 0.5
    negative: str = ""


def build(config: Config, first: Generator) -> Refined:
    """A generator whose pictures are drawn on.

    Parameters
    ----------
    config : Config
        Of the pipeline that draws on them.
    first : Generator
    """
    return Refined(config, first)


class Refined(Generator):
    """Pictures of a first generator, refined by captions.

    Notes
    -----
    MindEye2's second pass: SDXL img2img, 25 steps of which the first half is left out, with a predicted caption
    (Scotti et al. 2024, arXiv:2403.11207).
    """

    name = "refined"
    needs = frozenset({"texts"})

    def __init__(self, config: Config, first: Generator) -> None:
        self.first, self.second = first, _Captioned(config)
        self.config, self.space = config, first.space
        self.takes = first.takes | self.second.takes - {"low_level"}
        self.needs = self.needs | self.second.needs

    def identity(self) -> dict[str, Any]:
        """Both generators'."""
        return self.second.identity() | {"generator": self.name, "first": self.first.identity()}

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures of embeddings and captions; see `Generator.generate`. Both passes make `n_steps`."""
        guides = accepted(self, guides, len(image_embeddings), self.needs)
        # Two seeds before anything is drawn: what the first one draws depends on the number of rows.
        seeds = torch.randint(SEEDS, (2,), generator=generator, device=generator.device).tolist()
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        asked: dict[str, Any] = {"n_steps": n_steps, "progress": progress}
        drawn = self.first.generate(
            image_embeddings,
            generator=sources[0],
            guides=guides.without(*guides.told() - self.first.takes),
            **asked,
        )
        told = Guides(
            low_level=drawn, texts=guides.texts, control=guides.control if self.config.control else None
        )
        return self.second.generate(
            np.empty((len(drawn), 0, 0), np.float32), generator=sources[1], guides=told, **asked
        )


class _Captioned(LatentDiffusion):
    """A text-to-image pipeline: its embeddings have no tokens."""

    name = "refined"
    item = (0, 0)
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        super().__init__(config, folder, networks(folder, config))
        self.texts: Texts = texts(folder, config.device, config.dtype, config.variant)
        self.takes |= {"texts"}

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """The caption, and nothing or a negative one."""
        told = self.texts.read(texts)
        nothing = self.texts.nothing(self.config.negative, len(embeddings))
        return self._condition(*told), self._condition(*nothing)

    def _condition(self, tokens: Tensor, pooled: Tensor | None) -> Condition:
        if pooled is None:
            return Condition(tokens)
        return Condition(
            tokens, None, {"text_embeds": pooled, "time_ids": time_ids(len(tokens), self.size).to(tokens)}
        )
