"""Several pictures a row, of which the one is kept whose own embedding lies nearest to the decoded one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted
from braindec.generators._noise import SEEDS

Embed = Callable[[np.ndarray], np.ndarray]  # pictures uint8 (n, height, width, 3) -> (n, n_tokens, dim)


@dataclass(frozen=True)
class Config:
    """Settings of the choice.

    Parameters
    ----------
    n_candidates : int
        Pictures drawn for each row.
    """

    n_candidates: int = 8

    def __post_init__(self) -> None:
        checks.at_least("n_candidates", self.n_candidates, 1)


def build(config: Config, base: Generator, embed: Embed, mean: np.ndarray | None = None) -> Reranked:
    """A generator that draws and chooses; it sees the decoded embedding and no truth.

    Parameters
    ----------
    config : Config
    base : Generator
    embed : callable
        Pictures, uint8 (n, height, width, 3), to embeddings of the base's space (n, n_tokens, dim), e.g. a target's
        `embed_images`. A metric whose network is of its family is circular for these pictures.
    mean : ndarray of float, shape (n_tokens, dim), optional
        Of the training embeddings: cosines are about it. Without it about zero, where all pictures are alike.
    """
    return Reranked(config, base, embed, mean)


class Reranked(Generator):
    """The best of several pictures by cosine with what was decoded; MindEye1 chooses of 16 so."""

    name = "reranked"

    def __init__(self, config: Config, base: Generator, embed: Embed, mean: np.ndarray | None) -> None:
        self.config, self.base, self.embed, self.mean = config, base, embed, mean
        self.space, self.takes = base.space, base.takes

    def identity(self) -> dict[str, Any]:
        """The base's, and among how many it chooses."""
        return {
            "generator": self.name, "base": self.base.identity(), "n_candidates": self.config.n_candidates,
            "centred": self.mean is not None,
        }  # fmt: skip

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """The chosen pictures; see `Generator.generate`."""
        drawn = self.candidates(
            image_embeddings, generator=generator, guides=guides, n_steps=n_steps, progress=progress
        )
        return drawn[self.chosen(drawn, image_embeddings), np.arange(len(image_embeddings))]

    def candidates(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """All pictures, uint8 (n_candidates, n, height, width, 3): each draw may be judged for itself."""
        accepted(self, guides, len(image_embeddings))
        seeds = torch.randint(
            SEEDS, (self.config.n_candidates,), generator=generator, device=generator.device
        )
        return np.stack([
            self.base.generate(
                image_embeddings, generator=torch.Generator().manual_seed(seed), guides=guides, n_steps=n_steps,
                progress=progress,
            )
            for seed in seeds.tolist()
        ])  # fmt: skip

    def chosen(self, candidates: np.ndarray, image_embeddings: np.ndarray) -> np.ndarray:
        """Which candidate of each row lies nearest to its embedding: ndarray of int64, shape (n,)."""
        if not len(image_embeddings):
            return np.empty(0, np.int64)
        flat = candidates.reshape(-1, *candidates.shape[2:])
        found = self._direction(self.embed(flat)).reshape(*candidates.shape[:2], -1)  # (candidate, n, value)
        return np.einsum("cnv,nv->cn", found, self._direction(image_embeddings)).argmax(0)

    def _direction(self, embeddings: np.ndarray) -> np.ndarray:
        x = np.asarray(embeddings, np.float32) - (
            0 if self.mean is None else np.asarray(self.mean, np.float32)
        )
        x = x.reshape(len(x), -1)
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
