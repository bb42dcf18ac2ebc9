"""Items of the view Latents: what each stands for, how well it is read, where and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec import plots
from braindec.explore._sheets import Sheets
from braindec.explore._source import Page
from braindec.explore._views import Item, View, number, numbers

NONE = (
    "This run looked for no latents. An autoencoder of a network's embeddings is fitted and found in brains by the "
    "command sae, or by a recipe:",
    "braindec run latents_in_the_brain --smoke --out runs/latents",
)
NUMBERS = (
    ("auc", "Area under the ROC", False),
    ("above_null", "Area above the null", False),
    ("above_baseline", "Area above the best baseline", False),
    ("rate", "Share of stimuli in which it is active", False),
)


def latents(pages: Sequence[Page], sheets: Sheets) -> View:
    """Every latent that a panel keeps."""
    panels = [(t, p) for page in pages for t, kind, p in page.report.panels if kind == "latents"]
    groups = [_group(p) for _, p in panels]
    items = [
        item for g, (title, p) in enumerate(panels) for item in _items(title, p, g, sheets, groups[g]["largest"])
    ]  # fmt: skip
    return View("latents", "Latents", "latent", items, NONE, NUMBERS, {"groups": groups})


def _group(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the latents of one panel share: names of places, and where scales end."""
    maps, places = payload.get("maps", ()), payload.get("places")
    return {
        "places": [str(name) for name in payload.get("place_names", ())],
        "top": 1.0 if places is None else max(0.6, float(np.nanmax(places)) + 0.02),
        "largest": max((float(np.nanmax(np.abs(m))) for m in maps), default=1.0),
    }


def _items(title: str, payload: Mapping[str, Any], g: int, sheets: Sheets, largest: float) -> list[Item]:
    pictures, maps = payload.get("pictures"), payload.get("maps", ())
    who = title.rpartition(", ")[2]
    found = []
    for i, name in enumerate(payload["names"]):
        images = payload["images"][i] if pictures is None else np.asarray(pictures)[payload["images"][i]]
        auc = float(payload["auc"][i])
        marks = {k: number(_one(payload, k, i)) for k in ("null", "reference", "ceiling")}
        verdict = _one(payload, "verdict", i)
        item: Item = {
            "name": str(name), "who": who, "group": g,
            "facets": {"subject": who} | ({"verdict": str(verdict)} if verdict else {}),
            "numbers": [number(auc), _above(auc, marks["null"]), _above(auc, marks["reference"]),
                        number(_one(payload, "rate", i))],
            "interval": numbers(payload["interval"][i]), "marks": marks,
            "shots": [[f"stimulus {k}", sheets.add(image)] for k, image in enumerate(images, 1)],
            "texts": [["", str(_one(payload, "about", i))]] if payload.get("about") is not None else [],
        }  # fmt: skip
        if len(maps):
            item["map"] = sheets.add(plots.brain_pixels(maps[i], largest))
        if payload.get("places") is not None:
            item["places"] = numbers(np.asarray(payload["places"])[i])
        found.append(item)
    return found


def _above(auc: float, mark: float | int | None) -> float | int | None:
    return None if mark is None else number(auc - mark)


def _one(payload: Mapping[str, Any], key: str, i: int) -> Any:
    return None if payload.get(key) is None else payload[key][i]
