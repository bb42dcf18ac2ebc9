"""The weights that ship with braindec, each checked against SHA256SUMS before it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from braindec import checks

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent
WAY_OUT = "Reinstall braindec, or make the weights again with datasets/simulated/train_weights.py."


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expected_sha256() -> dict[str, str]:
    """SHA-256 by file name, as recorded in SHA256SUMS when the weights were made."""
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def verified(name: str) -> Path:
    """Path of a shipped file whose content is what was recorded.

    Parameters
    ----------
    name : str
        File name, e.g. "openclip.safetensors".

    Raises
    ------
    ConfigError
        If no such file ships.
    DataFileError
        If the file's content is not the recorded one.
    """
    digest = checks.known_key("shipped weights", name, expected_sha256())
    path = checks.existing_file(FOLDER / name, WAY_OUT)
    if sha256(path) != digest:
        raise checks.DataFileError(path, f"content differs from its recorded sha256 {digest}", WAY_OUT)
    return path


def tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name; half precision on disk becomes float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = checks.existing_file(path, WAY_OUT)
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise checks.DataFileError(
            path, f"is no readable safetensors file ({error})", "Copy it again."
        ) from error
    return {name: t.float() if t.is_floating_point() else t for name, t in found.items()}
