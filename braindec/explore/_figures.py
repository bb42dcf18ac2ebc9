"""Items of the views of figures: distances, maps, time courses, and whatever else a page shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import report, store
from braindec.explore._source import Page
from braindec.explore._views import Item, View, numbers

WORDS = {
    "rdm": "matrix of distances",
    "flat_map": "cortex laid flat",
    "glass_brain": "glass brain",
    "volume": "slices of the volume",
    "regions": "regions",
    "topography": "topography",
    "time_course": "time course",
    "time_by_time": "time by time",
    "rsa_time_course": "similarity over time",
    "latent_timing": "latents over time",
    "latent_map": "map of latents",
    "curve": "training",
    "confusion": "confusions",
    "histogram": "null",
    "specification": "specification curve",
    "model_bars": "models",
    "claims": "claims",
}
DISTANCES = ("rdm",)
MAPS = ("flat_map", "glass_brain", "volume", "regions")
TIMES = ("topography", "time_course", "time_by_time", "rsa_time_course", "latent_timing")
LACKS = {
    "distances": (
        "This run compared no representations. Distances of all pairs of stimuli are measured by:",
        "braindec run rsa_time_course --smoke --out runs/rsa",
    ),
    "maps": (
        "This run mapped nothing onto a brain. Encoding models predict every voxel or vertex from a network's layers:",
        "braindec run encoding_layers --smoke --out runs/encoding_layers",
    ),
    "time": (
        "This run followed nothing over time: recordings with a time course are EEG and MEG. For one:",
        "braindec run faces_houses_eeg --smoke --out runs/faces_houses_eeg",
    ),
    "figures": ("This run has no further figures.", "braindec run demo --smoke --out runs/demo"),
}
TITLES = {
    "distances": ("Distances", "matrix"),
    "maps": ("Brain maps", "map"),
    "time": ("Time and sensors", "figure"),
    "figures": ("More figures", "figure"),
}
MOST_CELLS = 200  # conditions: distances of more are a picture alone


def views(pages: Sequence[Page], folder: Path, shots: Mapping[str, int]) -> list[View]:
    """Every figure of every page, drawn into `folder`.

    Parameters
    ----------
    shots : mapping of str to int
        Reference of each stimulus's picture, where one is known: shown beside distances.
    """
    items: dict[str, list[Item]] = {key: [] for key in TITLES}
    number = 0
    for page in pages:
        for title, kind, payload in page.report.panels:
            if kind not in WORDS:
                continue
            item = _item(page, title, kind, payload)
            item["figure"] = f"{folder.name}/figure-{number:03d}.svg"
            with store.atomic_path(folder / f"figure-{number:03d}.svg") as temporary:
                temporary.write_text(standalone(report.figure(title, kind, payload)), encoding="utf-8")
            if kind == "rdm" and len(payload["conditions"]) <= MOST_CELLS:
                item["distances"] = _distances(payload, shots)
            items[_view_of(kind)].append(item)
            number += 1
    return [View(key, *TITLES[key], items[key], LACKS[key]) for key in TITLES]


def _view_of(kind: str) -> str:
    return (
        "distances"
        if kind in DISTANCES
        else "maps"
        if kind in MAPS
        else "time"
        if kind in TIMES
        else "figures"
    )


def _item(page: Page, title: str, kind: str, payload: Mapping[str, Any]) -> Item:
    subject = re.search(r"sub-\d+[ _][a-z]+", title)
    facets = {"kind": WORDS[kind]}
    if subject:
        facets["subject"] = subject[0].replace("_", " ")
    if page.name:
        facets["page"] = page.name
    told = [["", str(payload["caption"])]] if payload.get("caption") else []
    return {"name": title, "who": facets.get("subject", ""), "facets": facets, "texts": told}


def _distances(payload: Mapping[str, Any], shots: Mapping[str, int]) -> dict[str, Any]:
    matrix = np.asarray(payload["matrix"], dtype=float)
    names = [str(name) for name in payload["conditions"]]
    groups = payload.get("groups")
    return {
        "label": str(payload.get("label", "distance")), "names": names,
        "groups": None if groups is None else [str(group) for group in groups],
        "shots": [shots.get(name) for name in names], "rows": [numbers(row) for row in matrix],
    }  # fmt: skip


def standalone(svg: str) -> str:
    """A figure of a page as a file of its own: its ink follows the light or dark of whoever shows it."""
    look = (
        "<style>svg{color:#22262b;font-family:system-ui,sans-serif}"
        "@media (prefers-color-scheme:dark){svg{color:#e6e8eb}}</style>"
    )
    head, end, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"{end}{look}{rest}'
