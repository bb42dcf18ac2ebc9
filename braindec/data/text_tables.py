"""Tables of text (csv, tsv) as somebody else distributes them: a missing column or a word for a number says where."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading


def rows(
    path: str | Path, columns: Sequence[str], *, delimiter: str = ",", way_out: str = COPY_AGAIN
) -> list[dict[str, str]]:
    """The rows of a table whose first line names its columns; the first of them is line 2 of the file.

    Parameters
    ----------
    path : path
    columns : sequence of str
        That must be there.
    delimiter : str
    way_out : str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataFileError
        If the file cannot be read, has no row or lacks a column; says which it has.
    """
    path = checks.existing_file(path, way_out)
    with reading(path, csv.Error), path.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file, delimiter=delimiter))
    lacking = [c for c in columns if not found or c not in found[0]]
    if lacking:
        there = sorted(map(str, found[0])) if found else "no row"
        raise checks.DataFileError(path, f"lacks the columns {lacking}; it has {there}", way_out)
    return found


def seconds(
    path: Path, line: int, row: Mapping[str, str], column: str, *, way_out: str = COPY_AGAIN
) -> float:
    """A cell as seconds from a beginning, >= 0; anything else is refused with its line."""
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        found = f"line {line}: {column} is {row[column]!r}, expected seconds"
        raise checks.DataFileError(path, found, way_out)
    return value
