"""The page of a report: sections in a fixed order, each with what the report holds for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit

import braindec
from braindec import checks
from braindec.report import _audit, _blocks, _files, _gallery, _scores
from braindec.report._look import CSS
from braindec.report._thumbnails import Thumbnails
from braindec.types import Report

SECTIONS = {
    "headline": "At a glance",
    "fusion": "Where and when",
    "encoding": "Encoding map",
    "geometry": "Geometry over time",
    "latents": "Latents",
    "pictures": "Pictures",
    "scores": "Scores",
    "controls": "Controls",
    "brain": "Where in the brain",
    "training": "Training",
    "limits": "What this does not show",
    "config": "Config and versions",
}
CHIPS = ("recipe", "dataset", "protocol", "split", "machine", "seconds", "seed", "transductive", "date")


def page(report: Report, max_size: int = 192) -> str:
    """report.html as text: one file, nothing loaded from anywhere.

    Parameters
    ----------
    report : Report
        ``run["pages"]``, where there is one, leads to other pages: {label: address beside this page}. ``run["words"]``
        says what systems and the null are where they are no decoders and no refits: {"systems": {name: text},
        "null": text}.
    max_size : int
        Pixels a side to which larger pictures are reduced.

    Raises
    ------
    ValueError
        If a panel's kind or section is unknown, or its payload lacks an entry.
    """
    thumbnails = Thumbnails(max_size)
    content = _sections(report, thumbnails)
    title = escape(str(report.run.get("title") or report.run.get("recipe") or "Decoding report"))
    links = _pages(report.run) + "".join(f'<a href="#{key}">{SECTIONS[key]}</a>' for key in content)
    body = "".join(
        f'<section id="{key}"><h2>{SECTIONS[key]}</h2>{html}</section>' for key, html in content.items()
    )
    script = f"<script>{_gallery.SCRIPT}</script>" if 'class="gallery"' in body else ""
    policy = _policy(script, "<audio " in body)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{policy}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title} · braindec</title><link rel="icon" href="data:,"><style>{CSS}</style></head>\n<body>'
        f'<header class="page"><div><h1>{title}</h1>{_intro(report.run)}</div></header>\n'
        f"<nav><div>{links}</div></nav>\n<main>{body}{thumbnails.kept()}"
        f"<footer>Made by braindec {escape(braindec.__version__)}. The numbers of this page are in report.json, their "
        f"samples in scores.h5.</footer></main>{script}</body></html>\n"
    )


def _policy(script: str, sounds: bool = False) -> str:
    """What a browser lets the page do: show and play what it holds, run our one script, ask for nothing."""
    runs = "; media-src data:" if sounds else ""
    if script:
        digest = hashlib.sha256(_gallery.SCRIPT.encode()).digest()
        runs += f"; script-src 'sha256-{base64.b64encode(digest).decode()}'"
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{runs}; base-uri 'none'; form-action 'none'"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _sections(report: Report, thumbnails: Thumbnails) -> dict[str, str]:
    """HTML of each section that has something to show, in the order of the page."""
    content = dict.fromkeys(SECTIONS, "")
    content["scores"] = _scores.figures(report.scores) + _scores.table(report.scores, report.run.get("words"))
    for title, kind, payload in report.panels:
        section = (
            payload.get("section") or checks.known_key(f"kind of panel {title!r}", kind, _blocks.KINDS)[0]
        )
        checks.one_of(f"section of panel {title!r}", section, tuple(SECTIONS))
        content[section] += _blocks.block(title, kind, payload, thumbnails)
    content["controls"] += _audit.panel(report.run.get("audit"))
    content["headline"] += _scores.cards(report.scores)
    run = _files.plain(dict(report.run), "run")
    content["config"] += _blocks.block("This run", "config", {"tree": run}, thumbnails)
    return {key: html for key, html in content.items() if html}


def _intro(run: Any) -> str:
    summary = f'<p class="summary">{escape(str(run["summary"]))}</p>' if run.get("summary") else ""
    chips = "".join(
        f"<span><b>{key}</b>{escape(_short(run[key]))}</span>" for key in CHIPS if _short(run.get(key))
    )
    smoke = f'<p class="smoke">{escape(smoke_words(run))}</p>' if run.get("smoke") else ""
    told = (run.get("training") or {}).get("warning")
    smoke += f'<p class="smoke">{escape(str(told))}</p>' if told else ""
    command = f"<pre>{escape(str(run['command']))}</pre>" if run.get("command") else ""
    return f'{smoke}{summary}<div class="chips">{chips}</div>{command}'


def smoke_words(run: Mapping[str, Any]) -> str:
    """What stands first on the pages of a smoke run, so that nobody takes it for a finding."""
    data = "data that the recipe made up" if run.get("made_data") else "the data that were given"
    return (
        f"SMOKE RUN: small settings on {data}, to see that everything works. Its numbers are no result, and say "
        "nothing about a brain."
    )


def _pages(run: Any) -> str:
    """Links to the pages that belong to this one: they lie beside it, so both work from the file system."""
    out = []
    for label, address in (run.get("pages") or {}).items():
        if urlsplit(address).scheme or address.startswith("/"):
            raise ValueError(f"page {label!r} must be an address beside this page, got {address!r}.")
        out.append(f'<a class="page" href="{escape(address, quote=True)}">{escape(label)}</a>')
    return "".join(out)


def _short(value: Any) -> str:
    """A setting for a chip: text and numbers, or the name of a mapping."""
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return str(value) if isinstance(value, str | int) else ""
