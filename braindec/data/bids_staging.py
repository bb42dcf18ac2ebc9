"""A prepared folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from braindec import checks
from braindec.data import layout


def check(out: Path) -> None:
    """Refuses a place that holds anything but a prepared dataset.

    Raises
    ------
    ConfigError
        If so.
    """
    if out.exists() and not (out / layout.MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise checks.ConfigError(f"--out {out} exists and is no prepared dataset; name a new folder.")


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block ends without an error, and vanishes otherwise.

    Raises
    ------
    ConfigError
        As `check`.
    """
    check(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        folder = holder / "new"
        folder.mkdir()
        yield folder
        if out.exists():
            out.replace(holder / "old")
        folder.replace(out)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
