"""A report as files: report.json and scores.h5 for programs, report.html for people.

Panels are (title, kind, payload). Every payload may carry ``section`` (one of `SECTIONS`) and ``caption`` (a sentence
below it); the kinds and the rest of their payloads are in `_blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, plots, store
from braindec.report import _files, _gallery
from braindec.report._blocks import figure
from braindec.report._look import CSS, DARK, LIGHT
from braindec.report._page import SECTIONS, page, smoke_words
from braindec.report._words import METRICS, SYSTEMS, subject_of, title_of
from braindec.types import Report

__all__ = [
    "CSS",
    "DARK",
    "LIGHT",
    "METRICS",
    "SECTIONS",
    "SYSTEMS",
    "figure",
    "page",
    "picture",
    "read",
    "smoke_words",
    "subject_of",
    "title_of",
    "write",
]

MAX_BYTES = 5 * 1000 * 1000  # a page that can be sent by mail
PICTURE_SIZES = (192, 128, 96, 64)  # pixels a side, tried until the page fits


def write(report: Report, folder: str | Path) -> Path:
    """Writes report.json, scores.h5, panels.h5 and report.html; each appears whole or not at all.

    Parameters
    ----------
    report : Report
    folder : path
        Made where it does not exist.

    Returns
    -------
    Path
        Of report.html.

    Raises
    ------
    ValueError
        If a value is not JSON (NaN is not), a panel is unknown, or the page cannot be made small enough.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = _small_enough(report)
    _files.write(report, folder)
    with store.atomic_path(folder / "report.html") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def picture(
    report: Report,
    rows: Sequence[str] = ("presented", "reconstructed", "retrieved"),
    n_columns: int = 12,
    *,
    panels: Sequence[str] = (),
) -> bytes:
    """The first columns of a report's panels of pictures as one PNG, for a slide or a README.

    Of a panel with scores, as many of the best as of the worst, in the order of the scores.

    Parameters
    ----------
    report : Report
    rows : sequence of str
        Of each panel.
    n_columns : int
    panels : sequence of str
        Titles of panels (``"sub-01 fmri"``), one below the other; the first one alone by default.

    Raises
    ------
    ValueError
        If the report has no panel of pictures, or it lacks a row.
    """
    grids = {title: payload for title, kind, payload in report.panels if kind == "image_grid"}
    if not grids:
        raise ValueError("this report has no panel of pictures.")
    shown: dict[str, np.ndarray] = {}
    for title in panels or list(grids)[:1]:
        grid = checks.known_key("panel of pictures", title, grids)
        columns = _columns(grid, n_columns)
        for row in rows:
            pictures = checks.known_key("row of pictures", row, grid["rows"])[columns]
            shown[f"{title}\n{row}" if panels else row] = pictures
    return plots.image_grid(shown)


def _columns(payload: Mapping[str, Any], n_columns: int) -> np.ndarray:
    """Which items `picture` shows, int (at most n_columns,)."""
    n = len(next(iter(payload["rows"].values())))
    if not payload.get("scores"):
        return np.arange(min(n, n_columns))
    metric, values = next(iter(payload["scores"].items()))
    ranked = _gallery.better(np.asarray(values, dtype=float), lower=metric in payload.get("lower", ()))
    n_best, n_worst = -(-n_columns // 2), n_columns // 2
    return ranked if n <= n_columns else np.concatenate([ranked[:n_best], ranked[n - n_worst :]])


def read(folder: str | Path) -> Report:
    """The report that `write` left in a folder: scores with their samples, run and panels.

    Raises
    ------
    FileNotFoundError
        If there is no report.json.
    DataFileError
        If a file is damaged or belongs to another report.
    """
    return _files.read(Path(folder))


def _small_enough(report: Report) -> str:
    for size in PICTURE_SIZES:
        text = page(report, size)
        if len(text.encode()) <= MAX_BYTES:
            return text
    raise ValueError(
        f"report.html would have {len(text.encode()) / 1e6:.1f} MB with pictures of {PICTURE_SIZES[-1]} pixels; "
        f"it must stay below {MAX_BYTES / 1e6:g} MB. Show fewer pictures or panels."
    )
