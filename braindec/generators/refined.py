"""Caption-guided refinement: another generator's picture, drawn on by Stable Diffusion with a caption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
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
    return Refined(first, _Captioned(config))


class Refined(Generator):
    """Pictures of a first generator, refined by captions.

    Parameters
    ----------
    first : Generator
    second : Generator
        That takes a picture to start from and a caption: a text-to-image pipeline (`build`), or `in_words`. It is told
        the image embeddings too where it has a space.

    Notes
    -----
    MindEye2's second pass: SDXL img2img, 25 steps of which the first half is left out, with a predicted caption
    (Scotti et al. 2024, arXiv:2403.11207).
    """

    name = "refined"
    needs = frozenset({"texts"})

    def __init__(self, first: Generator, second: Generator) -> None:
        if lacking := sorted({"low_level", "texts"} - second.takes):
            raise checks.ConfigError(
                f"generator {second.name} cannot refine a picture: it takes no {lacking}."
            )
        if second.space:
            checks.same_space(
                "second", second.space, first.space, "Refine with a generator of the first one's space."
            )
        self.first, self.second, self.space = first, second, first.space
        self.takes = first.takes | second.takes - {"low_level"}
        self.needs = self.needs | getattr(second, "needs", frozenset())

    def identity(self) -> dict[str, Any]:
        """Both generators'."""
        return {"generator": self.name, "first": self.first.identity(), "second": self.second.identity()}

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
        return self.passes(
            image_embeddings, generator=generator, guides=guides, n_steps=n_steps, progress=progress
        )[1]

    def passes(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `generate`: the pictures before and after they were refined, each uint8 (n, height, width, 3)."""
        guides = accepted(self, guides, len(image_embeddings), self.needs)
        # Two seeds before anything is drawn: what the first one draws depends on the number of rows.
        seeds = torch.randint(SEEDS, (2,), generator=generator, device=generator.device).tolist()
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        asked: dict[str, Any] = {"n_steps": n_steps, "progress": progress}
        own = guides.without(*guides.told() - self.first.takes)
        drawn = self.first.generate(image_embeddings, generator=sources[0], guides=own, **asked)
        told = replace(guides.without(*guides.told() - self.second.takes), low_level=drawn)
        embeddings = image_embeddings if self.second.space else np.empty((len(drawn), 0, 0), np.float32)
        return drawn, self.second.generate(embeddings, generator=sources[1], guides=told, **asked)


class _Captioned(LatentDiffusion):
    """A text-to-image pipeline: its embeddings have no tokens."""

    name = "refined"
    item = (0, 0)
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        super().__init__(config, folder, networks(folder, config))
        self.space = ""  # it is told captions alone
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
