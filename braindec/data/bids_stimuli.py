"""The stimuli that trials name: their ids, what is known of them, and their pictures where files are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import image_files
from braindec.types import UNKNOWN, StimulusSet, Table, Trials

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
BATCH = 64


def stimuli_of(trials: Sequence[Trials]) -> tuple[tuple[str, ...], Table]:
    """Sorted ids of all stimuli shown, and a table with `category`: that or the trial_type of their trials.

    The table is empty where not all trials have such a column, or those of one stimulus differ.
    """
    ids = tuple(sorted({i for t in trials for i in t.table["stimulus_id"].tolist()} - {UNKNOWN}))
    found: dict[str, str] = {}
    kinds = [name for name in ("category", "trial_type") if all(name in t.table for t in trials)]
    if not kinds:
        return ids, Table({})
    for t in trials:
        pairs = zip(t.table["stimulus_id"].tolist(), t.table[kinds[0]].tolist(), strict=True)
        if any(i != UNKNOWN and found.setdefault(i, kind) != kind for i, kind in pairs):
            return ids, Table({})
    return ids, Table({"category": np.array([found[i] for i in ids], dtype=str)})


def pictures(
    root: Path, folder: str, ids: Sequence[str], size: int
) -> tuple[Iterator[np.ndarray] | None, list[Path]]:
    """Batches of uint8 (n, size, size, 3) in the order of `ids`, and their files; None where no id is a picture's name.

    Raises
    ------
    DataFileError
        If some ids name a picture and others do not, or one cannot be opened.
    """
    named = [i for i in ids if Path(i).suffix.lower() in PICTURES]
    if not named:
        return None, []
    base = root / folder
    paths = [base / i for i in ids]
    missing = [str(p) for p in paths if not p.is_file()]
    if missing:
        found = f"lacks {len(missing)} of {len(ids)} pictures that the events name, first {missing[0]}"
        raise checks.DataFileError(base, found, "Put them there, or name their folder: --set stimuli=DIR.")
    return _batches(paths, size), paths


def dataset_stimuli(ids: tuple[str, ...], table: Table) -> StimulusSet:
    """The stimuli without their pictures, to make splits with."""
    return StimulusSet(ids, "none", table=table if table else None)


def _batches(paths: Sequence[Path], size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(paths), BATCH):
        yield np.stack([_picture(p, size) for p in paths[start : start + BATCH]])


def _picture(path: Path, size: int) -> np.ndarray:
    """uint8 (size, size, 3): the middle square, scaled (bicubic, antialiased)."""
    from PIL import Image

    with image_files.opened(path) as image:
        side = min(image.size)
        left, top = ((n - side) // 2 for n in image.size)
        square = image.convert("RGB").crop((left, top, left + side, top + side))
        return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
