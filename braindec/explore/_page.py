"""The files of an explorer that hold no picture: the page, its scripts and style, and the data as a script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from braindec import report
from braindec.explore._source import Page

MARK = "explorer.txt"  # says that a folder is an explorer, and may be replaced by a new one
SCRIPTS = ("core.js", "list.js", "cards.js", "detail.js", "main.js")
ABOUT = ("recipe", "dataset", "protocol", "split", "seed", "seconds", "date")
# As a folder on disk the page has the address file:, which not every browser counts as 'self'.
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)


def check_free(folder: Path) -> None:
    """Refuses a folder with anything in it but an explorer."""
    if folder.exists() and not (folder.is_dir() and ((folder / MARK).is_file() or not any(folder.iterdir()))):
        raise FileExistsError(
            f"{folder} holds something else than an explorer; name a new folder, or an empty one, with --out."
        )


def script(data: Mapping[str, Any]) -> str:
    """The data as a script: opened from disk a page may not read files, but may run them.

    Nothing in it can end a script or begin a tag, whatever names a dataset holds: ``<``, ``>``, ``&`` and all that is
    not ASCII are escaped. It is read as JSON, where ``__proto__`` is a name like others. NaN is refused by a
    ValueError.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f'"use strict";\nconst BRAINDEC = JSON.parse({json.dumps(text)});\n'


def write(folder: Path, title: str) -> None:
    """index.html, style and scripts."""
    own = resources.files("braindec.explore") / "static"
    scripts = "".join(f'<script src="{name}" defer></script>' for name in ("data.js", *SCRIPTS))
    (folder / "index.html").write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)} · braindec explorer</title>"
        f'<link rel="icon" href="icon.svg"><link rel="stylesheet" href="explorer.css">{scripts}</head>\n'
        '<body><noscript><p class="nothing">This page draws with JavaScript, all of it beside this file.</p></noscript>'
        "</body></html>\n",
        encoding="utf-8",
    )
    themes = "".join(
        f':root[data-theme="{name}"] {{ color-scheme: {name}; {values} }}\n'
        for name, values in (("light", report.LIGHT), ("dark", report.DARK))
    )
    style = report.CSS + themes + (own / "explorer.css").read_text(encoding="utf-8")
    (folder / "explorer.css").write_text(style, encoding="utf-8")
    for name in (*SCRIPTS, "icon.svg"):
        (folder / name).write_text((own / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / MARK).write_text("Made by: braindec explore. Open index.html.\n", encoding="utf-8")


def about(run: Mapping[str, Any]) -> list[list[str]]:
    """What made a run, as [name, value]."""
    told = []
    for name in ABOUT:
        value = run.get(name)
        value = value.get("name") if isinstance(value, Mapping) else value
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            told.append([name, f"{value:.0f}" if isinstance(value, float) else str(value)])
    return told


def limits(pages: Sequence[Page]) -> list[str]:
    """What the run's pages say that they do not show."""
    found: list[str] = []
    for page in pages:
        for _, kind, payload in page.report.panels:
            if kind == "text" and payload.get("section") == "limits":
                text = payload["text"]
                found += [text] if isinstance(text, str) else [str(line) for line in text]
    return list(dict.fromkeys(line.removeprefix("- ") for line in found))
