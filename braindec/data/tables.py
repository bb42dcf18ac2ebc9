"""Columns that every trial table has, computed from those that a recording has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from braindec.types import UNKNOWN, Table


def repeats(stimulus_id: Iterable[str]) -> np.ndarray:
    """How often each trial's stimulus came before, int (n_trials,), in order of acquisition; 0 for unknown ones."""
    seen: dict[str, int] = {}
    out = []
    for key in stimulus_id:
        out.append(0 if key == UNKNOWN else seen.get(key, 0))
        seen[key] = seen.get(key, 0) + 1
    return np.array(out, dtype=np.int64)


def complete_table(columns: dict[str, np.ndarray], session: str) -> Table:
    """The table with every required column, filled where the source says nothing."""
    n = len(columns["stimulus_id"])
    columns = dict(columns)
    columns.setdefault("session", np.full(n, session))
    columns.setdefault("run", np.full(n, "1"))
    columns = {k: v.astype(str) if k in ("stimulus_id", "session", "run") else v for k, v in columns.items()}
    columns.setdefault("acquisition_order", np.arange(n))
    columns.setdefault("repeat", repeats(columns["stimulus_id"].tolist()))
    block = np.char.add(np.char.add(columns["session"], "/"), columns["run"])
    columns.setdefault("exchangeability_block", block)
    return Table(columns)
