"""Columns that every trial table has, computed from those that a recording has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from braindec.types import UNKNOWN


def repeats(stimulus_id: Iterable[str]) -> np.ndarray:
    """How often each trial's stimulus came before, int (n_trials,), in order of acquisition; 0 for unknown ones."""
    seen: dict[str, int] = {}
    out = []
    for key in stimulus_id:
        out.append(0 if key == UNKNOWN else seen.get(key, 0))
        seen[key] = seen.get(key, 0) + 1
    return np.array(out, dtype=np.int64)
