"""What ZuCo 1.0 says of its sentences: sentiment of film reviews, relations of Wikipedia's, joined by their text."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading

# Column of the stimuli -> files (the first one that knows a sentence counts) and what their column is called.
FILES = {
    "sentiment": ("sentiment_labels_task1.csv",),
    "relation": ("relations_labels_task3.csv", "relations_labels_task2.csv"),
}
COLUMNS = {
    "sentiment": ("sentiment_label",),
    "relation": ("relation-type", "relation_types", "relation_type"),
}
SENTIMENTS = {"-1": "negative", "0": "neutral", "1": "positive"}


def labels(raw: Path) -> tuple[dict[str, dict[str, str]], list[Path]]:
    """Labels by column and by text (`plain`), of the columns that a file is there for; and those files.

    Delimiters are ``;`` or ``,``, as the first line has more of; lines that begin with ``#`` are remarks; rows may have
    a cell more at their beginning than the first line names. A sentence with two different labels in a file has none.

    Raises
    ------
    DataFileError
        If a file cannot be read, lacks its columns, or knows no label.
    """
    there = {path.name: path for path in sorted(raw.rglob("*_labels_task*.csv"))}
    found: dict[str, dict[str, str]] = {}
    for column, names in FILES.items():
        for name in names:
            if name in there:
                read = _read(there[name], column)
                found[column] = read | found.get(column, {})
    return found, [there[name] for names in FILES.values() for name in names if name in there]


def plain(text: str) -> str:
    """A sentence as it is compared: single blanks, no quotes around it or doubled in it."""
    return " ".join(text.replace('""', '"').strip().strip('"').split())


def said(found: dict[str, dict[str, str]], runs: dict[str, set[str]]) -> list[str]:
    """How many sentences (their texts by task) of SR and of NR and TSR have no label, where a file was there."""
    lines = []
    for column, tasks in (("sentiment", ("SR",)), ("relation", ("NR", "TSR"))):
        texts = {plain(text) for task in tasks for text in runs.get(task, ())}
        lacking = len(texts - set(found.get(column, {})))
        if column in found and lacking:
            lines.append(f"{lacking} of {len(texts)} sentences of {' and '.join(tasks)} without {column}.")
    return lines


def _read(path: Path, column: str) -> dict[str, str]:
    with reading(path, csv.Error), path.open(encoding="utf-8-sig", newline="") as file:
        lines = [line for line in file if line.strip()]
    delimiter = ";" if lines and lines[0].count(";") >= lines[0].count(",") else ","
    with reading(path, csv.Error):
        head, *rows = list(csv.reader(_without_remarks(lines), delimiter=delimiter)) or [[]]
    head = [name.strip().lstrip("#") for name in head]
    named = next((i for i, name in enumerate(head) if name in COLUMNS[column]), None)
    if named is None or "sentence" not in head:
        raise checks.DataFileError(
            path, f"lacks 'sentence' or {COLUMNS[column][0]!r}; it has {head}", COPY_AGAIN
        )
    made: dict[str, set[str]] = {}
    for row in rows:
        more = len(row) - len(
            head
        )  # published rows of task 3 have a cell more at their beginning than the first line
        if more in (0, 1):
            label = row[named + more].strip()
            label = SENTIMENTS.get(label.removesuffix(".0"), "") if column == "sentiment" else label
            if label:
                made.setdefault(plain(row[head.index("sentence") + more]), set()).add(label)
    if not made:
        raise checks.DataFileError(path, f"holds no {column}", COPY_AGAIN)
    return {text: next(iter(known)) for text, known in made.items() if len(known) == 1}


def _without_remarks(lines: Iterable[str]) -> list[str]:
    kept = list(lines)
    return kept[:1] + [line for line in kept[1:] if not line.startswith("#")]
