"""A clip as its frames: each frame's picture embedding is one token, in the order of time."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec import checks, registry
from braindec.targets import ImageTarget, VideoTarget, tiny_openclip


@dataclass(frozen=True)
class Config:
    """Settings of a target of frames.

    Parameters
    ----------
    image : Config
        Of a picture target with one token, written in the recipe's file.
    n_frames : int
        Frames of a clip that are embedded, at equal steps from the first to the last.
    """

    image: Any = field(default_factory=tiny_openclip.Config)
    n_frames: int = 3

    def __post_init__(self) -> None:
        checks.at_least("n_frames", self.n_frames, 1)
        kind, name = registry.name_of(self.image)
        checks.one_of(f"kind of {name}", kind, ("targets",))


def build(config: Config) -> Framewise:
    """The target of a config, and that of its pictures."""
    # A Config's own module builds it; it is there, because the Config is.
    made = sys.modules[type(config.image).__module__].build(config.image)
    return Framewise(config, checks.of_type("image", made, ImageTarget))


class Framewise(VideoTarget):
    """Picture embeddings of some frames, (n, n_frames, dim).

    Parameters
    ----------
    config : Config
    image : ImageTarget
        Of one token.
    """

    name = "framewise"

    def __init__(self, config: Config, image: ImageTarget) -> None:
        if image.shape[0] != 1:
            raise checks.ConfigError(
                f"framewise takes pictures of one token, {image.name} gives {image.shape[0]}."
            )
        self.image, self._n_frames = image, config.n_frames
        self.shape = (config.n_frames, image.shape[1])
        self.space = f"framewise/{config.n_frames}/{image.space}"

    def identity(self) -> dict[str, Any]:
        """The picture target's identity, and how many frames."""
        return {"target": self.name, "n_frames": self._n_frames, "image": self.image.identity()}

    def embed_videos(
        self, clips: Iterable[Any], *, batch_size: int = 8, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, n_frames, dim); see `VideoTarget.embed_videos`."""
        checks.at_least("batch_size", batch_size, 1)
        count = 0

        def frames() -> Iterable[Any]:
            nonlocal count
            for clip in clips:
                checks.n_axes("clip", clip, ("frame", "height", "width", "rgb"))
                count += 1
                chosen = np.linspace(0, len(clip) - 1, self._n_frames).round().astype(int)
                yield from clip[chosen]

        found = self.image.embed_images(
            frames(), batch_size=batch_size * self._n_frames, device=device, progress=progress
        )
        return found.reshape(count, *self.shape)
