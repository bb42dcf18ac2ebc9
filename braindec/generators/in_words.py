"""The shipped generator told in words: a caption's embedding, moved to where pictures lie, is what it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from braindec import checks, store
from braindec.generators import NOTHING, Generator, Guides, accepted, embedded_unclip
from braindec.maths.gap import Gap

BASE = embedded_unclip.Config(guidance=1.0, strength=0.5)
EmbedText = Callable[[Sequence[str]], np.ndarray]  # captions to (n, dim) in the pictures' space


@dataclass(frozen=True)
class Config:
    """Settings of drawing what a caption says.

    Parameters
    ----------
    share : float
        Of the caption in what is drawn, the rest being the image embedding's, in [0, 1]. 1: words alone.
    base : embedded_unclip.Config
        Of what draws.
    """

    share: float = 0.5
    base: embedded_unclip.Config = BASE

    def __post_init__(self) -> None:
        checks.in_range("share", self.share, 0.0, 1.0)


def build(config: Config, embed_text: EmbedText, gap: Gap) -> InWords:
    """The generator of captions.

    Parameters
    ----------
    config : Config
    embed_text : callable
        ``target.embed_text`` of `targets.tiny_openclip`.
    gap : Gap
        Between embeddings of known captions and pictures, usually those of the training stimuli.
    """
    return InWords(config, embed_text, gap)


class InWords(Generator):
    """Pictures of captions, or of captions and image embeddings: what a text-to-image model is to a published system.

    With a low-level picture it is that picture's refinement by the caption, in `refined`.
    """

    name = "in_words"
    needs = frozenset({"texts"})

    def __init__(self, config: Config, embed_text: EmbedText, gap: Gap) -> None:
        self.config, self._embed_text, self.gap = config, embed_text, gap
        self.base = embedded_unclip.build(config.base)
        self.space, self.takes = self.base.space, self.base.takes | self.needs

    def identity(self) -> dict[str, Any]:
        """The base's, how much of a caption is in a picture, and the sha256 of the way from one to the other."""
        gap = store.content_hash(text=self.gap.text, picture=self.gap.picture, length=self.gap.length)
        return {"generator": self.name, "share": self.config.share, "gap": gap, "base": self.base.identity()}

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures of captions; see `Generator.generate`."""
        guides = accepted(self, guides, len(image_embeddings), self.needs)
        return self.base.generate(
            self._told(image_embeddings, guides.texts or ()), generator=generator,
            guides=guides.without("texts"), n_steps=n_steps, progress=progress,
        )  # fmt: skip

    def _told(self, image_embeddings: np.ndarray, texts: tuple[str, ...]) -> np.ndarray:
        """Directions (n, 1, dim) between the image embeddings' and the captions', by the caption's share."""
        seen = self.base._told(image_embeddings)
        if not texts:
            return image_embeddings
        moved = self.gap.as_pictures(self._embed_text(list(texts))[:, None])
        said = normalize(torch.from_numpy(moved).float().flatten(1), dim=1)
        return torch.lerp(seen, said, self.config.share)[:, None].numpy()
