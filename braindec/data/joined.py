"""Several arrays that are read by rows, one after the other, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class JoinedRows:
    """Rows of the parts, one part after the other, still read on demand.

    Parameters
    ----------
    parts : sequence of arrays or anything with ``shape`` and ``[positions]``
        Equal but for their number of rows.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, parts: Sequence[Any]):
        self.parts = tuple(parts)
        shapes = {tuple(part.shape[1:]) for part in self.parts}
        if len(shapes) != 1:
            raise ValueError(f"parts to join have rows of the shapes {sorted(shapes)}; they must match.")
        self._first = np.concatenate([[0], np.cumsum([part.shape[0] for part in self.parts])])
        self.shape: tuple[int, ...] = (int(self._first[-1]), *shapes.pop())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions, float32."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        of = np.searchsorted(self._first, wanted, side="right") - 1
        for p in np.unique(of).tolist():
            places = np.flatnonzero(of == p)
            out[places] = self.parts[p][wanted[places] - self._first[p]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)
