"""Picture files as batches of one size, read one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading

BATCH = 64  # pictures in memory together


def batches(paths: Sequence[Path], side: int, batch: int = BATCH) -> Iterator[np.ndarray]:
    """The pictures of these files, uint8 (n, side, side, 3) in 0..255.

    Parameters
    ----------
    paths : sequence of Path
    side : int
        The shorter edge is scaled to it (bicubic, antialiased: as CLIP's transform does), the middle is kept.
    batch : int

    Raises
    ------
    DataFileError
        If a file is missing, damaged or no picture.
    """
    for start in range(0, len(paths), batch):
        yield np.stack([read(path, side) for path in paths[start : start + batch]])


def read(path: Path, side: int) -> np.ndarray:
    """One picture, uint8 (side, side, 3); see `batches`."""
    from PIL import Image

    path = checks.existing_file(path, "Get the pictures that the dataset's card names.")
    with reading(path, Image.DecompressionBombError), Image.open(path) as opened:
        whole = opened.convert("RGB")
        width, height = whole.size
        scale = side / min(width, height)
        size = (max(side, round(width * scale)), max(side, round(height * scale)))
        scaled = whole if whole.size == size else whole.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        values = np.asarray(scaled.crop((left, top, left + side, top + side)))
    if values.shape != (side, side, 3) or values.dtype != np.uint8:
        raise checks.DataFileError(path, f"holds {values.dtype} {values.shape}", COPY_AGAIN)
    return values
