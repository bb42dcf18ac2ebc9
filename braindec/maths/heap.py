"""Memory that a loop frees and asks for again in every step stays with the process until the loop is done.

Linux's C library gives large blocks back to the system at once. The next step's blocks are then new pages, each of
which the system fills with zeros when it is first touched: on a virtual machine that took half of a training step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock

TRIM, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # names of the settings in malloc.h
KEPT = {MMAP_MAX: 0, TRIM: -1, TOP_PAD: 2**26}
# What the library's own adjustment ends in once a block of 32 MiB was freed; setting anything switches it off.
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 2**25, TRIM: 2**26, TOP_PAD: 2**17}
_users, _lock = 0, Lock()


@contextmanager
def kept() -> Iterator[None]:
    """Inside, freed memory is kept for what comes next; the last one out gives it back.

    Does nothing where the C library is not glibc. May be nested, and used by several threads. What is kept has gaps:
    the process may hold several times the largest block more than without (512 MB for steps of two blocks of 64), which
    is reached within some ten steps and does not grow.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _users
    library = _glibc()
    if library is None:
        return
    with _lock:
        before, _users = _users, _users + change
        if before == 0 or _users == 0:
            for setting, value in (KEPT if _users else USUAL).items():
                library.mallopt(setting, value)
        if _users == 0:
            library.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
