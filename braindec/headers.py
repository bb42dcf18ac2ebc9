"""What the head of a recipe says, as fields: systems, needs, published and measured numbers, what did not help."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from braindec import checks

FIELDS = ("Systems", "Run", "Smoke", "Needs", "Published", "Measured", "Tried")
SECTIONS = ("Measured", "Smoke", "Tried")
NOT_MEASURED = "not measured"
_FIELD = re.compile(rf"^({'|'.join(FIELDS)}) {{2,}}(\S.*)$")
_SYSTEM = re.compile(r"^([A-H]\d{1,2}) (\S.*)$")


@dataclass(frozen=True)
class System:
    """A published system: the id of its row (``"A5"``) and its name."""

    id: str
    name: str


@dataclass(frozen=True)
class Header:
    """The head of a recipe's file, and the notes beside it.

    Parameters
    ----------
    name : str
    title : str
        The first line: what the recipe is, or what it asks.
    about : str
        Paragraphs between title and fields; may be empty.
    systems : tuple of System
        Published systems that it stands for; may be empty.
    run, smoke : tuple of str, str
        Commands.
    shows : str
        What a smoke run shows, with its null.
    needs, published, measured, tried : str
        `published` is the expected number with its protocol, or ``"none: why"``; `measured` is our own with n, chance,
        interval, null and machine, or ``"not measured: needs X"``; `tried` is what did not help.
    notes : mapping of str to str
        Markdown of ``notes/NAME.md`` by section (`SECTIONS`): tables, and what is too long for a header.
    path : Path
    """

    name: str
    title: str
    about: str
    systems: tuple[System, ...]
    run: tuple[str, ...]
    smoke: str
    shows: str
    needs: str
    published: str
    measured: str
    tried: str
    notes: Mapping[str, str]
    path: Path

    @property
    def is_measured(self) -> bool:
        """Whether the whole recipe was run, on the data that it names, and scored."""
        return not self.measured.startswith(NOT_MEASURED)


def folder() -> Path:
    """Where the recipes are: in an installed braindec, else beside it in the checkout."""
    inside = Path(__file__).parent / "_recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def names() -> list[str]:
    """Names of the recipes there are, sorted."""
    return sorted(p.stem for p in folder().glob("*.py") if not p.stem.startswith("_"))


def read_all() -> list[Header]:
    """The headers of all recipes, by name."""
    return [read(folder() / f"{name}.py") for name in names()]


def read(path: str | Path) -> Header:
    """The header of a recipe's file; nothing in it is run.

    Raises
    ------
    DataFileError
        If the file does not parse, a field is missing, given twice or empty, a system has no id, the smoke run has no
        command, or the notes hold an unknown section.
    """
    path = checks.existing_file(path, "List the recipes with: braindec list recipes.")
    name, title, about, fields = path.stem, *_parts(path)
    smoke, _, shows = " ".join(fields["Smoke"]).partition(": ")
    if smoke != f"braindec run {name} --smoke" or not shows:
        raise checks.DataFileError(
            path,
            f"says of its smoke run {smoke!r}",
            f"Write: Smoke  braindec run {name} --smoke: what it shows.",
        )
    said = {key: " ".join(lines) for key, lines in fields.items()}
    return Header(
        name, title, about, _systems(path, said["Systems"]), tuple(fields["Run"]), smoke, shows, said["Needs"],
        said["Published"], said["Measured"], said["Tried"], _notes(path), path,
    )  # fmt: skip


def _parts(path: Path) -> tuple[str, str, dict[str, list[str]]]:
    """Title, text and lines by field of a file's docstring."""
    try:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise checks.DataFileError(path, f"cannot be read ({error})", "Restore the recipe.") from error
    lines = (said or "").splitlines()
    begun = {i: found for i, line in enumerate(lines) if (found := _FIELD.match(line))}
    fields: dict[str, list[str]] = {}
    for start, stop in itertools.pairwise([*begun, len(lines)]):
        key, first = begun[start].groups()
        if key in fields:
            raise checks.DataFileError(path, f"says {key!r} twice", "Say every field once.")
        fields[key] = [first.strip(), *(line.strip() for line in lines[start + 1 : stop] if line.strip())]
    missing = [key for key in FIELDS if key not in fields]
    if missing or not lines:
        raise checks.DataFileError(path, f"says nothing of {missing}", f"Its docstring has {list(FIELDS)}.")
    return lines[0], "\n".join(lines[1 : next(iter(begun))]).strip(), fields


def _systems(path: Path, said: str) -> tuple[System, ...]:
    if said.startswith("none"):
        return ()
    matched = [_SYSTEM.match(one.strip()) for one in said.split(";")]
    if not all(matched):
        way_out = "Write: Systems  A1 MindEye; A2 MindEye2 (or: none, and why)."
        raise checks.DataFileError(path, f"names the systems {said!r}", way_out)
    return tuple(System(*m.groups()) for m in matched if m)


def _notes(path: Path) -> dict[str, str]:
    """Sections of the notes beside a recipe; none where there is no such file."""
    notes = path.parent / "notes" / f"{path.stem}.md"
    if not notes.is_file():
        return {}
    pieces = re.split(r"^## +(.+)$", notes.read_text(encoding="utf-8"), flags=re.MULTILINE)
    unknown = [head for head in pieces[1::2] if head not in SECTIONS]
    if unknown or pieces[0].strip():
        found = unknown or [pieces[0].strip().splitlines()[0]]
        raise checks.DataFileError(notes, f"holds {found}", f"Its sections are {list(SECTIONS)}.")
    return {head: text.strip() for head, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def markdown(headers: Sequence[Header] | None = None) -> str:
    """``recipes/README.md``: what it says of recipes at large, a table of them all, and each with its notes."""
    headers = read_all() if headers is None else headers
    about = checks.existing_file(folder() / "notes" / "_about.md", "Restore it.").read_text(encoding="utf-8")
    rows = ["| recipe | systems | measured |", "| --- | --- | --- |"]
    for one in headers:
        ids = ", ".join(s.id for s in one.systems) or "–"
        rows.append(f"| [{one.name}](#{one.name}) | {ids} | {one.measured.replace('|', chr(92) + '|')} |")
    made = "<!-- made of the recipes' headers and of recipes/notes by: make recipes-readme -->"
    return "\n\n".join([made, about.strip(), "\n".join(rows), *(_section(one) for one in headers)]) + "\n"


def _section(one: Header) -> str:
    """One recipe: title, commands, fields, notes."""
    systems = "; ".join(f"{s.id} {s.name}" for s in one.systems) or "none of the published ones"
    said = {
        "Systems": systems,
        "Needs": one.needs,
        "Published": one.published,
        "Measured": one.measured,
        "Smoke run": one.shows,
        "Tried": one.tried,
    }
    fields = "\n".join(f"- **{key}**: {text}" for key, text in said.items())
    commands = "\n".join(f"    {line}" for line in one.run)
    heads = {"Measured": "Measured, in full", "Smoke": "The smoke run", "Tried": "What was learnt"}
    notes = [f"### {heads[key]}\n\n{one.notes[key]}" for key in SECTIONS if key in one.notes]
    parts = [f"## {one.name}", one.title, one.about, commands, fields, *notes]
    return "\n\n".join(part for part in parts if part)
