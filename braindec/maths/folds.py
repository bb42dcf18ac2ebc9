"""Cross-validation folds as tensors of held-out rows, with a gap around them where neighbours in time are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks


class GappedFold(NamedTuple):
    """Held-out rows `test`, and the rows `train` that are far enough from them to learn from; sorted int64."""

    test: Tensor
    train: Tensor


Fold = Tensor | GappedFold
Folds = tuple[Fold, ...]


def folds_by_count(n: int, n_folds: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
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


def folds_by_group(groups: Sequence[Any] | np.ndarray | Tensor) -> tuple[Tensor, ...]:
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
    checks.n_axes("groups", labels, ("row",))
    names, member = np.unique(labels, return_inverse=True)
    way_out = "Groups are the runs, sessions or subjects of which one at a time is held out."
    checks.at_least("number of groups", len(names), 2, way_out=way_out)
    return tuple(torch.from_numpy(np.flatnonzero(member == i)) for i in range(len(names)))


def folds_by_block(
    n: int, n_folds: int, gap: int, runs: Sequence[Any] | np.ndarray | None = None
) -> tuple[GappedFold, ...]:
    """Neighbouring rows of a time axis held out together, with `gap` rows on either side in neither part.

    Parameters
    ----------
    n : int
        Number of rows, in the order of time within each run.
    n_folds : int
        >= 2; every run is cut into this many blocks, and a fold holds one block of each run out.
    gap : int
        Rows >= 0 beside a block that are not learned from: at least the length of the haemodynamic response (about
        16 s) and of the features' own memory, in samples. It does not reach into another run.
    runs : sequence of length n, or None
        Run of each row; None: all rows are one run.

    Returns
    -------
    tuple of GappedFold

    Raises
    ------
    ValueError
        If a run has fewer rows than folds, or a gap leaves a fold without rows to learn from.
    """
    checks.at_least("n_folds", n_folds, 2)
    checks.at_least("gap", gap, 0, unit="rows")
    run = np.zeros(n, dtype=np.int64) if runs is None else np.unique(np.asarray(runs), return_inverse=True)[1]
    if len(run) != n:
        raise ValueError(f"runs has {len(run)} along axis 'row' but n is {n}; they must match.")
    test, apart = np.zeros((n_folds, n), dtype=bool), np.ones((n_folds, n), dtype=bool)
    for number in np.unique(run):
        rows = np.flatnonzero(run == number)
        checks.at_least(f"rows of run {number}", len(rows), n_folds)
        for fold, block in enumerate(np.array_split(np.arange(len(rows)), n_folds)):
            test[fold, rows[block]] = True
            apart[fold, rows[max(0, block[0] - gap) : block[-1] + gap + 1]] = False
    if not apart.any(1).all():
        raise ValueError(
            f"gap of {gap} rows leaves a fold nothing to learn from; use fewer rows or more folds."
        )
    return tuple(
        GappedFold(*(torch.from_numpy(np.flatnonzero(m)) for m in pair)) for pair in zip(test, apart)
    )


def parts_of(n: int, fold: Fold) -> tuple[Tensor, Tensor]:
    """(test, train) rows of a fold: all rows that are not held out, or those outside its gap."""
    return (fold.test, fold.train) if isinstance(fold, GappedFold) else (fold, complement(n, fold))


def complement(n: int, held_out: Tensor) -> Tensor:
    """Rows of 0..n-1 that are not held out, ascending."""
    kept = torch.ones(n, dtype=torch.bool)
    kept[held_out.cpu()] = False
    return kept.nonzero().flatten()
