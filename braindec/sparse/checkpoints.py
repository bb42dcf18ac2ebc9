"""Checkpoints of training: one safetensors file a checkpoint, its hash beside it, the last two kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from braindec import checks, store


def keep(
    folder: Path, run: str, step: int, tensors: Mapping[str, Tensor], rows: list[dict[str, float]]
) -> None:
    """Writes what changes while training; a checkpoint without its hash was not finished."""
    from safetensors.torch import save_file

    path = _folder(folder) / f"sparse-{step:08d}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic_path(path) as temporary:
        # Copies: safetensors refuses tensors that share memory, and the run goes on changing these.
        save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, temporary)
    about = {"run": run, "sha256": store.sha256_of(path), "rows": rows}
    store.write_json(path.with_suffix(".json"), about)
    for old in _found(folder)[:-2]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)


@torch.no_grad()
def resume(folder: Path, run: str, tensors: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """Copies the newest whole checkpoint of this run into `tensors`, in place; gives its log, empty when there is none.

    Raises
    ------
    ConfigError
        If the folder holds a checkpoint of another run.
    """
    from safetensors.torch import load_file

    for path in reversed(_found(folder)):
        about = path.with_suffix(".json")
        if not about.is_file():
            continue
        said = store.read_json(about)
        if said["sha256"] != store.sha256_of(path):
            continue
        if said["run"] != run:
            raise checks.ConfigError(
                f"{path} was made with other settings, inputs or another seed; use a new folder or delete it."
            )
        found = load_file(path)
        if found.keys() != tensors.keys():
            raise checks.DataFileError(path, "holds other tensors than this version trains", "Delete it.")
        for name, value in found.items():
            tensors[name].copy_(value)
        rows: list[dict[str, float]] = said["rows"]
        return rows
    return []


def _folder(folder: Path) -> Path:
    return Path(folder) / "checkpoints"


def _found(folder: Path) -> list[Path]:
    return sorted(_folder(folder).glob("sparse-*.safetensors"))
