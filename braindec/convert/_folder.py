"""A converted model as a folder: written beside its place and moved there whole, loaded strictly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from torch import Tensor

from braindec import checks, hub, store
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._design import CONFIG, FORMAT, KIND, Converted, from_json
from braindec.convert._keys import Reading
from braindec.convert._report import Report, write_report
from braindec.data.damage import reading
from braindec.decoder.bounded import Bounded
from braindec.decoder.saving import check_same_weights, size_of_weights

REPORT = "report.md"
MAKE_IT = "Make it with: braindec convert NAME CHECKPOINT --out DIR"


def write(reading: Reading, source: Checkpoint, out: Path) -> Report:
    """Writes the folder; see `convert`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise checks.ConfigError(f"{out} holds something already; name a new folder or delete it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = store.part_of(out)
    beside.mkdir()
    try:
        report = _fill(reading, source, beside, out)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return report


def load(folder: str | Path) -> Converted:
    """The modules of a converted folder, in eval mode; their weights are maps of its file.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    DataFileError
        If a file was changed or damaged, config.json describes far more than the weights hold, or they are not exactly
        this model's.
    """
    folder = checks.existing_folder(folder, MAKE_IT)
    data = store.read_json(folder / CONFIG, MAKE_IT)
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("format") != FORMAT:
        raise checks.DataFileError(folder / CONFIG, f"is not of a {KIND} of format {FORMAT}", MAKE_IT)
    hub.verify(folder)
    weights = hub.weights_of(folder)
    with reading(folder / CONFIG, way_out=MAKE_IT):
        with Bounded(folder / CONFIG, *size_of_weights(weights)):
            converted = from_json(data["design"]).build_unfilled()
        _load_weights(weights, converted)
    return converted


def _fill(reading: Reading, source: Checkpoint, folder: Path, out: Path) -> Report:
    like = dict(reading.design.build_shapes().module.state_dict())
    moves = {move.target: move for move in reading.moves}

    def make(name: str) -> Tensor:
        return moves[name].make(*(source[key] for key in moves[name].sources))

    about = {"name": source.path.name, "sha256": store.sha256_of(source.path)}
    try:
        files = reading.design.save(folder, like, make, about)
    except ValueError as error:  # NaN among the numbers: seen only now
        raise source.refused(str(error).rstrip(".")) from error
    report = write_report(reading, source, like, out)
    (folder / REPORT).write_text(report.text, encoding="utf-8")
    hub.write_manifest(folder, (*files, REPORT))
    return report


def _load_weights(path: Path, converted: Converted) -> None:
    from safetensors.torch import load_file

    module = converted.module
    tensors = load_file(path)
    check_same_weights(path, tensors, module.state_dict())
    # Assigned and not copied: the weights stay in the file, and what was built to hold them is given back.
    module.load_state_dict(tensors, strict=True, assign=True)
