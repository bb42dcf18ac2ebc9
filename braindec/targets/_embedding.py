"""Stimuli through a target, once: embeddings are cached by the hash of what made them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks, store
from braindec.targets import ImageTarget, LabelTarget, Target
from braindec.types import Embeddings, StimulusSet

AT_ONCE = 256  # stimuli read, embedded and written together: whole batches of the models


def embed(
    target: Target,
    stimuli: StimulusSet,
    *,
    content: str,
    ids: Sequence[str] | None = None,
    label_column: str | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> Embeddings:
    """Embeddings of stimuli in a target's space.

    Parameters
    ----------
    target : Target
    stimuli : StimulusSet
    content : str
        sha256 that changes when the stimuli do (of stimuli.h5 in a prepared dataset).
    ids : sequence of str, optional
        Only these; all by default.
    label_column : str, optional
        For a target made from labels: the column of ``stimuli.table`` that holds them.
    cache : Path, optional
        Folder where embeddings are kept and found again.

    Returns
    -------
    Embeddings
        Read by row on demand where they are cached.
    """
    chosen = tuple(stimuli.ids if ids is None else ids)
    identity = target.identity()
    provenance = store.content_hash(
        identity=identity, stimuli=content, ids=list(chosen), label_column=label_column
    )
    path = None if cache is None else cache / f"{_slug(target.space)}-{provenance[:16]}.h5"
    if path is not None and path.is_file():
        return _read(path, provenance)
    if path is None:
        values = _compute(target, stimuli, chosen, label_column, progress)
        return Embeddings(chosen, values, target.space, identity, provenance)
    with store.writer(path) as out:
        out.array("ids", np.array(chosen))
        bulk = None
        for start in tqdm(range(0, len(chosen), AT_ONCE), desc=f"embed {target.name}", disable=not progress):
            values = _compute(target, stimuli, chosen[start : start + AT_ONCE], label_column, False)
            if bulk is None:
                bulk = out.bulk("values", (len(chosen), *values.shape[1:]), values.dtype)
            bulk.append(values)
        out.attributes({"space": target.space, "identity": identity, "provenance": provenance})
    return _read(path, provenance)


def _read(path: Path, provenance: str) -> Embeddings:
    stored = store.Stored(path)
    if stored.attributes["provenance"] != provenance:
        raise checks.DataFileError(
            path, "holds embeddings of other stimuli or of another model", "Delete this file."
        )
    ids = tuple(stored.array("ids").tolist())
    return Embeddings(
        ids, stored.rows("values"), stored.attributes["space"], stored.attributes["identity"], provenance
    )


def _compute(
    target: Target, stimuli: StimulusSet, ids: Sequence[str], label_column: str | None, progress: bool
) -> np.ndarray:
    if isinstance(target, ImageTarget):
        return target.embed_images(_images(stimuli, ids), progress=progress)
    if isinstance(target, LabelTarget):
        return target.embed(_labels(stimuli, ids, label_column))
    raise TypeError(f"target {target.name!r} embeds neither images nor labels.")


def _images(stimuli: StimulusSet, ids: Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(ids), AT_ONCE):
        yield from stimuli.images(ids[start : start + AT_ONCE])


def _labels(stimuli: StimulusSet, ids: Sequence[str], column: str | None) -> list[str]:
    there = list(stimuli.table or ())
    if column is None or stimuli.table is None or column not in there:
        raise checks.ConfigError(
            f"a target made from labels needs label_column, a column of the stimuli's table: got {column!r}, the table "
            f"has {there}."
        )
    row = {key: i for i, key in enumerate(stimuli.ids)}
    return stimuli.table[column].astype(str)[[row[i] for i in ids]].tolist()


def _slug(space: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", space)
