"""XML inside brain files (GIFTI, CIFTI-2): looked at before any reader parses it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from braindec import checks
from braindec.data.damage import reading

# Entities can grow without bound or name files, and GIFTI can keep its values in a file of any name.
REFUSED = {b"<!ENTITY": "declares XML entities", b"ExternalFileBinary": "keeps values in other files"}
INSIDE = "Save it with its values inside and without a document type of its own."
NIFTI2_HEADER = 540  # bytes; where its data begin is the 64-bit number at byte 168 (nifti2.h)
OFFSET_AT = 168
MOST_BYTES = 1 << 28  # of the XML of a CIFTI-2 file; those of 91,282 grayordinates have about 5 MB


def check(path: Path, content: bytes) -> bytes:
    """The content itself, if no parser has to follow it elsewhere.

    Raises
    ------
    DataFileError
        If it declares entities, keeps values in other files, or is in an encoding that would hide these.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:64]:
        raise checks.DataFileError(path, "holds XML that is not in UTF-8", INSIDE)
    for mark, found in REFUSED.items():
        if mark in content:
            raise checks.DataFileError(path, found, INSIDE)
    return content


def check_cifti(path: Path) -> None:
    """As `check`, of the XML before the data of a NIfTI-2 file; whether it is one is left to its reader."""
    with reading(path), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head = file.read(NIFTI2_HEADER)
        order = next(
            (
                o
                for o in "<>"
                if head[:4] == struct.pack(f"{o}i", NIFTI2_HEADER) and len(head) == NIFTI2_HEADER
            ),
            None,
        )
        if order is None:
            return
        (start,) = struct.unpack_from(f"{order}q", head, OFFSET_AT)
        n_bytes = start - NIFTI2_HEADER
        if n_bytes > MOST_BYTES:
            raise checks.DataFileError(path, f"says that its XML has {n_bytes} bytes", INSIDE)
        extension = file.read(max(n_bytes, 0))
    for mark, found in REFUSED.items():
        if mark in extension or mark.decode().encode("utf-16-le") in extension:
            raise checks.DataFileError(path, found, INSIDE)
