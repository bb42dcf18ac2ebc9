"""Preprocessing steps with statistics, each with the scope of rows that these come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from braindec import checks
from braindec.data.step import SCOPES, FixedStep, State, Step
from braindec.maths import covariance
from braindec.maths.groups import group_means
from braindec.types import SubjectSignal, Table

ROUNDING = 1e-7  # a standard deviation below this share of the mean is float32 rounding, not signal
BLOCK_BYTES = 64 << 20
MAX_WHITENED = 4096  # features; a covariance of more costs over 128 MiB and minutes


@dataclass(frozen=True)
class Standardise(Step):
    """Mean 0 and standard deviation 1 for each voxel, or each channel over all its time samples.

    Parameters
    ----------
    unit : str or None
        ``"session"`` or ``"run"`` for every scope but ``train``.
    scope : str
    scale : bool
        False subtracts the mean only.
    prior_trials : int
        ``causal``: how many rows the training mean and variance count as before the unit's own rows.
    """

    unit: str | None = None
    scope: str = "train"
    scale: bool = True
    prior_trials: int = 10

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, SCOPES)
        checks.at_least("prior_trials", self.prior_trials, 1)
        _check_unit(self.unit, self.scope)

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        if self.scope == "unit_unlabelled":
            return {}
        if self.scope != "unit_train_rows":
            mean, sd = _moments(x)
            return {"mean": mean, "sd": sd}
        found = [(name, *_moments(x[rows])) for name, rows in _units(table, self.unit)]
        names = np.frombuffer("\n".join(name for name, _, _ in found).encode(), dtype=np.uint8)
        return {
            "units": names,
            "mean": np.stack([m for _, m, _ in found]),
            "sd": np.stack([s for _, _, s in found]),
        }

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        if self.scope == "train":
            return self._scaled(x, state["mean"], state["sd"])
        out = np.empty_like(x, dtype=np.float32)
        known = (
            {}
            if "units" not in state
            else {n: i for i, n in enumerate(bytes(state["units"]).decode().split("\n"))}
        )
        for name, rows in _units(table, self.unit):
            if self.scope == "unit_unlabelled":
                out[rows] = self._scaled(x[rows], *_moments(x[rows]))
            elif self.scope == "causal":
                out[rows] = self._causal(x[rows], table["acquisition_order"][rows], state)
            else:
                i = _known_unit(name, known, self.unit)
                out[rows] = self._scaled(x[rows], state["mean"][i], state["sd"][i])
        return out

    def _scaled(self, x: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, dtype=np.float32)
        for rows in _blocks(x):
            centred = x[rows] - _over_time(mean, x)
            out[rows] = centred / _over_time(sd, x) if self.scale else centred
        return out

    def _causal(self, x: np.ndarray, order: np.ndarray, state: State) -> np.ndarray:
        """Each row by the unit's earlier rows, together with the training statistics as `prior_trials` rows."""
        if (order < 0).any():
            raise ValueError(
                "the order of acquisition is not known (-1), so no row has earlier ones; use scope 'train'."
            )
        axes = tuple(range(2, x.ndim))
        sorted_rows = np.argsort(order, kind="stable")
        first, second = (x[sorted_rows].astype(np.float64) ** power for power in (1, 2))
        m1, m2 = (v.mean(axes) if axes else v for v in (first, second))
        before = np.arange(len(x))[:, None] + self.prior_trials
        sums = [np.cumsum(m, axis=0) - m for m in (m1, m2)]
        mean = (sums[0] + self.prior_trials * state["mean"]) / before
        square = (sums[1] + self.prior_trials * (state["sd"] ** 2 + state["mean"] ** 2)) / before
        sd = np.sqrt(np.maximum(square - mean**2, 0.0))
        sd[sd == 0] = 1.0
        shape = (*mean.shape, *(1 for _ in axes))
        out = np.empty(x.shape, dtype=np.float32)
        scaled = (first - mean.reshape(shape)) / (sd.reshape(shape) if self.scale else 1.0)
        out[sorted_rows] = scaled
        return out


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
        _check_unit(self.unit, self.scope)

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        out = np.empty_like(x, dtype=np.float32)
        for name, rows in _units(table, self.unit):
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
        axes = (0, *range(2, x.ndim))
        centre = np.median(x, axis=axes).astype(np.float64)
        spread = np.median(np.abs(x - _over_time(centre, x)), axis=axes).astype(np.float64)
        return {"low": centre - self.limit * spread, "high": centre + self.limit * spread}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.clip(x, _over_time(state["low"], x), _over_time(state["high"], x)).astype(np.float32)


@dataclass(frozen=True)
class Whiten(Step):
    """Makes the noise of the features (channels, or a few voxels) uncorrelated with unit variance.

    Parameters
    ----------
    noise : str
        What is taken as noise in the training rows: ``"residual"``, all that remains after their mean (for epochs their
        mean time course), or ``"repeats"``, what remains after the mean of each stimulus' own repeats.
    shrinkage : float or None
        In [0, 1]; None estimates it (Ledoit-Wolf).
    scope : str
        Only ``"train"``.
    """

    noise: str = "residual"
    shrinkage: float | None = None
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.one_of("noise", self.noise, ("residual", "repeats"))

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        if x.shape[1] > MAX_WHITENED:
            raise ValueError(
                f"whitening takes at most {MAX_WHITENED} features, got {x.shape[1]}; choose a region first."
            )
        noise = x - x.mean(0) if self.noise == "residual" else _within_repeats(x, table["stimulus_id"])
        rows = np.moveaxis(noise.astype(np.float64), 1, -1).reshape(-1, x.shape[1])  # (trial * time, channel)
        return {"matrix": covariance.fit_whitening(torch.from_numpy(rows), self.shrinkage).matrix.numpy()}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.asarray(np.moveaxis(np.moveaxis(x, 1, -1) @ state["matrix"], -1, 1), dtype=np.float32)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 mean and standard deviation of axis 1; a constant feature gets 1, so that it becomes 0."""
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes, dtype=np.float64)
    squares = sum(np.square(x[rows] - _over_time(mean, x)).sum(axes) for rows in _blocks(x))
    sd = np.sqrt(squares / (x.size / max(1, x.shape[1])))
    sd[sd <= ROUNDING * np.abs(mean)] = 1.0
    return mean, sd


def _blocks(x: np.ndarray) -> Iterator[slice]:
    """Slices of rows whose double-precision copy stays small."""
    step = max(1, BLOCK_BYTES // (8 * int(np.prod(x.shape[1:]))))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def _over_time(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return values.reshape(values.shape + (1,) * (x.ndim - 2))


def _units(table: Table, unit: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, positions) of each session, or of each run of each session."""
    names = table["session"].astype(str)
    if unit == "run":
        names = np.char.add(np.char.add(names, "/"), table["run"].astype(str))
    for name in np.unique(names):
        yield str(name), np.flatnonzero(names == name)


def _within_repeats(x: np.ndarray, stimulus_ids: np.ndarray) -> np.ndarray:
    """Rows minus the mean of their stimulus, scaled so that their variance is that of single trials."""
    _, group, counts = np.unique(stimulus_ids, return_inverse=True, return_counts=True)
    repeated = counts[group] > 1
    if not repeated.any():
        raise ValueError("no stimulus is repeated in the training rows; whiten with noise='residual'.")
    mean = group_means(x, group, len(counts))
    scale = np.sqrt(counts / np.maximum(counts - 1, 1))[group][repeated]
    return (x[repeated] - mean[group][repeated]) * scale.reshape(-1, *[1] * (x.ndim - 1))


def _check_unit(unit: str | None, scope: str) -> None:
    if scope == "train":
        if unit is not None:
            raise checks.ConfigError(
                f"scope 'train' takes no unit, got {unit!r}; use scope 'unit_train_rows'."
            )
    else:
        checks.one_of(f"unit of scope {scope!r}", unit, ("session", "run"))


def _known_unit(name: str, known: dict[str, int], unit: str | None) -> int:
    if name not in known:
        raise ValueError(
            f"{unit} {name!r} has no training rows, so scope 'unit_train_rows' has no statistics for it; "
            "use 'train', 'causal' or (transductive) 'unit_unlabelled'."
        )
    return known[name]
