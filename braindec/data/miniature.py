"""Small sets of pictures of named concepts, and responses to them, for the miniatures that `synthetic` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindec.data.simulated import rendering, scenes

SYLLABLES = ("ba", "co", "di", "fu", "ge", "ho", "ka", "lu", "mi", "no", "pe", "ru", "sa", "ti", "vo", "zu")
BLOCK_PX = 8
N_FEATURES = 24
QUALITY = 95  # of the JPEG files


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn picture of a concept, named as those of THINGS are: ``<concept>_<two digits><letter>``."""

    concept: str
    stem: str
    image: np.ndarray  # uint8 (64, 64, 3)


def concept_names(n: int) -> list[str]:
    """Names of concepts, every fifth of two words, as in ``aircraft_carrier``; in alphabetical order."""
    made = [SYLLABLES[i % 16] + SYLLABLES[(i // 16 + i) % 16] + SYLLABLES[(3 * i + 1) % 16] for i in range(n)]
    unique = [f"{name}{chr(97 + i // 256)}" for i, name in enumerate(made)]
    return sorted(f"{name}_{SYLLABLES[i % 16]}" if i % 5 == 4 else name for i, name in enumerate(unique))


def draw(
    concepts: Sequence[str], n_images: int, generator: np.random.Generator, first: int = 1
) -> list[Picture]:
    """Different scenes, `n_images` a concept, numbered from `first` on.

    Parameters
    ----------
    concepts : sequence of str
    n_images : int
    generator : numpy Generator
    first : int
    """
    drawn = rendering.render_all(scenes.sample_unique_scenes(len(concepts) * n_images, generator))
    names = [
        (c, f"{c}_{first + i:02d}{'b' if first + i == 1 else 's'}") for c in concepts for i in range(n_images)
    ]
    return [Picture(c, stem, image) for (c, stem), image in zip(names, drawn, strict=True)]


def features(pictures: Sequence[Picture]) -> np.ndarray:
    """What responses are planted from: the same random sums of a picture's blocks for every set, (n, N_FEATURES)."""
    images = np.stack([p.image for p in pictures]).astype(np.float64) / 127.5 - 1
    n_blocks = images.shape[1] // BLOCK_PX
    blocks = (
        images.reshape(len(images), n_blocks, BLOCK_PX, n_blocks, BLOCK_PX, 3)
        .mean((2, 4))
        .reshape(len(images), -1)
    )
    mixing = np.random.default_rng(0).standard_normal((blocks.shape[1], N_FEATURES))
    return np.asarray(blocks @ mixing / np.sqrt(blocks.shape[1]))


def save(picture: Picture, folder: Path) -> Path:
    """Writes ``<folder>/<stem>.jpg``."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{picture.stem}.jpg"
    Image.fromarray(picture.image).save(path, quality=QUALITY)
    return path
