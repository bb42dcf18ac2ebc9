"""One file from a hub, a byte after the other: what came of it stays, also when the process is killed.

huggingface_hub throws away what it has of a file when it is interrupted (each of its processes writes a file of its own
name), so a checkpoint of gigabytes would begin again; here it goes on. The folder's layout is the hub's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SILENCE_S = 10.0  # without a byte for so long, the connection counts as gone


class CutOffError(OSError):
    """Fewer bytes came than the hub lists."""


def bring(url: str, headers: dict[str, str], part: Path, n_bytes: int) -> None:
    """Adds to a file what it lacks, from where it ends.

    Parameters
    ----------
    url : str
    headers : dict of str to str
        With who asks; they go to this host alone, also where it sends elsewhere.
    part : Path
        What came so far; made where it does not exist.
    n_bytes : int
        Of the whole file.

    Raises
    ------
    CutOffError
        If the connection ended early.
    """
    from filelock import FileLock
    from huggingface_hub.utils import get_session, hf_raise_for_status

    part.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        start = part.stat().st_size if part.is_file() else 0
        start = start if start < n_bytes else 0  # more than there is, or all of it and wrong
        asked = {**headers, "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with get_session().stream(
            "GET", url, headers=asked, follow_redirects=True, timeout=_silence()
        ) as answer:
            hf_raise_for_status(answer)
            goes_on = start > 0 and answer.status_code == 206
            with part.open("ab" if goes_on else "wb") as file:
                for piece in answer.iter_raw():
                    file.write(piece)
    came = part.stat().st_size
    if came < n_bytes:
        raise CutOffError(f"the connection ended after {came} of {n_bytes} bytes")


def settle(part: Path, blob: Path, pointer: Path) -> None:
    """A whole file gets its place: its content under its hash, its name as a link to that."""
    if part.is_file():
        os.replace(part, blob)
    Path(f"{part}.lock").unlink(missing_ok=True)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:  # a file system without links
        os.replace(blob, pointer)


def _silence() -> Any:
    from huggingface_hub import constants

    return getattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", SILENCE_S)
