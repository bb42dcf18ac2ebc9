"""Miniatures of the MATLAB files of Pereira et al. 2018: all sentences, few voxels, planted responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.types import Table

GRID = (8, 9, 7)
N_VOXELS = 55  # of the 60 that a person has anywhere
PASSAGES = {"384sentences": 96, "243sentences": 72}
TOPICS = 24


def synthetic(
    raw: Path,
    seed: int,
    subjects: Iterable[int],
    experiments: Sequence[str],
    people: Sequence[str],
    sizes: Mapping[str, int],
    release: str,
) -> Truth:
    """Writes the files; `people` and `sizes` name persons and the number of sentences or concepts."""
    responses, tables, details = {}, {}, {}
    for s in subjects:
        rng = seeding.numpy_generator(seed, "pereira2018", s)
        anywhere = rng.choice(int(np.prod(GRID)), 60, replace=False)
        voxels = {e: np.sort(rng.permutation(anywhere)[:N_VOXELS]) for e in experiments}  # in MATLAB's order
        shared = set.intersection(*(set(v.tolist()) for v in voxels.values()))
        in_c_order = sorted(shared, key=lambda v: np.unravel_index(v, GRID, order="F"))
        parts = []
        for e in experiments:
            x = rng.standard_normal((sizes[e], N_VOXELS))
            key = (
                "examples"
                if release.startswith("examples") or e.startswith("180")
                else "examples_passagesentences"
            )
            path = raw / people[s - 1] / release.format(e)
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {key: x, **_texts(e, sizes[e]), "meta": _meta(voxels[e])}, do_compression=True)
            parts.append(x[:, np.searchsorted(voxels[e], in_c_order)].astype(np.float32))
        key = f"sub-{s:02d}_fmri"
        responses[key] = np.concatenate(parts)
        stems = [(e.split("_")[0], sizes[e]) for e in experiments]
        tables[key] = Table(
            {"stimulus_id": np.array([f"{e}-{i + 1:03d}" for e, n in stems for i in range(n)])}
        )
        details[key] = np.array(np.unravel_index(in_c_order, GRID, order="F")).T
    return Truth(responses, tables, {"coordinates": details})


def _texts(experiment: str, n: int) -> dict[str, Any]:
    """Variables beside the responses, 1-based labels and cells as MATLAB writes them."""
    if experiment.startswith("180"):
        concepts = _cells([f"concept{i:03d}" for i in range(n)])
        return {"keyConcept": concepts, "labelsConcept": np.arange(1, n + 1)[:, None].astype(np.uint8)}
    n_passages = PASSAGES[experiment]
    passage = np.sort(np.arange(n) % n_passages) + 1
    topic = np.arange(n_passages) // (n_passages // TOPICS) + 1
    return {
        "keySentences": _cells([f"Sentence {i} of {experiment}." for i in range(n)]),
        "labelsSentences": np.arange(1, n + 1)[:, None].astype(np.uint16),
        "labelsPassageForEachSentence": passage[:, None].astype(np.uint8),
        "labelsPassageCategory": topic[:, None].astype(np.uint8),
        "keyPassages": _cells([f"passage {i}" for i in range(n_passages)]),
        "keyPassageCategory": _cells([f"topic_{i + 1}" for i in range(TOPICS)]).T,
    }


def _meta(voxels: np.ndarray) -> dict[str, Any]:
    """The struct `meta`; columns of regions count from 1."""
    coords = np.array(np.unravel_index(voxels, GRID, order="F")).T + 1
    columns = np.arange(1, len(voxels) + 1, dtype=np.float64)[:, None]
    rois = _cells([_cells(["LIFG", "LAngG"]), _cells(["all"])])
    of_rois = _cells([_cells([columns[:5], columns[9:12]]), _cells([columns[20:30]])])
    return {
        "nvoxels": float(len(voxels)), "dimx": float(GRID[0]), "dimy": float(GRID[1]), "dimz": float(GRID[2]),
        "colToCoord": coords.astype(np.float64), "indicesIn3D": voxels[:, None] + 1.0,
        "atlases": _cells(["languageLH", "visual"]).T, "rois": rois.T, "roiColumns": of_rois.T,
    }  # fmt: skip


def _cells(values: Sequence[Any]) -> np.ndarray:
    held = np.empty((len(values), 1), dtype=object)
    for i, value in enumerate(values):
        held[i, 0] = value
    return held
