"""HDF5 files that keep all they hold inside themselves: no link, storage or view reaches into another file.

An external link, external storage or a virtual data set would make reading one file read any other that this process
may read; a filter that is not built in would load a shared library.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
from h5py import h5d, h5l, h5o

from braindec import checks

# gzip, shuffle, fletcher32, szip, nbit, scaleoffset of HDF5 itself, and h5py's lzf
BUILT_IN = frozenset((1, 2, 3, 4, 5, 6, 32000))
MOST_KNOWN = 10_000  # files remembered as looked through
_KNOWN: dict[tuple[Any, ...], None] = {}


def open_readonly(path: Path) -> h5py.File:
    """An HDF5 file opened for reading; damage, and what lies in other files (see `contained`), is a DataFileError."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise checks.DataFileError(
            path, f"cannot be opened as HDF5 ({error})", "Make or copy it again."
        ) from error
    try:
        with damage_named(path):
            check(path, file)
    except checks.DataFileError:
        file.close()
        raise
    return file


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever h5py and json raise on damaged content becomes a DataFileError about `path`."""
    try:
        yield
    except checks.DataFileError:
        raise
    except (
        OSError,
        KeyError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise checks.DataFileError(path, f"is damaged ({error})", "Make or copy it again.") from error


def check(path: Path, file: h5py.File) -> None:
    """Refuses a file any part of which lies elsewhere; a file that did not change is looked through once a process.

    Parameters
    ----------
    path : Path
    file : h5py.File
        Open.

    Raises
    ------
    DataFileError
        If it holds an external or a user-defined link, external storage, a virtual data set or a filter that is not
        built in.
    """
    about = os.stat(path)
    key = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
    if key in _KNOWN:
        return
    for name in _hard_links(path, file):
        if h5o.get_info(file.id, name).type == h5o.TYPE_DATASET:
            check_dataset(path, h5d.open(file.id, name), name)
    if len(_KNOWN) >= MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[key] = None


def check_dataset(path: Path, data: h5d.DatasetID, name: bytes = b"") -> None:
    """Refuses one data set whose values lie elsewhere; of those without a name too, which are reached by reference."""
    made: Any = data.get_create_plist()
    said = repr(name.decode(errors="replace")) if name else "a data set"
    if made.get_layout() == h5d.VIRTUAL:
        raise _refused(path, f"{said} is a view of other files")
    if made.get_layout() == h5d.CONTIGUOUS and made.get_external_count():
        raise _refused(path, f"{said} keeps its values in another file")
    filters = {int(made.get_filter(i)[0]) for i in range(made.get_nfilters())}
    if not filters <= BUILT_IN:
        raise checks.DataFileError(
            path,
            f"{said} is packed with the filter {min(filters - BUILT_IN)}, which loads a library from elsewhere",
            "Write it again with gzip: h5repack -f GZIP=4 OLD NEW.",
        )


def referred(path: Path, file: h5py.File, reference: Any) -> Any:
    """The object that a reference means: it may have no name, and so not have been seen by `check`."""
    found = file[reference]
    if isinstance(found, h5py.Dataset):
        check_dataset(path, found.id)
    return found


def _hard_links(path: Path, file: h5py.File) -> Iterator[bytes]:
    """Names of all objects; a link of another kind than hard or soft is refused (soft ones stay within the file)."""
    found: list[bytes] = []

    def see(name: bytes, info: Any) -> bytes | None:
        if info.type == h5l.TYPE_HARD:
            found.append(name)
        return name if info.type not in (h5l.TYPE_HARD, h5l.TYPE_SOFT) else None

    outside = file.id.links.visit(see, info=True)
    if outside is not None:
        raise _refused(path, f"{outside.decode(errors='replace')!r} is a link to another file")
    yield from found


def _refused(path: Path, found: str) -> checks.DataFileError:
    way_out = "Nothing but the file itself is read: ask its owner for one that holds its own values."
    return checks.DataFileError(path, found, way_out)
