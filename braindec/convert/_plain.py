"""Weights that come as pickles, written again as safetensors: the same tensors under the same names."""

from __future__ import annotations

from pathlib import Path

from braindec import checks, store
from braindec.convert import _weights
from braindec.convert._checkpoint import open_checkpoint


def as_safetensors(checkpoint: str | Path, out: str | Path) -> int:
    """Number of tensors that were written; the checkpoint is opened as numbers alone, and nothing in it is run.

    Parameters
    ----------
    checkpoint : path
        What torch saved.
    out : path
        A .safetensors file; it appears whole or not at all.

    Raises
    ------
    DataFileError
        If the checkpoint is damaged, or holds other things than tensors.
    """
    source = open_checkpoint(checkpoint)
    tensors = {key: source[key] for key in source}
    try:
        with store.atomic_path(out) as temporary:
            _weights.write(temporary, tensors, lambda name: tensors[name])
    except ValueError as error:
        raise checks.DataFileError(source.path, str(error).rstrip("."), "Nothing was written.") from error
    return len(tensors)
