"""Published checkpoints as folders of braindec: nothing trained again, every tensor accounted for.

A published system `braindec/convert/<name>.py` defines `read(source, **settings) -> Reading`; a setting that a user
may give is a keyword argument of it. The folder is the list of what there is.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.convert._checkpoint import Checkpoint, open_checkpoint
from braindec.convert._design import Converted, Design
from braindec.convert._folder import load, write
from braindec.convert._keys import KeyMap, Move, Reading
from braindec.convert._plain import as_safetensors
from braindec.convert._report import Report

FORMATS = {
    path.stem: f"braindec.convert.{path.stem}"
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if not path.stem.startswith("_")
}


def convert(format: str, checkpoint: str | Path, out: str | Path, **settings: Any) -> Report:
    """Writes a published checkpoint as a folder that `load` reads; in bounded memory, whole or not at all.

    Parameters
    ----------
    format : str
        A published system, one of `FORMATS`.
    checkpoint : path
        What torch saved (a zip file, torch 1.6 or later; opened with ``weights_only=True``), or a safetensors file.
    out : path
        A folder that is not there yet, or is empty: config.json, model.safetensors, report.md, manifest.json.
    **settings
        Of this system, e.g. ``subjects=(1, 2)``.

    Returns
    -------
    Report

    Raises
    ------
    ConfigError
        If there is no such system or setting, or the folder holds something.
    DataFileError
        If the checkpoint is damaged, or a tensor is missing, left over or of a shape that does not fit; nothing is
        written then.
    """
    module = importlib.import_module(checks.known_key("format", format, FORMATS))
    known = list(inspect.signature(module.read).parameters)[1:]
    for name in settings:
        checks.one_of(f"setting of {format}", name, known)
    source = open_checkpoint(checkpoint)
    try:
        reading: Reading = module.read(source, **settings)
    except checks.BraindecError:
        raise
    except ValueError as error:  # a part of the model that knows no file says what does not fit
        raise checks.DataFileError(
            source.path, f"is no {format} checkpoint: {str(error).rstrip('.')}", "Nothing was written."
        ) from error
    return write(reading, source, Path(out))


__all__ = [
    "FORMATS",
    "Checkpoint",
    "Converted",
    "Design",
    "KeyMap",
    "Move",
    "Reading",
    "Report",
    "as_safetensors",
    "convert",
    "load",
]
