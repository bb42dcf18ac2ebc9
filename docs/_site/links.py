"""Links of the repository's files, as GitHub follows them, led to the pages of the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

# Files of the root that are pages of the site.
ROOT = {
    "README.md": "readme-page.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "recipes/README.md": "recipes/measured.md",
}
FOLDERS = {"datasets": "datasets/index.md", "recipes": "recipes/index.md", "notebooks": "notebooks/index.md"}
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"(?P<code>`[^`\n]*`)|(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)"
)


def source_of(address: str) -> str:
    """Where the text of a page stands in the repository; a page that is made stands nowhere else than in `docs/`."""
    return next((path for path, page in ROOT.items() if page == address), f"docs/{address}")


def address_of(path: str, repository: Path) -> str | None:
    """The page (or picture) of the site that a path of the repository is shown as; None where there is none."""
    path = path.rstrip("/")
    parts = path.split("/")
    if path in ROOT:
        return ROOT[path]
    if path in FOLDERS:
        return FOLDERS[path]
    if parts[0] == "docs" and len(parts) > 1:
        return "/".join(parts[1:])
    if parts[0] == "datasets" and (parts[2:] in ([], ["README.md"])):
        return f"datasets/{parts[1]}.md"
    if parts[0] == "recipes" and len(parts) == 2 and path.endswith(".py"):
        return f"recipes/{parts[1].removesuffix('.py')}.md"
    if parts[0] == "notebooks" and path.endswith(".ipynb"):
        return f"notebooks/{parts[1].removesuffix('.ipynb')}.md"
    return None


def named(markdown: str, pages: Mapping[str, str]) -> str:
    """The text with names in code, where a page is about them, led to that page.

    Parameters
    ----------
    markdown : str
    pages : mapping of str to str
        Name to address, from where the text is shown.
    """
    pieces = FENCED.split(markdown)
    found = re.compile(r"(?<!\[)`([\w.]+)`(?!\])")
    led = [found.sub(lambda m: f"[{m[0]}]({pages[m[1]]})" if m[1] in pages else m[0], p) for p in pieces]
    return "".join(piece if i % 2 else led[i] for i, piece in enumerate(pieces))


def rewritten(markdown: str, folder: str, address: str, repository: Path) -> str:
    """The text with each link to a file of the repository led to its page; where it has none, its words stay.

    Parameters
    ----------
    markdown : str
    folder : str
        Of the file the text is from, from the repository's root.
    address : str
        Of the page.
    repository : Path
    """

    def led(match: re.Match[str]) -> str:
        to, anchor = match["to"], match["anchor"] or ""
        if match["code"] or not to or re.match(r"[a-z]+:", to):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, to))
        page = address_of(path, repository)
        if page is None:
            if not (repository / path).exists():
                return match[0]  # mkdocs says that it leads nowhere
            return match["text"]
        relative = posixpath.relpath(page, posixpath.dirname(address) or ".")
        return f"{match['image']}[{match['text']}]({relative}{anchor})"

    pieces = FENCED.split(markdown)
    return "".join(piece if i % 2 else LINK.sub(led, piece) for i, piece in enumerate(pieces))
