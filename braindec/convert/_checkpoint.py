"""A checkpoint's tensors by name, left in its file until they are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from braindec import checks, pretrained

WRAPPERS = (
    "model_state_dict",
    "state_dict",
    "model",
)  # where training scripts keep the weights among other things
PARALLEL = "module."  # what torch's DataParallel writes before every name
SAVE_AGAIN = (
    "Copy it again, or save it again with a current torch: torch.save({'model_state_dict': weights}, path)."
)


class Checkpoint(Mapping[str, Tensor]):
    """Tensors by name; those of a file are maps of it and take no memory before they are read.

    Parameters
    ----------
    path : Path
        For messages and the report.
    tensors : mapping of str to Tensor
    beside : tuple of str
        What else the file holds: ``optimizer``, ``epoch``, ...
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor], beside: tuple[str, ...] = ()):
        self.path, self.beside = Path(path), beside
        self._tensors = tensors

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, key: str, n_axes: int) -> tuple[int, ...]:
        """The shape of one tensor that has to be there, with so many axes."""
        if key not in self._tensors:
            raise self.refused(f"has no tensor {key!r}")
        shape = tuple(self._tensors[key].shape)
        if len(shape) != n_axes:
            raise self.refused(f"has {key!r} of shape {shape}, with {len(shape)} axes instead of {n_axes}")
        return shape

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, under their whole names."""
        return {key: value for key, value in self._tensors.items() if key.startswith(prefix)}

    def refused(self, found: str) -> checks.DataFileError:
        """The error to raise for a checkpoint that is not what it should be."""
        return checks.DataFileError(self.path, found, "Nothing was written.")


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors of a file that torch saved, or of a safetensors file; nothing in it is run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataFileError
        If it is damaged, holds objects other than numbers, or no tensors by name.
    """
    path = checks.existing_file(path, "Name the file of a published checkpoint.")
    found = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    beside: tuple[str, ...] = ()
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), Mapping):
            beside = tuple(sorted(str(key) for key in found if key != wrapper))
            found = found[wrapper]
            break
    if not isinstance(found, Mapping) or not found:
        raise checks.DataFileError(path, "holds no tensors by name", SAVE_AGAIN)
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise checks.DataFileError(
                path, f"holds {key!r}, which is {type(value).__name__} and no tensor", ""
            )
    if all(key.startswith(PARALLEL) for key in found):
        found = {key.removeprefix(PARALLEL): value for key, value in found.items()}
    return Checkpoint(path, dict(found), beside)


def _pickled(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise checks.DataFileError(path, "is not what torch (1.6 or later) saves, a zip file", SAVE_AGAIN)
    return pretrained.torch_file(path, SAVE_AGAIN, mmap=True)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise checks.DataFileError(
            path, f"is no readable safetensors file ({error})", "Copy it again."
        ) from error
