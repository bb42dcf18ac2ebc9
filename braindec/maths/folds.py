"""Cross-validation folds as tensors of held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks

Folds = tuple[Tensor, ...]


def folds_by_count(n: int, n_folds: int, generator: torch.Generator | None = None) -> Folds:
    """Rows 0..n-1 in `n_folds` parts of nearly equal size.

    Parameters
    ----------
    n : int
        Number of rows.
    n_folds : int
        In [2, n].
    generator : torch.Generator or None
        None takes neighbouring rows together, which suits a time axis; a generator shuffles the rows first.

    Returns
    -------
    tuple of int64 Tensor
        Sorted held-out rows of each fold.
    """
    checks.in_range("n_folds", n_folds, 2, n)
    order = (
        torch.arange(n)
        if generator is None
        else torch.randperm(n, generator=generator, device=generator.device)
    )
    return tuple(part.sort().values for part in order.cpu().tensor_split(n_folds))


def folds_by_group(groups: Sequence[Any] | np.ndarray | Tensor) -> Folds:
    """One fold per group: leave one run, session or subject out.

    Parameters
    ----------
    groups : sequence, length n
        The group of each row; at least two different ones.

    Returns
    -------
    tuple of int64 Tensor
        In the sorted order of the group labels.
    """
    labels = groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    names, member = np.unique(labels, return_inverse=True)
    checks.at_least("number of groups", len(names), 2)
    return tuple(torch.from_numpy(np.flatnonzero(member == i)) for i in range(len(names)))


def complement(n: int, held_out: Tensor) -> Tensor:
    """Rows of 0..n-1 that are not held out, ascending."""
    kept = torch.ones(n, dtype=torch.bool)
    kept[held_out.cpu()] = False
    return kept.nonzero().flatten()
