"""Multivariate noise normalisation: whitening by the covariance of each condition's training epochs, averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data.step import State, Step
from braindec.data.unit_steps import check_unit, known_unit, named, names_of, units
from braindec.maths import covariance
from braindec.types import UNKNOWN, SubjectSignal, Table

BLOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class MVNN(Step):
    """Whitens channels by the mean of shrunken noise covariances, one a condition.

    A covariance is taken about the condition's own mean, so that what conditions differ in is not whitened away.

    Parameters
    ----------
    over : str
        ``"epochs"``: one covariance an epoch, over its time samples about its mean over time. ``"time"``: one a
        condition and time sample, over the condition's trials; conditions shown once then say nothing.
    unit : str or None
        ``"session"`` or ``"run"`` for scope ``unit_train_rows``: a matrix for each.
    scope : str
        ``"train"`` or ``"unit_train_rows"``.
    column : str
        Column of the trial table that names conditions.
    shrinkage : float or None
        In [0, 1], towards the channels' variances; None estimates it for each covariance (Ledoit-Wolf of standardised
        channels).

    Notes
    -----
    Guggenmos et al. 2018, doi:10.1016/j.neuroimage.2018.02.044. ``over="epochs"``, all conditions weighing the same, is
    what THINGS-EEG2 was published with (Gifford et al. 2022, doi:10.1016/j.neuroimage.2022.119754), there with test
    trials among those of the covariance.
    """

    over: str = "epochs"
    unit: str | None = None
    scope: str = "train"
    column: str = "stimulus_id"
    shrinkage: float | None = None

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train", "unit_train_rows"))
        checks.one_of("over", self.over, ("epochs", "time"))
        if self.shrinkage is not None:
            checks.in_range("shrinkage", self.shrinkage, 0.0, 1.0)
        check_unit(self.unit, self.scope)

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        if x.ndim != 3:
            raise ValueError(f"{signal.key} has no time axis; MVNN is for epochs. Use Whiten.")
        condition = table[self.column].astype(str)
        if self.scope == "train":
            return {"matrix": self._matrix(x, condition, np.arange(len(x)))}
        found = [(name, self._matrix(x, condition, rows)) for name, rows in units(table, self.unit)]
        return {"units": names_of([name for name, _ in found]), "matrix": np.stack([m for _, m in found])}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        if self.scope == "train":
            return _whitened(x, state["matrix"])
        out = np.empty(x.shape, dtype=np.float32)
        known = named(state["units"])
        for name, rows in units(table, self.unit):
            out[rows] = _whitened(x[rows], state["matrix"][known_unit(name, known, self.unit)])
        return out

    def _matrix(self, x: np.ndarray, condition: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Symmetric (n_channels, n_channels): the inverse root of the mean covariance of these rows."""
        rows = rows[condition[rows] != UNKNOWN]
        total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
        n_conditions = 0
        for members in _conditions(condition[rows], x.shape[1:], 2 if self.over == "time" else 1):
            values = torch.from_numpy(
                x[rows[members]].astype(np.float64)
            )  # (condition, trial, channel, time)
            samples = values.mT if self.over == "epochs" else values.permute(0, 3, 1, 2)
            means = shrunken_covariances(samples, self.shrinkage).mean(1)  # over epochs, or over times
            total += means.sum(0)
            n_conditions += len(means)
        if not n_conditions:
            raise ValueError(
                f"no value of {self.column!r} has two training trials, so over='time' has no covariance; use 'epochs'."
            )
        return covariance.inverse_root(total / n_conditions).numpy()


def shrunken_covariances(samples: Tensor, shrinkage: float | None) -> Tensor:
    """Covariances of many sets of samples, each shrunken towards the variances of its features.

    Parameters
    ----------
    samples : Tensor, shape (..., n, p)
        n >= 2.
    shrinkage : float or None
        In [0, 1]; None estimates it for each (Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4) after
        standardising the features.

    Returns
    -------
    Tensor, shape (..., p, p)
        Maximum-likelihood covariances (divided by n).
    """
    n, p = samples.shape[-2:]
    checks.at_least("samples of a covariance", n, 2)
    centred = samples - samples.mean(-2, keepdim=True)
    sd = centred.square().mean(-2).sqrt()
    flat = sd == 0
    z = centred / torch.where(flat, torch.ones_like(sd), sd).unsqueeze(-2)
    sample = z.mT @ z / n
    level = sample.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(p, dtype=samples.dtype, device=samples.device)
    target = level[..., None, None] * identity
    if shrinkage is None:
        spread = (sample - target).square().sum((-2, -1))
        noise = (z.square().sum(-1).square().mean(-1) - sample.square().sum((-2, -1))) / n
        share = torch.where(spread > 0, noise / spread, torch.zeros_like(spread)).clamp(0.0, 1.0)
    else:
        share = torch.full_like(level, shrinkage)
    shrunken = sample + share[..., None, None] * (target - sample)
    return shrunken * sd.unsqueeze(-1) * sd.unsqueeze(-2)


def _conditions(condition: np.ndarray, shape: tuple[int, ...], smallest: int) -> Iterator[np.ndarray]:
    """Rows of conditions with equally many trials (n_conditions, n_trials), a block at a time."""
    order = np.argsort(condition, kind="stable")
    _, first, counts = np.unique(condition[order], return_index=True, return_counts=True)
    for count in np.unique(counts[counts >= smallest]):
        members = order[first[counts == count][:, None] + np.arange(count)]
        step = max(1, BLOCK_BYTES // (8 * int(count) * int(np.prod(shape))))
        for start in range(0, len(members), step):
            yield members[start : start + step]


def _whitened(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(
        matrix.astype(np.float32) @ x, dtype=np.float32
    )  # symmetric: the same from both sides
