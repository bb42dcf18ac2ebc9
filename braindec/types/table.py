"""A frozen table of named numpy columns of one length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
