"""A small model as a folder: config.json and weights.safetensors, which belong together or are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from braindec import __version__, checks, store

WEIGHTS, CONFIG = "weights.safetensors", "config.json"


def write(folder: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Writes both files, each whole or not at all; gives the folder.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    tensors : mapping of str to Tensor
    about : mapping
        JSON values.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with store.atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, temporary)
    told = {"version": __version__, **about, "weights_sha256": store.sha256_of(folder / WEIGHTS)}
    store.write_json(folder / CONFIG, told)
    return folder


def read(folder: str | Path, way_out: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write` was told, and the tensors.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataFileError
        If the weights are damaged, or not those that config.json was written with.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    about: Any = store.read_json(folder / CONFIG, way_out)
    if not isinstance(about, dict):
        raise checks.DataFileError(folder / CONFIG, "holds no settings", way_out)
    path = checks.existing_file(folder / WEIGHTS, "Copy the folder whole.")
    if about.get("weights_sha256") != store.sha256_of(path):
        raise checks.DataFileError(
            path, f"is not the file that {CONFIG} was written with", "Copy both again."
        )
    try:
        return about, load_file(path)
    except SafetensorError as error:
        raise checks.DataFileError(
            path, f"is no readable safetensors file ({error})", "Copy it again."
        ) from error
