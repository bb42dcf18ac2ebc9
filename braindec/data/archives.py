"""Zip and tar archives unpacked whole or not at all: regular files alone, inside the folder, within limits.

What an archive says of itself is not believed: bytes are counted as they come out, modes and owners are left aside.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from braindec import checks, store
from braindec.data.damage import COPY_AGAIN, reading

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
NOT_OPENED = "Nothing was unpacked. Ask its owner for an archive of plain files."
MARGIN = 200_000_000  # bytes that stay free on the disk
SMALL = 100_000_000  # bytes below which no archive is a bomb, however well it is packed
MOST_HEADER = 1 << 20  # bytes of one member's further headers: names and times
MOST_NAME = 255  # bytes of one part of a path; what file systems take
CHUNK = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Parameters
    ----------
    n_files : int
        Files and folders.
    n_bytes : int or None
        Of all files; None: what the disk has, less 200 MB.
    ratio : float
        Bytes of all files over those of the archive; of archives that hold more than 100 MB.
    """

    n_files: int = 500_000
    n_bytes: int | None = None
    ratio: float = 200.0


def unpack(archive: str | Path, out: str | Path, limits: Limits | None = None) -> list[Path]:
    """The files of an archive, below `out`; archives inside it stay packed.

    Parameters
    ----------
    archive : path
        With one of `SUFFIXES`.
    out : path
        A folder that is not there yet, or is empty. It appears when all is unpacked.
    limits : Limits, optional

    Returns
    -------
    list of Path
        Sorted.

    Raises
    ------
    FileNotFoundError
        If there is no such archive.
    ConfigError
        If the folder holds something.
    DataFileError
        If the archive is damaged, encrypted or too large, holds a link, a device or a sparse file, names a place
        outside of the folder, or names one place twice (also but for upper case or the form of an accent).
    """
    archive, out = checks.existing_file(archive, "Check the path."), Path(out)
    kind = next((s for s in SUFFIXES if archive.name.lower().endswith(s)), None)
    if kind is None:
        raise checks.DataFileError(
            archive, "is no archive that is known", f"Known are {', '.join(SUFFIXES)}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise checks.ConfigError(f"{out} holds something; name a folder that is not there yet.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = store.part_of(out)  # made by the system's own rules: who may read it is not ours to widen
    temporary.mkdir()
    try:
        inside = _Inside(archive, temporary, limits or Limits())
        with reading(archive, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError):
            for name, folder, size, content in _zip(archive) if kind == ".zip" else _tar(archive):
                inside.take(name, folder, size, content)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(out / place for place in inside.files)


@dataclass
class _Inside:
    """What was unpacked so far."""

    archive: Path
    folder: Path
    limits: Limits
    files: list[PurePosixPath] = field(default_factory=list)
    _seen: dict[str, bool] = field(default_factory=dict)  # by folded path: whether it is a folder
    _n: int = 0
    _n_bytes: int = 0

    def take(self, name: str, is_folder: bool, size: int, content: IO[bytes] | None) -> None:
        """Writes one member."""
        self._n += 1
        if self._n > self.limits.n_files:
            raise self._refused(f"holds more than {self.limits.n_files} files and folders")
        if is_folder and PurePosixPath(name).parts == ():
            return  # "./", the folder itself
        place = self._placed(name)
        self._once(place, is_folder)
        if is_folder:
            (self.folder / place).mkdir(parents=True, exist_ok=True)
            return
        self._within(self._n_bytes + size)
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with target.open("xb") as file:
            while content is not None and (block := content.read(CHUNK)):
                written += len(block)
                self._n_bytes += len(block)
                self._within(self._n_bytes)
                file.write(block)
        if written != size:
            raise checks.DataFileError(
                self.archive, f"holds {written} bytes of {name!r}, which has {size}", COPY_AGAIN
            )
        self.files.append(place)

    def _within(self, n_bytes: int) -> None:
        packed = self.archive.stat().st_size
        if n_bytes > SMALL and n_bytes > self.limits.ratio * packed:
            raise self._refused(f"unfolds {packed} bytes into more than {n_bytes}")
        most = self.limits.n_bytes
        if most is None:
            most = self._n_bytes + shutil.disk_usage(self.folder).free - MARGIN
        if n_bytes > most:
            found = f"holds {n_bytes / 1e9:.3g} GB or more, and there is room for {max(most, 0) / 1e9:.3g} GB"
            raise checks.DataFileError(
                self.archive, found, "Nothing was unpacked. Make room, or name another disk."
            )

    def _placed(self, name: str) -> PurePosixPath:
        """The path of a member below the folder."""
        place = PurePosixPath(name)
        bad = (
            not place.parts
            or place.is_absolute()
            or ".." in place.parts
            or "\\" in name
            or re.match(r"[A-Za-z]:", name)
            or any(unicodedata.category(c) in ("Cc", "Cs") for c in name)
            or any(len(part.encode("utf-8", "replace")) > MOST_NAME for part in place.parts)
        )
        if bad:
            raise self._refused(f"holds {name[:200]!r}, which is no place inside a folder")
        return place

    def _once(self, place: PurePosixPath, is_folder: bool) -> None:
        """Refuses a second file of one name, as file systems see names, and a file where a folder is."""
        folded = unicodedata.normalize("NFKC", str(place)).casefold()
        known = self._seen.get(folded)
        if known is not None and not (known and is_folder):
            raise self._refused(f"names {str(place)!r} twice")
        for parent in list(PurePosixPath(folded).parents)[:-1]:
            if self._seen.setdefault(str(parent), True) is False:
                raise self._refused(f"holds {str(place)!r} below a file")
        self._seen[folded] = is_folder

    def _refused(self, found: str) -> checks.DataFileError:
        return checks.DataFileError(self.archive, found, NOT_OPENED)


Member = tuple[str, bool, int, IO[bytes] | None]


def _zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as held:
        for entry in held.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise checks.DataFileError(archive, f"holds {entry.filename!r}, a link or device", NOT_OPENED)
            if entry.flag_bits & 1:
                raise checks.DataFileError(archive, "is encrypted", "Unpack it by hand with its password.")
            if entry.is_dir():
                yield entry.orig_filename, True, 0, None
                continue
            with held.open(entry) as content:
                yield entry.orig_filename, False, entry.file_size, content


class _Header(tarfile.TarInfo):
    """A member whose further headers are not read where they alone would fill the memory."""

    def _proc_member(self, tar: Any) -> Any:
        further = (
            tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
        )  # fmt: skip
        if self.type in further and self.size > MOST_HEADER:
            raise checks.DataFileError(tar.name or "tar", f"holds a header of {self.size} bytes", NOT_OPENED)
        return super()._proc_member(tar)  # type: ignore[misc]  # typeshed knows public methods alone


class _Watched:
    """The bytes of a tar as they come, and what its last block was: a cut one does not end in zeros."""

    def __init__(self, file: IO[bytes]):
        self._file, self._last = file, b""

    def read(self, n: int) -> bytes:
        found = self._file.read(n)
        self._last = (self._last + found)[-tarfile.BLOCKSIZE :]
        return found

    def ended(self) -> bool:
        """Reads what is left, so that a checksum is verified, and says whether the end is that of a tar."""
        left = 0
        while left <= SMALL and (block := self.read(CHUNK)):
            left += len(block)
        return left <= SMALL and self._last == bytes(tarfile.BLOCKSIZE)


def _tar(archive: Path) -> Iterator[Member]:
    opened: Any = {"gz": gzip.open, "tgz": gzip.open, "bz2": bz2.open, "xz": lzma.open}.get(
        archive.name.lower().rpartition(".")[2], open
    )
    with opened(archive, "rb") as file:
        watched: Any = _Watched(file)
        with tarfile.open(archive, "r|", fileobj=watched, tarinfo=_Header) as tar:
            for member in tar:
                if member.isdir():
                    yield member.name, True, 0, None
                    continue
                if not member.isreg() or member.issparse():
                    raise checks.DataFileError(
                        archive, f"holds {member.name!r}, a link, a device or a sparse file", NOT_OPENED
                    )
                yield member.name, False, member.size, tar.extractfile(member)
        if not watched.ended():
            raise checks.DataFileError(archive, "ends without the end of a tar", COPY_AGAIN)
