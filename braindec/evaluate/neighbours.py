"""What was retrieved for every held-out stimulus, and what is known of stimuli: for whoever looks at a run later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data import NeuralDataset
from braindec.evaluate.scoring import Judged
from braindec.types import StimulusSet

N_NEIGHBOURS = 8
SIDE = 96  # pixels: of a gallery's pictures small copies are kept
MOST_PICTURES = 4000  # 110 MB of small copies; of larger galleries names alone are kept
MOST_LABELS, MOST_VALUES = 8, 400  # columns, and values in one: what a person can choose from
MOSTLY = 0.9  # share of stimuli of which a column must say something
Panel = tuple[str, str, Mapping[str, Any]]


def neighbours(judged: Judged, dataset: NeuralDataset, k: int = N_NEIGHBOURS) -> list[Panel]:
    """The nearest candidates of every held-out stimulus of every subject, with small pictures of the candidates.

    Parameters
    ----------
    judged : Judged
        The decoder's: its own similarity is what neighbours are chosen by.
    dataset : NeuralDataset
        Reads candidates' pictures, where they are images or clips.
    k : int
        Neighbours of each, at most as many as there are candidates.

    Returns
    -------
    list of Panel
        One panel of kind ``neighbours``; none where candidates are no stimuli (a protocol of classes).
    """
    checks.at_least("k", k, 1)
    found = {key: d for key, d in judged.decoded.items() if set(d.ids) <= set(d.candidates)}
    if not found:
        return []
    gallery = list(dict.fromkeys(i for d in found.values() for i in d.candidates))
    place = {name: row for row, name in enumerate(gallery)}
    payload: dict[str, Any] = {"queries": {}, "neighbours": {}, "similarity": {}, "rank": {}}
    for key, d in found.items():
        near = d.similarity.topk(min(k, len(d.candidates)), dim=1)
        columns = np.array([place[name] for name in d.candidates])
        payload["queries"][key] = np.array([place[name] for name in d.ids])
        payload["neighbours"][key] = columns[near.indices.numpy()]
        payload["similarity"][key] = near.values.double().numpy()
        payload["rank"][key] = ranks(d.similarity, [d.candidates.index(name) for name in d.ids])
    payload |= {
        "gallery": gallery,
        "captions": [str(dataset.stimuli.captions.get(name, "")) for name in gallery],
        "labels": labels(dataset.stimuli, gallery),
        "pictures": _pictures(dataset.stimuli, gallery),
        "caption": f"Among {len(gallery)} held-out stimuli those most similar to what was decoded, by the decoder's "
        "own similarity. The rank is that of the presented one: 1 where it was found.",
    }
    return [("Nearest in the gallery", "neighbours", payload)]


def ranks(similarity: Tensor, own: Sequence[int]) -> np.ndarray:
    """Place of each row's own column among all columns, int (n,): 1 where none is more similar.

    Parameters
    ----------
    similarity : Tensor, shape (n, n_candidates)
    own : sequence of int, length n
    """
    told = similarity[torch.arange(len(own)), torch.tensor(own, dtype=torch.long)]
    return (1 + (similarity > told[:, None]).sum(1)).numpy()


def labels(stimuli: StimulusSet, ids: Sequence[str]) -> dict[str, list[str]]:
    """What is known of stimuli in words, a text an id: columns of their table that a reader can choose by.

    These hold texts, several and not too many different ones, and are known of most stimuli; of equal columns the one
    with the shortest name is kept.
    """
    if stimuli.table is None:
        return {}
    row = {name: i for i, name in enumerate(stimuli.ids)}
    rows = np.array([row[i] for i in ids], dtype=np.int64)
    kept: dict[str, list[str]] = {}
    for name in sorted(stimuli.table, key=lambda name: (len(name), name)):
        column = stimuli.table[name]
        if column.dtype.kind != "U":
            continue
        values = column[rows]
        telling = 2 <= len(set(values.tolist())) <= MOST_VALUES and (values != "").mean() >= MOSTLY
        if telling and values.tolist() not in kept.values() and len(kept) < MOST_LABELS:
            kept[name] = values.tolist()
    return kept


def _pictures(stimuli: StimulusSet, ids: Sequence[str]) -> np.ndarray | None:
    """Small copies, uint8 (n, height, width, 3), at most `SIDE` pixels a side; None where there are none."""
    if stimuli.read is None or stimuli.kind not in ("image", "video") or len(ids) > MOST_PICTURES:
        return None
    return np.concatenate([smaller(stimuli.images(ids[i : i + 64])) for i in range(0, len(ids), 64)])


def smaller(images: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Pictures reduced to at most `side` pixels a side, as they are where they are small enough.

    Parameters
    ----------
    images : uint8 array, shape (n, height, width, 3)
    side : int
    """
    height, width = images.shape[1:3]
    if max(height, width) <= side:
        return images
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
