"""Stimuli through a target, once: embeddings are cached by the hash of what made them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.targets import (
    AudioTarget,
    ImageTarget,
    JoinedTarget,
    LabelTarget,
    Target,
    TextTarget,
    VideoTarget,
    _cache,
)
from braindec.types import Embeddings, StimulusSet

AT_ONCE = _cache.AT_ONCE


def embed(
    target: Target,
    stimuli: StimulusSet,
    *,
    content: str,
    ids: Sequence[str] | None = None,
    label_column: str | None = None,
    cache: Path | None = None,
    progress: bool = False,
    device: str = "cpu",
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
        Folder where embeddings are kept and found again, by whatever recipe or process asks for the same ones. Parts of
        a joined target are kept one by one.
    progress : bool
        Whether to show a progress bar.
    device : str
        Where models run; it is no part of the hash.

    Returns
    -------
    Embeddings
        Read by row on demand where they are cached.
    """
    chosen = tuple(stimuli.ids if ids is None else ids)
    if isinstance(target, JoinedTarget):
        given: dict[str, Any] = {
            "ids": ids,
            "label_column": label_column,
            "device": device,
            "cache": cache,
            "progress": progress,
        }
        return _joined(
            target, [embed(part, stimuli, content=content, **given) for part in target.parts], chosen
        )
    identity = target.identity()
    told: dict[str, Any] = {"identity": identity, "stimuli": content, "ids": list(chosen)}
    provenance = store.content_hash(
        **told, label_column=label_column, **_of_captions(target, stimuli, chosen)
    )
    about: dict[str, Any] = {"space": target.space, "identity": identity, "provenance": provenance}
    if cache is None:
        values = _compute(target, stimuli, chosen, label_column, device, progress)
        return Embeddings(chosen, values, **about)
    stored = _cache.kept(
        cache / f"{_slug(target.space)}-{provenance[:16]}.h5", chosen,
        lambda some: _compute(target, stimuli, some, label_column, device, False), about,
        text=f"embed {target.name}", progress=progress,
    )  # fmt: skip
    return Embeddings(tuple(stored.array("ids").tolist()), stored.rows("values"), **about)


class _SideBySide:
    """Rows of several embeddings joined when they are asked for."""

    def __init__(self, target: JoinedTarget, parts: Sequence[Any]) -> None:
        self._target, self._parts = target, parts
        self.shape, self.dtype = (parts[0].shape[0], *target.shape), np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        return self._target.join([np.asarray(part[rows]) for part in self._parts])


def _joined(target: JoinedTarget, parts: Sequence[Embeddings], ids: tuple[str, ...]) -> Embeddings:
    provenance = store.content_hash(identity=target.identity(), parts=[part.provenance for part in parts])
    rows = _SideBySide(target, [part.values for part in parts])
    return Embeddings(ids, rows, target.space, target.identity(), provenance)


def _compute(
    target: Target,
    stimuli: StimulusSet,
    ids: Sequence[str],
    label_column: str | None,
    device: str,
    progress: bool,
) -> np.ndarray:
    if isinstance(target, ImageTarget):
        return target.embed_images(_images(stimuli, ids), device=device, progress=progress)
    if isinstance(target, TextTarget):
        return target.embed_text(_captions(stimuli, ids), device=device)[:, None]
    if isinstance(target, VideoTarget):
        return target.embed_videos(_media(stimuli, ids, "video"), device=device, progress=progress)
    if isinstance(target, AudioTarget):
        return target.embed_audio(_media(stimuli, ids, "audio"), device=device, progress=progress)
    if isinstance(target, LabelTarget):
        return target.embed(_labels(stimuli, ids, label_column))
    raise TypeError(f"target {target.name!r} embeds no stimuli.")


def _of_captions(target: Target, stimuli: StimulusSet, ids: Sequence[str]) -> dict[str, Any]:
    """For provenance of a text target: what was described, which may come from elsewhere than the stimuli."""
    return {"captions": _captions(stimuli, ids)} if isinstance(target, TextTarget) else {}


def _captions(stimuli: StimulusSet, ids: Sequence[str]) -> list[str]:
    missing = [i for i in ids if i not in stimuli.captions]
    if missing:
        raise checks.ConfigError(
            f"a target made from captions needs one of every stimulus: {len(missing)} of {len(ids)} have none, first "
            f"{missing[0]!r}."
        )
    return [stimuli.captions[i] for i in ids]


def _media(stimuli: StimulusSet, ids: Sequence[str], kind: str) -> Iterator[Any]:
    """Clips, or pairs of samples and sampling rate, one by one: they are large."""
    if stimuli.read is None or stimuli.kind != kind:
        raise checks.ConfigError(f"this stimulus set is of kind {stimuli.kind!r}; the target embeds {kind}.")
    for i in ids:
        yield from stimuli.read([i])


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
