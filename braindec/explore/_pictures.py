"""Items of the views Pictures and Retrieval: what was presented beside what was drawn and found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec import report
from braindec.explore._sheets import Sheets
from braindec.explore._source import Page
from braindec.explore._views import Item, View, number, numbers, spoken
from braindec.types import Report

DEMO = "braindec run demo --smoke --out runs/demo"
NO_PICTURES = (
    "This run drew no pictures: its recipe has no generator, or its page shows none. Recipes that draw keep every "
    "picture with its scores. The demo does:"
)
NO_NEIGHBOURS = (
    "This run did not keep what was retrieved for each stimulus. Recipes that retrieve among stimuli do (they call "
    "evaluate.neighbours), and runs made before braindec kept it can be made again:"
)
CLAIM = "{} in the picture"  # the facet of a verdict, by attribute


def pictures(pages: Sequence[Page], sheets: Sheets) -> View:
    """Every picture of every panel of pictures."""
    panels = [(t, p) for page in pages for t, kind, p in page.report.panels if kind == "image_grid"]
    lower = {name for _, p in panels for name in p.get("lower", ())}
    metrics = list(dict.fromkeys(name for _, p in panels for name in p.get("scores") or ()))
    items = [item for title, p in panels for item in _grid(title, p, metrics, sheets)]
    told = tuple((name, report.title_of(name), name in lower) for name in metrics)
    return View("pictures", "Pictures", "picture", items, (NO_PICTURES, DEMO), told)


def _grid(title: str, payload: Mapping[str, Any], metrics: Sequence[str], sheets: Sheets) -> list[Item]:
    rows: Mapping[str, Any] = payload["rows"]
    n = min(len(images) for images in rows.values())
    names = payload.get("names") or [f"picture {i + 1}" for i in range(n)]
    scores = payload.get("scores") or {}
    return [
        {
            "name": str(names[i]), "who": title,
            "facets": {"subject": title, **_labels(payload, i), **_claims(payload, i)},
            "numbers": [number(scores[m][i]) if m in scores else None for m in metrics],
            "shots": _shots(rows, i, sheets),
            "texts": _texts(payload, i),
            "verdicts": dict((payload.get("verdicts") or [{}] * n)[i]),
        }
        for i in range(n)
    ]  # fmt: skip


def _shots(rows: Mapping[str, Any], i: int, sheets: Sheets) -> list[list[Any]]:
    """[label, reference] of every picture of an item; a row may hold several."""
    shots = []
    for label, images in rows.items():
        several = images[i] if np.ndim(images[i]) == 4 else [images[i]]
        for k, image in enumerate(several, 1):
            shots.append([f"{label} {k}" if len(several) > 1 else str(label), sheets.add(image)])
    return shots


def _labels(payload: Mapping[str, Any], i: int) -> dict[str, str]:
    return {str(name): str(values[i]) for name, values in (payload.get("labels") or {}).items() if values[i]}


def _claims(payload: Mapping[str, Any], i: int) -> dict[str, str]:
    return {CLAIM.format(what): said for what, said in (payload.get("verdicts") or [{}] * (i + 1))[i].items()}


def _texts(payload: Mapping[str, Any], i: int) -> list[list[str]]:
    told = [["", str(payload["captions"][i])]] if payload.get("captions") else []
    for key in ("texts", "notes"):
        told += [[str(label), str(texts[i])] for label, texts in (payload.get(key) or {}).items()]
    return [line for line in told if line[1]]


def retrieval(pages: Sequence[Page], sheets: Sheets) -> View:
    """Every held-out stimulus with its nearest neighbours."""
    gallery: dict[str, list[Any]] = {"names": [], "texts": [], "shots": []}
    items: list[Item] = []
    found = [(page, p) for page in pages for _, kind, p in page.report.panels if kind == "neighbours"]
    told = _measured(found)
    for page, payload in found:
        first = len(gallery["names"])
        gallery["names"] += [str(name) for name in payload["gallery"]]
        gallery["texts"] += [str(text) for text in payload["captions"]]
        images = payload.get("pictures")
        gallery["shots"] += [None] * len(payload["gallery"]) if images is None else map(sheets.add, images)
        for key in payload["queries"]:
            items += _queries(page.report, payload, key, told, first)
    shown = (
        ("rank", "Rank of the presented", True),
        *((name, report.title_of(name), False) for name in told),
    )
    return View(
        "retrieval", "Retrieval", "stimulus", items, (NO_NEIGHBOURS, DEMO), shown, {"gallery": gallery}
    )


def _measured(found: Sequence[tuple[Page, Mapping[str, Any]]]) -> list[str]:
    """Metrics with a value for each of the queries."""
    return list(
        dict.fromkeys(
            name
            for page, payload in found
            for key in payload["queries"]
            for name in _values(page.report, payload, key)
        )
    )


def _values(found: Report, payload: Mapping[str, Any], key: str) -> dict[str, np.ndarray]:
    """The decoder's values of every query of a subject, by metric."""
    ids = tuple(payload["gallery"][row] for row in payload["queries"][key])
    return {
        s.name: np.asarray(s.per_sample)
        for s in found.scores
        if s.system == "braindec" and report.subject_of(s.subject, s.modality) == spoken(key)
        and s.sample_ids == ids and s.per_sample is not None and "as_published_by" not in s.details
    }  # fmt: skip


def _queries(
    found: Report, payload: Mapping[str, Any], key: str, told: Sequence[str], first: int
) -> list[Item]:
    values, items = _values(found, payload, key), []
    for i, row in enumerate(payload["queries"][key]):
        facets = {name: str(v[row]) for name, v in (payload.get("labels") or {}).items() if v[row]}
        rank = int(payload["rank"][key][i])
        measured = [number(values[m][i]) if m in values else None for m in told]
        near = zip(payload["neighbours"][key][i], numbers(payload["similarity"][key][i]), strict=True)
        items.append(
            {
                "name": str(payload["gallery"][row]), "who": spoken(key), "numbers": [rank, *measured],
                "facets": {"subject": spoken(key), "found": _found(rank), **facets},
                "own": int(row) + first, "near": [[int(n) + first, s] for n, s in near],
                "texts": [["", str(payload["captions"][row])]] if payload["captions"][row] else [],
            }
        )  # fmt: skip
    return items


def _found(rank: int) -> str:
    return "first" if rank == 1 else "among five" if rank <= 5 else "among ten" if rank <= 10 else "later"
