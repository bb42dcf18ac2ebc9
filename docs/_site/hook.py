"""What mkdocs calls while it builds the site: pages made of the repository's own files, and links between them.

Cards of datasets, headers of recipes, notebooks, docstrings and the files that GitHub shows (README, CONTRIBUTING, ...)
are pages of the site; none is copied into `docs/`.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import gathered
import links
import reference
import tables
from cells import notebook_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]
NAMING = ("systems.md", "choose-a-recipe.md")  # pages whose names of recipes and modules are links


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation of mkdocs.yml with pages that are made here in place of its folders' names."""
    made = {
        folder: gathered.navigation(REPOSITORY, folder) for folder in ("datasets", "recipes", "notebooks")
    }
    made["reference"] = reference.navigation(REPOSITORY)
    config.nav = _without_empty(_filled(config.nav or [], made))
    return config


def _filled(nav: list[Any], made: dict[str, list[Any]]) -> list[Any]:
    """The navigation with each ``"FOLDER/*"`` replaced by the pages of that folder."""
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            kept = {k: v for k, v in entry.items() if isinstance(v, list) or _is_page(v)}
            found += [{k: _filled(v, made) if isinstance(v, list) else v} for k, v in kept.items()]
        elif str(entry).endswith("/*"):
            found += made[entry.removesuffix("/*")]
        elif _is_page(entry):
            found.append(entry)
    return found


def _is_page(address: str) -> bool:
    """Whether there is such a page; not every version of the repository has every one that has a place."""
    return address in links.ROOT.values() or (REPOSITORY / "docs" / address).is_file()


def _without_empty(nav: list[Any]) -> list[Any]:
    """The navigation without headings that nothing stands under."""
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            kept = {k: _without_empty(v) if isinstance(v, list) else v for k, v in entry.items()}
            found += [{k: v} for k, v in kept.items() if v]
        else:
            found.append(entry)
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of `docs/` and the pages made of others."""
    pages = {
        **gathered.pages(REPOSITORY),
        **notebook_pages(REPOSITORY),
        **reference.pages(REPOSITORY),
    }
    for address, content in pages.items():
        files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with tables made of objects, and with links that lead to pages of the site."""
    filled, address = tables.filled(markdown), page.file.src_uri
    if address in NAMING:
        filled = links.named(filled, {**gathered.recipes(), **reference.modules_of(REPOSITORY)})
    source = gathered.SOURCES.get(address) or links.source_of(address)
    return links.rewritten(filled, posixpath.dirname(source), address, REPOSITORY)


@event_priority(-100)  # after the search has written its index
def on_post_build(config: MkDocsConfig) -> None:
    """The index of the search as a script too: pages opened from the disk may read no other file."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    index.with_suffix(".js").write_text(f"var __index = {index.read_text()}")
