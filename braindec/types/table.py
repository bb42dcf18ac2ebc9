"""A frozen table of named numpy columns of one length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from braindec import checks


class Table(Mapping[str, np.ndarray]):
    """Named columns, read-only, one row a trial (or event).

    Parameters
    ----------
    columns : mapping of str to array-like, each shape (n_rows,)
        Text columns are kept as numpy unicode, numbers as they come; object columns are refused.
    """

    def __init__(self, columns: Mapping[str, Any]):
        kept: dict[str, np.ndarray] = {}
        for name, values in columns.items():
            column = np.array(values)
            if column.ndim != 1 or column.dtype == object:
                raise ValueError(
                    f"column {name!r} must be one axis of text or numbers, got {column.dtype} {column.shape}."
                )
            column.flags.writeable = False
            kept[name] = column
        if kept:
            checks.same_length("row", **kept)
        self._columns = kept

    def __getitem__(self, name: str) -> np.ndarray:
        return checks.known_key("column", name, self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def n_rows(self) -> int:
        """Number of rows (0 without columns)."""
        return len(next(iter(self._columns.values()))) if self._columns else 0

    def take(self, rows: np.ndarray) -> Table:
        """The rows selected by a boolean mask or by positions, in that order."""
        return Table({name: column[rows] for name, column in self._columns.items()})

    def replace(self, **columns: Any) -> Table:
        """A copy with columns added or replaced."""
        return Table({**self._columns, **columns})

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(dict(self._columns))

    def __repr__(self) -> str:
        return f"Table({self.n_rows} rows: {', '.join(self._columns)})"


def texts(name: str, values: Sequence[Any] | np.ndarray, way_out: str) -> np.ndarray:
    """Names as text, shape (n,): text as it is, bytes decoded, whole numbers as their digits.

    Raises
    ------
    ValueError
        If one is missing (None, NaN), or they are no names: `way_out` says what then. Fractions are none.
    """
    refuse_missing(name, values, way_out)
    found = np.asarray(values)
    if found.dtype == object:
        found = np.array([as_text(v) for v in found.tolist()]) if found.ndim == 1 else found
    if found.ndim != 1 or found.dtype.kind not in "iuUS":
        raise ValueError(
            f"{name} must be names or whole numbers along one axis, got {found.dtype} {found.shape}."
        )
    return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found.astype(str)


def refuse_missing(name: str, values: Any, way_out: str) -> None:
    """Refuses None, NaN and NaT, which would become the names 'None' and 'nan'."""
    items = values.tolist() if hasattr(values, "tolist") else list(values)
    missing = [i for i, value in enumerate(items) if is_missing(value)] if isinstance(items, list) else []
    if missing:
        raise ValueError(
            f"{name} has no value in {len(missing)} of {len(items)} places, first {missing[0]} (counted from 0), "
            f"{items[missing[0]]!r}. {way_out}"
        )


def is_missing(value: Any) -> bool:
    """Whether it stands for a value that is not there, in Python, numpy or pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def as_text(value: Any) -> str:
    """A cell as text: bytes decoded, ``"nan"`` where there is no value."""
    if is_missing(value):
        return "nan"
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
