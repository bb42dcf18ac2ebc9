"""Folders of pictures as square uint8 batches in the order of the stimuli."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.damage import reading

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # PIL's names
MOST_PIXELS = 80_000_000  # of one picture; 240 MB as RGB, below PIL's own limit
BATCH = 64


def by_stem(folders: Iterable[Path]) -> dict[str, Path]:
    """The picture files in these folders and below, by name without suffix; a name in two places is refused."""
    found: dict[str, Path] = {}
    for path in (p for folder in folders if folder.is_dir() for p in sorted(folder.rglob("*"))):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise checks.DataFileError(path, f"has the name of {found[path.stem]}", "Keep one of the two.")
        found[path.stem] = path
    return found


def of(names: Sequence[str], found: Mapping[str, Path], folder: Path) -> list[Path] | None:
    """The file of each name; None where there is not a single picture.

    Parameters
    ----------
    names : sequence of str
        Without suffix, in order.
    found : mapping of str to Path
        As `by_stem` gives.
    folder : Path
        Where they should be, for the message.

    Raises
    ------
    DataFileError
        If there are some but not all.
    """
    if not found:
        return None
    missing = [name for name in names if name not in found]
    if missing:
        said = f"holds {len(names) - len(missing)} of {len(names)} pictures; {missing[0]!r} is missing"
        way_out = "Complete the folder, or move it away to prepare without pictures."
        raise checks.DataFileError(folder, said, way_out)
    return [found[name] for name in names]


def batches(paths: Sequence[Path], side: int) -> Iterator[np.ndarray]:
    """uint8 (n, side, side, 3): the central square of each picture, resized (bicubic, antialiased).

    Raises
    ------
    DataFileError
        If a file is no picture, or damaged.
    """
    for start in range(0, len(paths), BATCH):
        yield np.stack([read_square(path, side) for path in paths[start : start + BATCH]])


def rgb(paths: Iterable[str | Path]) -> Iterator[np.ndarray]:
    """Each picture as it is, uint8 (height, width, 3), read when it is asked for: what targets embed.

    Raises
    ------
    DataFileError
        If a file is no picture, or damaged.
    """
    for path in map(Path, paths):
        with opened(path) as picture:
            yield np.asarray(picture.convert("RGB"))


def read_square(path: Path, side: int) -> np.ndarray:
    """One picture as uint8 (side, side, 3)."""
    with opened(path) as picture:
        return square(picture.convert("RGB"), side)


@contextlib.contextmanager
def opened(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """A PIL picture whose pixels are still packed, of the formats of photographs alone.

    PIL opens what a file holds, whatever its name says, and hands PostScript to another program. A picture of a few
    kilobytes may ask for gigabytes of pixels.

    Parameters
    ----------
    path : Path
    content : bytes, optional
        Of the picture, where it lies within the file.

    Raises
    ------
    DataFileError
        If it is no picture of `FORMATS`, has more than `MOST_PIXELS`, or is damaged.
    """
    from PIL import Image

    source: Any = path if content is None else io.BytesIO(content)
    with (
        reading(path, Image.DecompressionBombError, Image.DecompressionBombWarning),
        Image.open(source, formats=FORMATS) as picture,
    ):
        width, height = picture.size
        if width * height > MOST_PIXELS:
            found = f"is a picture of {width} x {height} pixels, more than {MOST_PIXELS}"
            raise checks.DataFileError(path, found, "Make it smaller.")
        yield picture


def square(picture: object, side: int) -> np.ndarray:
    """The central square of a PIL picture, uint8 (side, side, 3)."""
    from PIL import Image

    opened = checks.of_type("picture", picture, Image.Image)
    width, height = opened.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    if opened.size != (side, side):
        box = (left, top, left + edge, top + edge)
        opened = opened.resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(opened, dtype=np.uint8)
