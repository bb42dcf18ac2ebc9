"""The generator that adds nothing: a decoded pixel embedding shown as the picture it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted

SPACE = re.compile(r"pixels/([0-9]+)x([0-9]+)/(gray|rgb)")


@dataclass(frozen=True)
class Config:
    """Settings of pictures from pixels.

    Parameters
    ----------
    space : str
        The pixel target's space, ``"pixels/<height>x<width>/<gray or rgb>"``.
    """

    space: str = "pixels/28x28/gray"

    def __post_init__(self) -> None:
        if SPACE.fullmatch(self.space) is None:
            raise checks.ConfigError(
                f"space must be that of a pixel target, e.g. 'pixels/28x28/gray', got {self.space!r}."
            )


def build(config: Config) -> Pixels:
    """The generator of a config."""
    return Pixels(config)


class Pixels(Generator):
    """Pixels in [0, 1], clipped and rounded to bytes."""

    name = "pixels"

    def __init__(self, config: Config) -> None:
        height, width, colour = SPACE.fullmatch(config.space).groups()  # type: ignore[union-attr]  # Config checked it
        self.space = config.space
        self.picture_shape = (int(height), int(width), 1 if colour == "gray" else 3)

    def identity(self) -> dict[str, Any]:
        """Name and space: there is nothing else."""
        return {"generator": self.name, "space": self.space}

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """The embeddings (n, 1, height * width * channels) as pictures; nothing is drawn and there are no steps."""
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if image_embeddings.shape[1:] != (1, int(np.prod(self.picture_shape))):
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but {self.space} has "
                f"(1, {int(np.prod(self.picture_shape))}); embed with the target of this space."
            )
        checks.finite("image_embeddings", image_embeddings)
        accepted(self, guides, len(image_embeddings))
        pictures = np.asarray(image_embeddings).reshape(-1, *self.picture_shape)
        made = np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
        return np.broadcast_to(made, (*made.shape[:3], 3)).copy()
