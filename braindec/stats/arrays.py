"""Tensors and arrays of any precision as float64 numpy arrays, in which all statistics are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks

ArrayLike = Tensor | np.ndarray | Sequence[float]


def as_float64(name: str, values: ArrayLike, axes: Sequence[str] = ("unit",)) -> np.ndarray:
    """The values as a float64 array with the named axes, without NaN and not empty.

    Raises
    ------
    ValueError
        If the number of axes differs, nothing is there, or an entry is not finite.
    """
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    checks.n_axes(name, array, axes)
    checks.at_least(f"number of values in {name}", array.size, 1)
    return checks.finite(name, array)


def as_labels(name: str, labels: Any, n: int) -> np.ndarray:
    """One integer per row, 0..n_groups-1, equal for equal labels; a ValueError when their number is not `n`.

    A label of several parts (subject and run, as a tuple or a row) is one label.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    checks.same_length("row", values=range(n), **{name: array})
    return np.unique(array, axis=None if array.ndim == 1 else 0, return_inverse=True)[1].reshape(-1)
