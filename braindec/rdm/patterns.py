"""Mean patterns of conditions, in each run or over all trials, from trials in any number and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor


@dataclass(frozen=True, eq=False)
class Patterns:
    """Mean pattern of each condition in each run.

    Parameters
    ----------
    values : Tensor, shape (..., run, condition, channel)
        Zero where a run lacks the condition.
    counts : int Tensor, shape (run, condition)
        Trials behind each mean.
    conditions, runs : tuple of str
    """

    values: Tensor
    counts: Tensor
    conditions: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every run has every condition."""
        return bool((self.counts > 0).all())


def labelled(labels: Any, order: Sequence[str] | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of each label, int64 (n,), and the names, sorted or as in `order`.

    Raises
    ------
    ValueError
        If a label is not in `order`, or one of `order` never occurs.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    names, number = np.unique(array, return_inverse=True)
    found = tuple(str(name) for name in names)
    if order is None:
        return number.reshape(-1), found
    wanted = [str(name) for name in checks.unique("conditions", order)]
    if set(wanted) != set(found):
        odd = sorted(set(wanted) ^ set(found))
        raise ValueError(f"conditions and labels must name the same; {odd[0]!r} is in only one of them.")
    place = {name: i for i, name in enumerate(wanted)}
    return np.array([place[name] for name in found])[number.reshape(-1)], tuple(wanted)


def average(
    x: Array, condition: Any, *, run: Any | None = None, conditions: Sequence[str] | None = None
) -> Patterns:
    """Mean patterns of conditions.

    Parameters
    ----------
    x : Tensor or array, shape (trial, channel) or (trial, channel, time)
        Times become a leading axis of the result.
    condition : sequence, length n_trials
        Any number of trials each.
    run : sequence, length n_trials, or None
        None counts all trials as one run.
    conditions : sequence of str, optional
        Their order; sorted by default.

    Returns
    -------
    Patterns
        Values (run, condition, channel), or (time, run, condition, channel).
    """
    x = as_tensor("x", x)
    if x.ndim not in (2, 3):
        raise ValueError(
            f"x must have axes (trial, channel) or (trial, channel, time), got {tuple(x.shape)}."
        )
    number, names = labelled(condition, conditions)
    checks.same_length("trial", x=x, condition=number)
    of_run, runs = (np.zeros(len(number), int), ("all",)) if run is None else labelled(run)
    checks.same_length("trial", condition=number, run=of_run)
    bucket = of_run * len(names) + number
    shape = (len(runs), len(names))
    counts = torch.from_numpy(np.bincount(bucket, minlength=shape[0] * shape[1]))
    means = _means(x, torch.from_numpy(bucket), counts)
    if x.ndim == 3:
        # One transpose of a matrix is faster than a permutation of four axes.
        means = means.reshape(-1, x.shape[2]).T.contiguous().reshape(x.shape[2], *shape, x.shape[1])
    else:
        means = means.reshape(*shape, x.shape[1])
    return Patterns(means, counts.reshape(shape), names, runs)


def _means(x: Tensor, bucket: Tensor, counts: Tensor) -> Tensor:
    """Mean of the rows of each bucket, (bucket, ...); rows that fill every bucket once are only put in order."""
    bucket, counts = bucket.to(x.device), counts.to(x.device)
    if len(x) == len(counts) and bool((counts == 1).all()):
        if bool((bucket[1:] > bucket[:-1]).all()):
            return x
        return x.index_select(0, bucket.argsort())
    total = x.new_zeros(len(counts), *x.shape[1:]).index_add_(0, bucket, x)
    return total / counts.clamp_min(1).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
