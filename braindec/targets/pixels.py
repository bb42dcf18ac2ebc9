"""The picture itself as target: its pixels, resized, as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from braindec import checks
from braindec.targets import ImageTarget
from braindec.targets._views import not_a_path


@dataclass(frozen=True)
class Config:
    """Settings of a pixel target.

    Parameters
    ----------
    height, width : int
        Pictures of another size are resized (PIL's bilinear filter, antialiased).
    colour : {"gray", "rgb"}
        Luminance (ITU-R 601) or red, green, blue.
    """

    height: int = 28
    width: int = 28
    colour: Literal["gray", "rgb"] = "gray"

    def __post_init__(self) -> None:
        checks.at_least("height", self.height, 1)
        checks.at_least("width", self.width, 1)


def build(config: Config) -> Pixels:
    """The target of a config."""
    return Pixels(config)


class Pixels(ImageTarget):
    """Pixels in [0, 1], flattened (height, width, channel)."""

    name = "pixels"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.shape = (1, config.height * config.width * (3 if config.colour == "rgb" else 1))
        self.space = f"pixels/{config.height}x{config.width}/{config.colour}"

    def identity(self) -> dict[str, Any]:
        """Size and colour."""
        c = self.config
        return {"target": self.name, "height": c.height, "width": c.width, "colour": c.colour}

    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, height * width * channels) in [0, 1]; see `ImageTarget.embed_images`."""
        rows = [self._one(image) for image in tqdm(images, desc="embed pixels", disable=not progress)]
        return np.array(rows, dtype=np.float32).reshape(-1, *self.shape)

    def _one(self, image: Any) -> np.ndarray:
        from PIL import Image

        not_a_path(image)
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture = picture.convert("L" if self.config.colour == "gray" else "RGB")
        size = (self.config.width, self.config.height)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(picture, dtype=np.float32).reshape(-1) / 255
