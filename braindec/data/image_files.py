"""Folders of pictures as square uint8 batches in the order of the stimuli."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data.damage import reading

SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp")
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


def read_square(path: Path, side: int) -> np.ndarray:
    """One picture as uint8 (side, side, 3)."""
    from PIL import Image

    with reading(path, Image.DecompressionBombError), Image.open(path) as opened:
        return square(opened.convert("RGB"), side)


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
