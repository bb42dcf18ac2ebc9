"""The pictures of an explorer: each kept once, packed into sheets, named by a number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import plots, store

SIDE = 192  # pixels: larger pictures are reduced
SHEET = 2048  # pixels a side of a sheet, about
MOST = 1024  # pictures in one: a reference is sheet * MOST + place


@dataclass
class Sheets:
    """Takes pictures and says what they are called; `write` makes the files."""

    _members: list[list[np.ndarray]] = field(default_factory=list)
    _open: dict[tuple[int, ...], int] = field(default_factory=dict)
    _known: dict[bytes, int] = field(default_factory=dict)

    def add(self, picture: np.ndarray) -> int:
        """The reference of a picture, uint8 (height, width[, 1, 3 or 4]); the same pixels are kept once."""
        pixels = _reduced(picture)
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest not in self._known:
            shape = pixels.shape
            sheet = self._open.get(shape)
            if sheet is None or len(self._members[sheet]) >= _columns(shape) * _rows(shape):
                sheet = self._open[shape] = len(self._members)
                self._members.append([])
            self._known[digest] = sheet * MOST + len(self._members[sheet])
            self._members[sheet].append(pixels)
        return self._known[digest]

    def write(self, folder: Path) -> list[dict[str, Any]]:
        """The files, and for the page how each is laid out."""
        told = []
        for number, members in enumerate(self._members):
            height, width = members[0].shape[:2]
            columns = min(len(members), _columns(members[0].shape))
            path = folder / f"sheet-{number:03d}.webp"
            with store.atomic_path(path) as temporary:
                temporary.write_bytes(plots.sheet(np.stack(members), columns))
            told.append(
                {"file": f"{folder.name}/{path.name}", "columns": columns, "rows": -(-len(members) // columns),
                 "width": width, "height": height}
            )  # fmt: skip
        return told


def _columns(shape: tuple[int, ...]) -> int:
    return max(1, min(32, SHEET // shape[1]))


def _rows(shape: tuple[int, ...]) -> int:
    return max(1, min(32, SHEET // shape[0]))


def _reduced(picture: np.ndarray) -> np.ndarray:
    """Colours, at most `SIDE` pixels a side."""
    from PIL import Image

    pixels = np.asarray(picture)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if max(pixels.shape[:2]) > SIDE:
        image = Image.fromarray(pixels)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        pixels = np.asarray(image)
    return np.ascontiguousarray(pixels)
