"""Pages made of dataset cards, recipe headers and the files of the repository's root."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import links

from braindec import headers
from braindec.data import card

ABOUT_DATASETS = """\
Each folder of `datasets/` is a card and a `prepare.py`. `braindec prepare NAME --raw DIR --out DIR` reads the raw files
that the card names; `--dry-run` says first what would be read and what is missing. No recording is shipped, and none is
redistributed: the cards say where they are had, and under which terms. Every `prepare.py` is tested on a miniature that
it writes itself in the dataset's own format; [what the recipes measured](../recipes/measured.md) says which were run on
the real files."""
ABOUT_RECIPES = """\
A recipe is one experiment in one file: every setting, what makes it small, and the path from data to report.
`braindec run NAME --smoke` runs one on small data of its dataset's own format, where it has to beat its null refitted
on shuffled pairs and its shuffled twin: the tests run all of them so. [How to choose one](../choose-a-recipe.md),
[what they measured](measured.md), [which published system is which](../systems.md)."""
FACTS = ("modality", "subjects", "licence", "access", "size", "source", "full_data", "citation")
NOTES = {"Measured": "Measured, in full", "Smoke": "The smoke run", "Tried": "What was learnt"}
SOURCES: dict[str, str] = {}  # address of a page -> file of the repository that its text is from


def pages(repository: Path) -> dict[str, str]:
    """Markdown of each page by its address."""
    found = {page: (repository / path).read_text() for path, page in links.ROOT.items()}
    for path in _cards(repository):
        found[f"datasets/{path.parent.name}.md"] = _dataset(path)
        SOURCES[f"datasets/{path.parent.name}.md"] = f"datasets/{path.parent.name}/README.md"
    for one in headers.read_all():
        found[f"recipes/{one.name}.md"] = _recipe(one)
        SOURCES[f"recipes/{one.name}.md"] = f"recipes/notes/{one.name}.md"
    return found | {"datasets/index.md": _datasets(repository), "recipes/index.md": _recipes()}


def navigation(repository: Path, folder: str) -> list[Any]:
    """Entries of a folder's pages."""
    if folder == "datasets":
        found = [p.parent.name for p in _cards(repository)]
    elif folder == "notebooks":
        found = sorted(p.stem for p in repository.glob("notebooks/*.ipynb"))
    else:
        found = ["measured", *headers.names()]
    return [f"{folder}/{name}.md" for name in ("index", *found)]


def recipes() -> dict[str, str]:
    """Address of each recipe's page, in the repository, by its name."""
    return {name: f"../recipes/{name}.py" for name in headers.names()}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; cells are taken as they are."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cards(repository: Path) -> list[Path]:
    return sorted(repository.glob("datasets/*/README.md"))


def _dataset(path: Path) -> str:
    """A card: its text, then its facts."""
    read = card.read_card(path)
    facts, text = read.facts, re.sub(r"\A\s*# .*\n", "", read.text)
    parts = [
        f"# {facts['name']}",
        f"*{facts['title']}*",
        table(["", ""], ([key.replace("_", " "), _cell(facts[key])] for key in FACTS)),
        text.strip(),
        "## Splits",
        table(["split", "what is held out"], ([f"`{k}`", _cell(v)] for k, v in facts["splits"].items())),
        "## What is counted",
        table(["", ""], ([f"`{k}`", _cell(v)] for k, v in facts["counts"].items())),
        "## Known issues",
        "\n".join(f"- {_cell(one)}" for one in facts["known_issues"]),
        "## Files that are read",
        "\n".join(f"- `{one}`" for one in facts["files"]),
    ]
    return "\n\n".join(parts) + "\n"


def _datasets(repository: Path) -> str:
    """All cards in a table, as `braindec list datasets` has them."""
    rows = []
    for path in _cards(repository):
        facts = card.read_card(path).facts
        name, short = facts["name"], facts["in_a_line"]
        size = [str(facts["subjects"]), short["trials"], short["size"], short["access"]]
        rows.append([f"[{name}]({name}.md)", _cell(facts["title"]), " ".join(facts["modality"]), *size])
    head = ["dataset", "what", "modality", "subjects", "trials of one", "size", "access"]
    return f"# Datasets\n\n{ABOUT_DATASETS}\n\n{table(head, rows)}\n"


def _recipe(one: headers.Header) -> str:
    """A recipe: what its header says, its notes, and the file itself."""
    named = "; ".join(f"[{s.id}](../systems.md#{s.id.lower()}) {s.name}" for s in one.systems)
    said = {
        "Needs": one.needs,
        "Published": one.published,
        "Measured": one.measured,
        "Smoke run": one.shows,
        "Tried": one.tried,
    }
    rows = [
        ["Systems", named or "none of the published ones"],
        *([key, _cell(text)] for key, text in said.items()),
    ]
    parts = [
        f"# {one.name}",
        f"*{one.title}*",
        one.about,
        "```sh\n" + "\n".join([*one.run, one.smoke]) + "\n```",
        table(["", ""], rows),
        *(f"## {NOTES[key]}\n\n{one.notes[key]}" for key in headers.SECTIONS if key in one.notes),
        "## The whole recipe",
        f'```python title="recipes/{one.name}.py"\n{one.path.read_text()}```',
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _recipes() -> str:
    """All recipes in a table."""
    rows = []
    for one in headers.read_all():
        named = ", ".join(f"[{s.id}](../systems.md#{s.id.lower()})" for s in one.systems)
        rows.append([f"[{one.name}]({one.name}.md)", _cell(one.title), named or "–"])
    return f"# Recipes\n\n{ABOUT_RECIPES}\n\n{table(['recipe', 'what', 'systems'], rows)}\n"


def _cell(value: Any) -> str:
    """A fact in a cell of a table: nothing in it is markup but code and addresses."""
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {_cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    pieces = re.split(r"(`[^`]*`|https?://[^\s;,()]*[^\s;,().])", " ".join(str(value).split()))
    return "".join(_shown(p) if i % 2 else re.sub(r"([|\[\]*<])", r"\\\1", p) for i, p in enumerate(pieces))


def _shown(piece: str) -> str:
    """Code as it is, an address as a link."""
    return piece.replace("|", "\\|") if piece.startswith("`") else f"<{piece}>"
