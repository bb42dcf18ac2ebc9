"""Pages of the reference: a page for each room with its modules, and a page for each public module."""

from __future__ import annotations

import ast
from pathlib import Path

# Rooms in the order in which a trial passes them, and what is found there.
ROOMS = {
    "From files to trials": ("types", "data", "store", "protocols"),
    "Decoding": (
        "targets", "adapters", "backbones", "losses", "encoder", "train", "priors", "generators", "captioners",
        "decoder",
    ),
    "Judging": ("metrics", "stats", "evaluate", "plots", "report"),
    "Representations": ("encoding", "rdm", "similarity", "sparse", "maths"),
    "Running and sharing": (
        "recipe", "headers", "config", "registry", "convert", "hub", "weights", "explore", "stream", "serving",
    ),
}  # fmt: skip
REST = "Below"  # what stands in no list
UNLISTED = ("cli",)  # commands: `braindec --help`


def rooms(repository: Path) -> list[str]:
    """Names of the rooms and single modules of the library, without private ones."""
    found = repository / "braindec"
    packages = {p.parent.name for p in found.glob("*/__init__.py")}
    modules = {p.stem for p in found.glob("*.py")}
    return sorted(name for name in packages | modules if not name.startswith("_") and name not in UNLISTED)


def modules(repository: Path, room: str) -> list[str]:
    """Public modules of a room; none of a room that is one module."""
    return sorted(p.stem for p in (repository / "braindec" / room).glob("*.py") if not p.stem.startswith("_"))


def modules_of(repository: Path) -> dict[str, str]:
    """Address of each room's and module's page by its dotted name, from the top of the site."""
    found = {}
    for room in rooms(repository):
        found[f"braindec.{room}"] = f"reference/{room}.md"
        found |= {f"braindec.{room}.{m}": f"reference/{room}/{m}.md" for m in modules(repository, room)}
    return found


def navigation(repository: Path) -> list[object]:
    """The rooms that there are, by what they are for."""
    listed = [{head: [f"reference/{r}.md" for r in names]} for head, names in _placed(repository).items()]
    return ["reference/index.md", *listed]


def _placed(repository: Path) -> dict[str, list[str]]:
    """Rooms by what they are for; those that no list names come last."""
    there = rooms(repository)
    placed = {head: [r for r in names if r in there] for head, names in ROOMS.items()}
    named = {r for names in ROOMS.values() for r in names}
    return placed | {REST: [r for r in there if r not in named]}


def pages(repository: Path) -> dict[str, str]:
    """Markdown of each page by its address."""
    found = {"reference/index.md": _index(repository)}
    for room in rooms(repository):
        found[f"reference/{room}.md"] = _room(repository, room)
        for module in modules(repository, room):
            found[f"reference/{room}/{module}.md"] = _module(f"braindec.{room}.{module}")
    return found


def _index(repository: Path) -> str:
    """All rooms with their first line."""
    lines = [
        "# Reference",
        "Made of docstrings. Names that begin with `_` are nobody's but the module's own.",
    ]
    for head, names in _placed(repository).items():
        rows = [f"| [`braindec.{r}`]({r}.md) | {_first_line(_file(repository, r))} |" for r in names]
        lines += [f"## {head}", "\n".join(["| | |", "| --- | --- |", *rows])]
    return "\n\n".join(lines) + "\n"


def _room(repository: Path, room: str) -> str:
    rows = [
        f"| [`{m}`]({room}/{m}.md) | {_first_line(repository / 'braindec' / room / f'{m}.py')} |"
        for m in modules(repository, room)
    ]
    table = "\n".join(["| module | |", "| --- | --- |", *rows]) if rows else ""
    return (
        "\n\n".join(part for part in (_module(f"braindec.{room}"), table and "## Modules", table) if part)
        + "\n"
    )


def _module(name: str) -> str:
    return f"# `{name}`\n\n::: {name}\n"


def _file(repository: Path, room: str) -> Path:
    package = repository / "braindec" / room / "__init__.py"
    return package if package.is_file() else repository / "braindec" / f"{room}.py"


def _first_line(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return said.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
