"""What an object is, as a small table for a notebook: every word escaped, no style or script from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

CELL = 'style="text-align:left;padding:0.1em 0.8em 0.1em 0;border:0;background:none"'
MAX_CHARACTERS = 120  # of a cell: an outline is no dump


def words(value: Any, limit: int = MAX_CHARACTERS) -> str:
    """A value as short text: numbers with three digits, sequences joined by commas, long text cut off."""
    if isinstance(value, float):
        text = f"{value:.3g}"
    elif isinstance(value, list | tuple | set | frozenset):
        text = ", ".join(words(v) for v in value)
    else:
        text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def pairs(title: str, rows: Mapping[str, Any]) -> str:
    """HTML of named values, a line each.

    Parameters
    ----------
    title : str
    rows : mapping of str to anything
        Shown by `words`; None is left out.
    """
    said = [(name, value) for name, value in rows.items() if value is not None]
    return grid(title, (), said)


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """HTML of a table; the first cell of a row is its name.

    Parameters
    ----------
    title : str
    columns : sequence of str
        Heads; none for a table without.
    rows : iterable of sequences
        Cells, shown by `words`.
    """
    head = "".join(f"<th {CELL}>{escape(words(c))}</th>" for c in columns)
    body = "".join(_row(row) for row in rows)
    top = f"<tr>{head}</tr>" if columns else ""
    return f'<div class="braindec"><b>{escape(words(title))}</b><table>{top}{body}</table></div>'


def _row(cells: Sequence[Any]) -> str:
    first, *rest = (escape(words(cell)) for cell in cells)
    return f"<tr><th {CELL}>{first}</th>" + "".join(f"<td {CELL}>{cell}</td>" for cell in rest) + "</tr>"


def text_grid(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The same table as text, columns aligned, for `print`."""
    table = [[words(c) for c in columns], *([words(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in table]
    return "\n".join(line.rstrip() for line in lines)
