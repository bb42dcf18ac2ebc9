"""Tar files read member by member to their end: a cut or damaged one would otherwise seem to hold fewer members."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading


def members(path: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Every file in an uncompressed tar, with the open tar that it is read from; nothing is unpacked.

    Raises
    ------
    DataFileError
        If a header is damaged, or after the last member comes anything but the zeros that end a tar.
    """
    with reading(path, tarfile.TarError), tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.offset_data + member.size > path.stat().st_size:
                raise checks.DataFileError(path, f"ends within {member.name!r}", COPY_AGAIN)
            if member.isfile():
                yield tar, member
        end = tar.offset  # where no header was found
    n_left = 0
    with path.open("rb") as file:
        file.seek(end)
        while block := file.read(1 << 20):
            n_left += len(block)
            if block.strip(b"\0"):
                raise checks.DataFileError(path, f"holds a damaged header at byte {end}", COPY_AGAIN)
    if n_left < tarfile.BLOCKSIZE:
        raise checks.DataFileError(path, f"ends at byte {end} without the end of a tar", COPY_AGAIN)
