"""The seal at the head of a file: one sha256 over all but its bulk arrays, checked before HDF5 sees the file.

Damaged HDF5 headers can make the library loop for ever; HDF5 leaves its user block, the first bytes, to others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks

MAGIC = b"braindec"
N_BYTES = 512  # magic, sha256, then where the bulk arrays lie: (offset, size) each, and zeros
MAX_BULK = (N_BYTES - len(MAGIC) - 32) // 16


def close(path: Path, places: list[tuple[int, int]]) -> None:
    """Seals a file whose first `N_BYTES` are free.

    Parameters
    ----------
    path : Path
    places : list of (offset, n_bytes)
        Where the bulk arrays lie, sorted; at most `MAX_BULK`.
    """
    with path.open("r+b") as file:
        file.seek(len(MAGIC) + 32)
        file.write(np.array(places, dtype="<u8").tobytes())
        digest = _digest(file, places)
        file.seek(0)
        file.write(MAGIC + digest)


def check(path: Path) -> None:
    """Refuses a file in which anything but bulk arrays is not what was written; files from before seals pass."""
    with path.open("rb") as file:
        head = file.read(N_BYTES)
        if head.startswith(b"\x89HDF"):
            return
        if len(head) < N_BYTES or not head.startswith(MAGIC):
            raise checks.DataFileError(path, "is no file that braindec wrote", "Make or copy it again.")
        listed = np.frombuffer(head[len(MAGIC) + 32 :][: 16 * MAX_BULK], dtype="<u8").reshape(-1, 2)
        places = [(int(start), int(n_bytes)) for start, n_bytes in listed if n_bytes]
        edges = [
            N_BYTES,
            *(edge for start, n in places for edge in (start, start + n)),
            path.stat().st_size,
        ]
        if edges != sorted(edges) or _digest(file, places) != head[len(MAGIC) :][:32]:
            raise checks.DataFileError(path, "is damaged or incomplete", "Make or copy it again.")


def _digest(file: Any, places: Iterable[tuple[int, int]]) -> bytes:
    """sha256 of all bytes of an open file after magic and digest, but for those of the bulk arrays."""
    digest, at = hashlib.sha256(), len(MAGIC) + 32
    size = file.seek(0, os.SEEK_END)
    for start, n_bytes in [*places, (size, 0)]:
        file.seek(at)
        while at < start and (block := file.read(min(1 << 20, start - at))):
            digest.update(block)
            at += len(block)
        at = start + n_bytes
    return digest.digest()
