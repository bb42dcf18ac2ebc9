"""Pictures whose own embedding is held to the decoded one at every step, by the gradient of a network that looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted

Features = Callable[
    [Tensor], Tensor
]  # pictures (n, 3, height, width) in [0, 1] -> (n, n_features), differentiable


@dataclass(frozen=True)
class Config:
    """Settings of the guidance.

    Parameters
    ----------
    strength : float
        How far a step moves along the gradient, see `_guidance.guided`. 0: the base's own, at its guidance of 1.
    share : float
        Of the steps, the last ones, at which it looks at what it draws, in [0, 1].
    through : bool
        Whether the gradient passes through the diffusion network; see `_guidance.guided`.
    """

    strength: float = 1.0
    share: float = 1.0
    through: bool = True

    def __post_init__(self) -> None:
        checks.at_least("strength", self.strength, 0.0)
        checks.in_range("share", self.share, 0.0, 1.0)


class Bendable(Protocol):
    """A generator whose steps can be bent: `embedded_unclip`."""

    space: str
    config: Any  # with a batch_size

    def identity(self) -> dict[str, Any]:
        """See `Generator.identity`."""

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """What `n` pictures begin as."""

    def generate(self, image_embeddings: np.ndarray, *, generator: torch.Generator) -> np.ndarray:
        """See `Generator.generate`."""

    def synthesise(
        self,
        score: Callable[[Tensor], Tensor],
        n: int,
        *,
        generator: torch.Generator,
        strength: float,
        n_steps: int | None,
        image_embeddings: np.ndarray,
        noise: Tensor,
        share: float,
        through: bool,
    ) -> np.ndarray:
        """Pictures of embeddings that raise a score."""


def build(config: Config, base: Bendable, features: Features, mean: np.ndarray | None = None) -> Guided:
    """A generator that looks at what it draws; it sees the decoded embedding and no truth.

    Parameters
    ----------
    config : Config
    base : Bendable
        The embedded generator.
    features : callable
        Pictures to embeddings of the base's space, flattened, e.g. `targets.differentiable` of its target. A metric
        whose network is of its family is circular for these pictures.
    mean : ndarray of float, shape (n_tokens, dim), optional
        Of the training embeddings: cosines are about it.
    """
    return Guided(config, base, features, mean)


class Guided(Generator):
    """The base's diffusion, bent at each step so that the expected picture embeds where the decoded embedding lies.

    Notes
    -----
    Gradient guidance by a network of the embedding itself: Nichol et al. 2022 ("GLIDE"), arXiv:2112.10741, section 2.4.
    A generator that was trained on embeddings alone leaves out what they hold of fine detail; its own picture says so.
    """

    name = "guided"

    def __init__(self, config: Config, base: Bendable, features: Features, mean: np.ndarray | None) -> None:
        self.config, self.base, self.features = config, base, features
        self.mean = None if mean is None else torch.as_tensor(np.asarray(mean, np.float32)).flatten()
        self.space = base.space

    def identity(self) -> dict[str, Any]:
        """The base's, and how strongly it is bent."""
        return {
            "generator": self.name, "base": self.base.identity(), "strength": self.config.strength,
            "share": self.config.share, "through": self.config.through, "centred": self.mean is not None,
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
        """The pictures; see `Generator.generate`."""
        accepted(self, guides, len(image_embeddings))
        noise = self.base.noise(len(image_embeddings), generator)
        size, made = self.base.config.batch_size, []
        with tqdm(total=len(noise), desc="generate", disable=not progress) as bar:
            for start in range(0, len(noise), size):
                told = image_embeddings[start : start + size]
                made.append(
                    self.base.synthesise(
                        self._likeness(told), len(told), generator=generator, strength=self.config.strength,
                        n_steps=n_steps, image_embeddings=told, noise=noise[start : start + size],
                        share=self.config.share, through=self.config.through,
                    )
                )  # fmt: skip
                bar.update(len(told))
        return np.concatenate(made) if made else self.base.generate(image_embeddings, generator=generator)

    def _likeness(self, image_embeddings: np.ndarray) -> Callable[[Tensor], Tensor]:
        """Cosine of a picture's embedding with its row's."""
        wanted = self._direction(torch.as_tensor(np.asarray(image_embeddings, np.float32)).flatten(1))
        return lambda pictures: (self._direction(self.features(pictures)) * wanted).sum(1)

    def _direction(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings if self.mean is None else embeddings - self.mean, dim=1)
