"""Sums and means over groups of rows."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def group_means(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Mean over the rows of each group, float64 (n_groups, ...).

    Parameters
    ----------
    values : float array, shape (n, ...)
    group : int array, shape (n,)
        In [0, n_groups); every group has a row.
    n_groups : int
    """
    members = sparse.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), (n_groups, len(group)))
    sums = members @ values.reshape(len(values), -1)  # rows in their order, as a loop would add them
    counts = np.bincount(group, minlength=n_groups)
    return (sums / counts[:, None]).reshape(n_groups, *values.shape[1:])
