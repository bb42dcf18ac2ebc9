"""FreeSurfer's surface maps (``.mgh``, ``.mgz``): opened, or refused with the file's name."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from braindec.data.damage import reading


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The image; what goes wrong inside is a DataFileError about this file."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.freesurfer.mghformat import MGHError
    from nibabel.spatialimages import HeaderDataError

    with reading(path, ImageFileError, HeaderDataError, MGHError):
        yield nibabel.load(path)


def values(path: Path) -> np.ndarray:
    """All values as they are stored; a compressed file is read to its end, where its checksum stands."""
    if path.suffix == ".mgz":
        with reading(path), gzip.open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    with opened(path) as image:
        return np.asarray(image.dataobj)
