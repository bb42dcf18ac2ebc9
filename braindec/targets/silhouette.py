"""Silhouettes as a target: where a picture differs from the colours of its border, without any network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks
from braindec.targets import ImageTarget
from braindec.targets._views import as_array

WORKED_AT = 64  # pixels a side at which colours are compared


@dataclass(frozen=True)
class Config:
    """Settings of a silhouette target.

    Parameters
    ----------
    side : int
        Pixels a side of the map that is decoded, up to 64.
    tolerance : float
        Distance in RGB (each in [0, 1]) to the nearest colour of the border from which a pixel is surely not
        background; half of it counts half.
    """

    side: int = 32
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        checks.in_range("side", self.side, 2, WORKED_AT, unit="pixels")
        checks.in_range("tolerance", self.tolerance, 1e-6, 3**0.5)


def build(config: Config) -> Silhouette:
    """The target of a config."""
    return Silhouette(config)


class Silhouette(ImageTarget):
    """What stands out from the border, 0 to 1, flattened (side * side).

    It holds no luminance: a dark object and a bright one of the same outline are the same. It is for pictures whose
    background reaches opposite sides: scenes, photographs of single objects.

    Parameters
    ----------
    config : Config
    """

    name = "silhouette"

    def __init__(self, config: Config) -> None:
        self.config, self.shape = config, (1, config.side**2)
        self.space = f"silhouette/{config.side}x{config.side}/border-{config.tolerance:g}"

    def identity(self) -> dict[str, Any]:
        """Side and tolerance."""
        return {"target": self.name, "side": self.config.side, "tolerance": self.config.tolerance,
                "worked_at": WORKED_AT}  # fmt: skip

    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, side * side) in [0, 1]; see `ImageTarget.embed_images`."""
        rows = [
            self._one(as_array(image)) for image in tqdm(images, "embed silhouette", disable=not progress)
        ]
        return np.stack(rows)[:, None] if rows else np.empty((0, *self.shape), np.float32)

    def _one(self, picture: np.ndarray) -> np.ndarray:
        from PIL import Image

        n, size = WORKED_AT, (WORKED_AT, WORKED_AT)
        if picture.shape[:2] != size:
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        rgb = picture.astype(np.float32) / 255
        ground = background_colours(rgb, self.config.tolerance)
        distance = _distances(rgb.reshape(-1, 3), ground).min(1).reshape(n, n)
        out = np.clip(2 * distance / self.config.tolerance - 1, 0, 1).astype(np.float32)
        made = Image.fromarray(out).resize((self.config.side, self.config.side), Image.Resampling.BOX)
        return np.asarray(made, np.float32).reshape(-1)


def background_colours(rgb: np.ndarray, tolerance: float) -> np.ndarray:
    """Colours of the border that are also found on the opposite side; all of the border's where none is.

    An object that reaches into a corner touches two sides, but not opposite ones.

    Parameters
    ----------
    rgb : ndarray of float, shape (height, width, 3)
        In [0, 1].
    tolerance : float
        Half of it is how far apart equal colours may be.

    Returns
    -------
    ndarray, shape (n_colours, 3)
    """
    kept = []
    for one, other in ((rgb[0], rgb[-1]), (rgb[:, 0], rgb[:, -1])):
        apart = _distances(one, other)
        kept += [one[apart.min(1) < tolerance / 2], other[apart.min(0) < tolerance / 2]]
    found = np.concatenate(kept)
    return found if len(found) else np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(square, 0))
