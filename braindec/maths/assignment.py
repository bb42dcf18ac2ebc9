"""The one-to-one pairing of largest total similarity."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from braindec import checks


def assign(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of rows and columns whose similarities have the largest sum, each row and column at most once.

    Parameters
    ----------
    similarity : Tensor, shape (n, m)
        Any unit; finite.

    Returns
    -------
    rows, columns : Tensor of int64, shape (min(n, m),)
        Rows ascend; on the device of `similarity`.

    Notes
    -----
    Scipy's shortest augmenting paths, exact. To pair first what is mutually nearest is quicker where little is shared
    and misses the largest sum there (benchmarks/matching.py), so it is not done.
    """
    checks.n_axes("similarity", similarity, ("row", "column"))
    values = checks.finite("similarity", similarity.detach().cpu())
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()  # scipy knows no bfloat16
    rows, columns = linear_sum_assignment(values.numpy(), maximize=True)
    device = similarity.device
    return torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
