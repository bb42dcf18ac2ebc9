"""A run to look around in: pictures, neighbours, latents, distances, maps and scores, on a page that asks nobody."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import braindec
from braindec import plots, report, store
from braindec.explore import _figures, _latents, _page, _pictures, _scores, _source
from braindec.explore._sheets import Sheets

__all__ = ["write"]


def write(run: str | Path, folder: str | Path) -> Path:
    """Writes the explorer of a run as a folder that opens from disk as from a server.

    Parameters
    ----------
    run : path
        Folder with report.json (and scores.h5, panels.h5).
    folder : path
        Becomes the explorer: made where it does not exist, replaced where it is one. Files of any other folder are
        not touched.

    Returns
    -------
    Path
        Of index.html.

    Raises
    ------
    FileNotFoundError
        If the run has no report.
    FileExistsError
        If the folder holds something else.
    DataFileError
        If a file of the run is damaged.
    """
    run, folder = Path(run), Path(folder)
    pages = _source.pages(run)
    _page.check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary) / "explorer"
        _fill(pages, run, made)
        if folder.is_dir():
            shutil.rmtree(folder)
        made.rename(folder)
    return folder / "index.html"


def _fill(pages: list[_source.Page], run: Path, folder: Path) -> None:
    for place in ("pictures", "figures"):
        (folder / place).mkdir(parents=True)
    sheets = Sheets()
    pictures, retrieval = _pictures.pictures(pages, sheets), _pictures.retrieval(pages, sheets)
    latents = _latents.latents(pages, sheets)
    shots = {
        item["name"]: ref for item in pictures.items for label, ref in item["shots"] if label == "presented"
    }
    gallery = retrieval.more["gallery"]
    shots |= {n: s for n, s in zip(gallery["names"], gallery["shots"], strict=True) if s is not None}
    figures = _figures.views(pages, folder / "figures", shots)
    *first, rest = figures
    views = [pictures, retrieval, latents, *first, _scores.scores(pages), rest]
    own = pages[0].report.run
    data: dict[str, Any] = {
        "title": str(own.get("title") or own.get("recipe") or run.name),
        "summary": str(own.get("summary") or ""),
        "command": str(own.get("command") or ""),
        "smoke": report.smoke_words(own) if own.get("smoke") else "",
        "version": braindec.__version__,
        "about": _page.about(own),
        "limits": _page.limits(pages),
        "sheets": sheets.write(folder / "pictures"),
        "colours": plots.colour_table(),
        "views": [view.to_json() for view in views],
    }
    with store.atomic_path(folder / "data.js") as temporary:
        temporary.write_text(_page.script(data), encoding="utf-8")
    _page.write(folder, data["title"])
