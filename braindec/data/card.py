"""The card of a dataset: README.md whose YAML front matter a program reads and whose text a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.data.damage import reading

# What every card says, and the kind of each value.
REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "name": str,  # the folder's name
    "title": str,
    "modality": list,  # fmri, eeg, meg, ...
    "subjects": int,
    "licence": str,
    "access": str,  # open | request | generated, and how
    "source": str,  # where the files come from
    "full_data": str,  # where a user gets the complete data
    "citation": str,
    "size": str,  # of the raw files that prepare reads
    "in_a_line": dict,  # what `braindec list datasets` shows, see IN_A_LINE
    "files": list,  # raw files or patterns that prepare reads
    "counts": dict,  # key -> trials, and n_stimuli
    "splits": dict,  # name -> what is held out
    "known_issues": list,
}

# Short enough to be shown beside each other: trials of a subject, the raw files' size, licence and access.
IN_A_LINE: Mapping[str, int] = {
    "trials": 14,
    "size": 10,
    "licence": 13,
    "access": 9,
}  # most characters of each


@dataclass(frozen=True)
class Card:
    """A dataset's card.

    Parameters
    ----------
    facts : mapping
        The front matter: every key of `REQUIRED`, and any further ones.
    text : str
        The Markdown below it.
    path : Path
    """

    facts: Mapping[str, Any]
    text: str
    path: Path


def read_card(path: str | Path) -> Card:
    """The card in a README.md.

    Raises
    ------
    DataFileError
        If there is no front matter, it is not YAML, or a key is missing, of another kind or empty.
    """
    import yaml

    path = checks.existing_file(path, "Every dataset's folder holds its card, README.md.")
    with reading(path, way_out="Restore the card."):
        content = path.read_text(encoding="utf-8")
    opening, _, rest = content.partition("---\n")
    front, closing, text = rest.partition("\n---\n")
    if opening or not closing:
        raise checks.DataFileError(
            path, "has no front matter between two lines '---'", "See datasets/haxby2001/README.md."
        )
    try:
        # References to earlier parts can unfold a page of text into more than any memory holds.
        if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(front)):
            found = "has references (& and *) in its front matter"
            raise checks.DataFileError(path, found, "Write out what they stand for.")
        facts = yaml.safe_load(front)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, checks.DataFileError):
            raise
        found = f"has front matter that is not YAML ({str(error).splitlines()[0]})"
        raise checks.DataFileError(path, found, "Correct it.") from error
    faults = problems(facts, path.parent.name)
    if faults:
        raise checks.DataFileError(path, "; ".join(faults), "Complete the front matter.")
    return Card(facts, text.strip(), path)


def problems(facts: Any, folder: str) -> list[str]:
    """What a card's front matter lacks or has wrong; empty when it is complete."""
    if not isinstance(facts, dict):
        return ["the front matter is no mapping"]
    found = [f"{key} is missing" for key in REQUIRED if key not in facts]
    for key, kind in REQUIRED.items():
        if key in facts and (
            not isinstance(facts[key], kind) or (facts[key] in ("", [], {}) and key != "known_issues")
        ):
            found.append(f"{key} must be {getattr(kind, '__name__', kind)} and not empty, got {facts[key]!r}")
    if isinstance(facts.get("in_a_line"), dict):
        found += _in_a_line(facts["in_a_line"])
    if not found and facts["name"] != folder:
        found.append(f"name is {facts['name']!r} but the folder is {folder!r}")
    return found


def _in_a_line(said: Mapping[str, Any]) -> list[str]:
    found = [f"in_a_line has no {key}" for key in IN_A_LINE if not said.get(key)]
    long = [key for key, most in IN_A_LINE.items() if len(str(said.get(key, ""))) > most]
    return found + [f"in_a_line: {key} has more than {IN_A_LINE[key]} characters" for key in long]
