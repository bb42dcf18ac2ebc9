"""What a MATLAB file of Pereira et al. 2018 says beside its responses: texts, passages, voxels and regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import mat5
from braindec.data.damage import COPY_AGAIN
from braindec.types import Table


@dataclass(frozen=True, eq=False)
class Content:
    """What one file says beside its responses: who was asked what, and where its columns lie."""

    path: Path
    key: str
    experiment: str
    stimuli: Table
    shape: tuple[int, int, int]
    voxels: np.ndarray  # positions in C order of the columns
    regions: Mapping[str, np.ndarray]  # columns of each atlas


def read(path: Path, experiment: str, key: str, n: int, concepts: bool) -> Content:
    """The tables of a file with `n` texts; responses stay in it (under `key`), but their shape is checked.

    Raises
    ------
    DataFileError
        If variables are missing, or contradict each other.
    """
    names = ("keyConcept",) if concepts else ("keySentences", "labelsPassageForEachSentence", "labelsPassageCategory",
                                              "keyPassageCategory")  # fmt: skip
    held = mat5.load(path, (*names, "meta"))
    meta = held["meta"]
    x, y, z = (int(mat5.numbers(path, d, mat5.field(path, meta, d), ())) for d in ("dimx", "dimy", "dimz"))
    shape = (x, y, z)
    coords = mat5.numbers(path, "meta.colToCoord", mat5.field(path, meta, "colToCoord"), (None, 3)).astype(
        int
    )
    inside = bool(((coords >= 1) & (coords <= shape)).all())
    voxels = np.ravel_multi_index(tuple((coords - 1).T), shape) if inside else np.zeros(0, dtype=int)
    if len(np.unique(voxels)) != len(coords):
        raise checks.DataFileError(path, f"names voxels twice or outside of {shape}", COPY_AGAIN)
    stimuli = _concepts(path, held) if concepts else _sentences(path, experiment, held)
    shapes = mat5.shapes(path)
    expected = (n, len(coords))
    if stimuli.n_rows != expected[0] or shapes.get(key) != expected:
        found = f"holds {stimuli.n_rows} texts and {key!r} of shape {shapes.get(key)}, expected {expected}"
        raise checks.DataFileError(path, f"{found} (sentence, voxel)", COPY_AGAIN)
    return Content(path, key, experiment, stimuli, shape, voxels, _regions(path, meta, len(coords)))


def _sentences(path: Path, experiment: str, held: Mapping[str, Any]) -> Table:
    text = mat5.texts(path, "keySentences", held["keySentences"])
    topics = mat5.texts(path, "keyPassageCategory", _flat(held["keyPassageCategory"]))
    of_passage = mat5.numbers(path, "labelsPassageCategory", held["labelsPassageCategory"], (None,)).astype(
        int
    )
    passage = mat5.numbers(
        path, "labelsPassageForEachSentence", held["labelsPassageForEachSentence"], (len(text),)
    ).astype(int)
    if not (
        (1 <= passage).all()
        and passage.max() <= len(of_passage)
        and (1 <= of_passage).all()
        and of_passage.max() <= len(topics)
    ):
        raise checks.DataFileError(path, "labels passages or topics that it does not name", COPY_AGAIN)
    return Table(
        {
            "experiment": np.full(len(text), experiment),
            "text": np.array(text),
            "passage": passage,
            "category": np.array(topics)[of_passage[passage - 1] - 1],
        }
    )


def _concepts(path: Path, held: Mapping[str, Any]) -> Table:
    text = mat5.texts(path, "keyConcept", held["keyConcept"])
    return Table(
        {
            "experiment": np.full(len(text), "180concepts"),
            "text": np.array(text),
            "passage": np.zeros(len(text), dtype=int),
            "category": np.full(len(text), "concept"),
        }
    )


def _flat(value: Any) -> Any:
    """Topics are cells of texts, in some files inside another cell."""
    if isinstance(value, str):
        return value
    found = [item for part in np.ravel(np.asarray(value, dtype=object)) for item in np.ravel(part)]
    return np.array(found, dtype=object)


def _regions(path: Path, meta: Any, n_columns: int) -> dict[str, np.ndarray]:
    """Columns in any region of each atlas, bool (n_columns,), by the atlas's name."""
    if not isinstance(meta, Mapping) or "atlases" not in meta or "roiColumns" not in meta:
        return {}
    names = mat5.texts(path, "meta.atlases", meta["atlases"])
    cells = (
        [meta["roiColumns"]]
        if len(names) == 1
        else list(np.ravel(np.asarray(meta["roiColumns"], dtype=object)))
    )
    if len(cells) != len(names):
        raise checks.DataFileError(
            path, f"names {len(names)} atlases but columns of {len(cells)}", COPY_AGAIN
        )
    found: dict[str, np.ndarray] = {}
    for name, cell in zip(names, cells, strict=True):
        columns = _leaves(cell)
        if len(columns) and not (columns.min() >= 1 and columns.max() <= n_columns):
            raise checks.DataFileError(
                path, f"has columns of {name!r} outside of 1 to {n_columns}", COPY_AGAIN
            )
        members = np.zeros(n_columns, dtype=bool)
        members[columns - 1] = True
        found |= {name: members} if members.any() else {}
    return found


def _leaves(value: Any) -> np.ndarray:
    """All numbers in nested cells, as int."""
    array = np.asarray(value)
    if array.dtype != object:
        return array.ravel().astype(int)
    parts = [_leaves(part) for part in array.ravel()]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=int)
