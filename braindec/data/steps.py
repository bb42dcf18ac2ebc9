"""Preprocessing steps that take out drifts, outliers and correlated noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from braindec import checks
from braindec.data.step import FixedStep, State, Step
from braindec.data.unit_steps import BLOCK_BYTES, blocks, check_unit, medians, over_time, units
from braindec.maths import covariance
from braindec.maths.groups import group_means
from braindec.types import UNKNOWN, SubjectSignal, Table

MAX_WHITENED = 4096  # features; a covariance of more costs over 128 MiB and minutes


@dataclass(frozen=True)
class Detrend(FixedStep):
    """Removes a polynomial in time from each feature over the trials of a run or session, keeping no mean.

    Parameters
    ----------
    unit : str
        ``"run"`` or ``"session"``.
    order : int
        1 removes mean and slope; the time is `onset_s`.
    scope : str
        Only ``"unit_unlabelled"``: the trend is that of all rows of the unit that `apply` is given.
    """

    unit: str = "run"
    order: int = 1
    scope: str = "unit_unlabelled"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("unit_unlabelled",))
        checks.in_range("order", self.order, 0, 10)
        check_unit(self.unit, self.scope)

    def by_row(
        self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> tuple[Step, State] | None:
        return None

    def together(self, table: Table) -> list[np.ndarray]:
        return [rows for _, rows in units(table, self.unit)]

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        out = np.empty_like(x, dtype=np.float32)
        for name, rows in units(table, self.unit):
            onset = table["onset_s"][rows].astype(np.float64)
            if len(np.unique(onset)) <= self.order:
                raise ValueError(
                    f"{self.unit} {name!r} has {len(rows)} trials: too few to remove order {self.order}."
                )
            time = 2 * (onset - onset.min()) / np.ptp(onset) - 1 if self.order else onset * 0
            basis, _ = np.linalg.qr(np.polynomial.legendre.legvander(time, self.order))
            flat = x[rows].reshape(len(rows), -1).astype(np.float64)
            out[rows] = (flat - basis @ (basis.T @ flat)).reshape(x[rows].shape)
        return out


@dataclass(frozen=True)
class ClipMad(Step):
    """Limits values to the training median +- `limit` median absolute deviations; every trial is kept.

    A feature that has one value in over half of the training rows has no such deviation: its limits are the smallest
    and the largest of its training values.

    Parameters
    ----------
    limit : float
        > 0, in MADs (not scaled to a standard deviation).
    scope : str
        Only ``"train"``.
    """

    limit: float = 3.0
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        if not self.limit > 0:
            raise ValueError(f"limit must be positive, got {self.limit}.")

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        centre = medians(x)
        spread = medians(x, centre)
        low, high = centre - self.limit * spread, centre + self.limit * spread
        axes = (0, *range(2, x.ndim))
        none = spread == 0
        return {"low": np.where(none, x.min(axes), low), "high": np.where(none, x.max(axes), high)}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.clip(x, over_time(state["low"], x), over_time(state["high"], x)).astype(np.float32)


@dataclass(frozen=True)
class Whiten(Step):
    """Makes the noise of the features (channels, or a few voxels) uncorrelated with unit variance.

    Parameters
    ----------
    noise : str
        What is taken as noise in the training rows: ``"residual"``, all that remains after their mean (for epochs their
        mean time course), or ``"repeats"``, what remains after the mean of each known stimulus' own repeats.
    shrinkage : float or None
        In [0, 1]; None estimates it (Ledoit-Wolf).
    scope : str
        Only ``"train"``.
    over : str
        ``"channels"``: one matrix for all times of an epoch; ``"epoch"``: one of all channels at all times, which takes
        out slow waves and oscillations too. Every value stays as near to its own channel and time as it can.
    """

    noise: str = "residual"
    shrinkage: float | None = None
    scope: str = "train"
    over: str = "channels"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.one_of("noise", self.noise, ("residual", "repeats"))
        checks.one_of("over", self.over, ("channels", "epoch"))

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        x = self._features(x)
        if x.shape[1] > MAX_WHITENED:
            raise ValueError(
                f"whitening takes at most {MAX_WHITENED} features, got {x.shape[1]}; choose a region first."
            )
        noise = _residual if self.noise == "residual" else partial(_within_repeats, table["stimulus_id"])

        def samples() -> Iterator[torch.Tensor]:
            for part in noise(x):
                rows = np.moveaxis(part.astype(np.float64), 1, -1)
                yield torch.from_numpy(rows.reshape(-1, x.shape[1]))  # (trial * time, channel)

        return {"matrix": covariance.whitening_of(samples, self.shrinkage).matrix.numpy()}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        white = np.moveaxis(np.moveaxis(self._features(x), 1, -1) @ state["matrix"], -1, 1)
        # Contiguous: sums over it then do not depend on how it lay.
        return np.ascontiguousarray(white, dtype=np.float32).reshape(x.shape)

    def _features(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), -1) if self.over == "epoch" else x


def _residual(x: np.ndarray) -> Iterator[np.ndarray]:
    """Rows minus the mean row, some at a time."""
    mean = x.mean(0)
    for rows in blocks(x):
        yield x[rows] - mean


def _within_repeats(stimulus_ids: np.ndarray, x: np.ndarray) -> Iterator[np.ndarray]:
    """Rows minus the mean of their stimulus, scaled so that their variance is that of single trials; some stimuli at a
    time."""
    names, group, counts = np.unique(stimulus_ids.astype(str), return_inverse=True, return_counts=True)
    several = np.flatnonzero((counts > 1) & (names != UNKNOWN))
    if not len(several):
        raise ValueError("no stimulus is repeated in the training rows; whiten with noise='residual'.")
    n_rows = np.cumsum(counts[several])
    part = (n_rows - 1) * x[0].size * 8 // BLOCK_BYTES  # of each stimulus
    for number in np.unique(part):
        chosen = several[part == number]
        rows = np.flatnonzero(np.isin(group, chosen))
        local = np.searchsorted(chosen, group[rows])
        some = x[rows]
        mean = group_means(some, local, len(chosen))
        scale = np.sqrt(counts / np.maximum(counts - 1, 1))[group[rows]]
        yield (some - mean[local]) * scale.reshape(-1, *[1] * (x.ndim - 1))
