"""Preprocessing steps that shift and scale each feature by statistics of all training rows or of a session or run."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from braindec import checks
from braindec.data.step import SCOPES, State, Step
from braindec.types import SubjectSignal, Table

ROUNDING = 1e-7  # a standard deviation below this share of the mean is float32 rounding, not signal
BLOCK_BYTES = 64 << 20
MAD_TO_SD = 1.4826  # 1 / Phi^-1(0.75): a Gaussian's standard deviation over its median absolute deviation
PERCENT = 100.0


class UnitStep(Step):
    """Shifts and scales each feature (epochs: each channel over all its times) by two statistics of some rows."""

    unit: str | None
    names: ClassVar[tuple[str, str]] = ("mean", "sd")  # of the two statistics, in the saved state
    refusal: ClassVar[str] = ""  # what is said of features whose spread `statistics` gives as NaN

    @abc.abstractmethod
    def statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float64 (n_features,) each, of rows (n_trials, n_features, ...)."""

    @abc.abstractmethod
    def scaled(self, x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """float32, shape of x; statistics are (n_features,), or (n_trials, n_features) where each row has its own."""

    @property
    @abc.abstractmethod
    def prior_rows(self) -> int:
        """Scope ``causal``: how many rows the training statistics count as before the unit's own rows."""

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        if self.scope == "unit_unlabelled":
            return {}
        if self.scope != "unit_train_rows":
            return dict(zip(self.names, self._usable(*self.statistics(x)), strict=True))
        found = [(name, *self._of(x, rows)) for name, rows in units(table, self.unit)]
        names = names_of([name for name, _, _ in found])
        centre, spread = np.stack([c for _, c, _ in found]), np.stack([s for _, _, s in found])
        return {"units": names, self.names[0]: centre, self.names[1]: spread}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        centre, spread = (state.get(name, np.empty(0)) for name in self.names)
        if self.scope == "train":
            return self.scaled(x, centre, spread)
        out = np.empty(x.shape, dtype=np.float32)
        known = named(state["units"]) if "units" in state else []
        for name, rows in units(table, self.unit):
            if self.scope == "unit_unlabelled":
                out[rows] = self.scaled(x[rows], *self._of(x, rows))
            elif self.scope == "causal":
                order = table["acquisition_order"][rows]
                out[rows] = self.scaled(
                    x[rows], *earlier_moments(x[rows], order, self.prior_rows, centre, spread)
                )
            else:
                i = known_unit(name, known, self.unit)
                out[rows] = self.scaled(x[rows], centre[i], spread[i])
        return out

    def by_row(
        self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State
    ) -> tuple[Step, State] | None:
        if self.scope == "unit_unlabelled":  # these rows' own statistics, taken beforehand
            step = replace(self, scope="unit_train_rows")  # type: ignore[type-var]  # every such step is a dataclass
            return step, step.fit(x, table, signal)
        return None if self.scope == "causal" else (self, state)

    def together(self, table: Table) -> list[np.ndarray]:
        return [rows for _, rows in units(table, self.unit)]

    def of_features(self, state: State, part: slice) -> State:
        return {name: values if name == "units" else values[..., part] for name, values in state.items()}

    def _of(self, x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`statistics` of these rows, of some features at a time: a unit may be larger than memory."""
        found = [self.statistics(x[rows, part]) for part in feature_parts(len(rows), x.shape)]
        centre, spread = (np.concatenate(values) for values in zip(*found, strict=True))
        return self._usable(centre, spread)

    def _usable(self, centre: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if n := int(np.isnan(spread).sum()):
            raise ValueError(f"{n} of {len(spread)} features {self.refusal}")
        return centre, spread


@dataclass(frozen=True)
class Standardise(UnitStep):
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
        check_unit(self.unit, self.scope)

    @property
    def prior_rows(self) -> int:
        return self.prior_trials

    def statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return moments(x)

    def scaled(self, x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, dtype=np.float32)
        for rows in blocks(x):
            centred = x[rows] - over_time(_of_rows(centre, rows), x)
            out[rows] = centred / over_time(_of_rows(spread, rows), x) if self.scale else centred
        return out


@dataclass(frozen=True)
class PercentSignalChange(UnitStep):
    """100 (x - mean) / mean for each voxel: of raw signals, whose mean is far above zero.

    Parameters
    ----------
    unit : str or None
        ``"session"`` or ``"run"`` for every scope but ``train``.
    scope : str
    prior_trials : int
        As in `Standardise`.

    Raises
    ------
    ValueError
        If a voxel's mean is not above its standard deviation: percent of it would mean nothing.
    """

    unit: str | None = None
    scope: str = "train"
    prior_trials: int = 10
    refusal: ClassVar[str] = (
        "have a mean that is not above their standard deviation; percent signal change is for raw signals: mask these "
        "features, or use Standardise."
    )

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, SCOPES)
        checks.at_least("prior_trials", self.prior_trials, 1)
        check_unit(self.unit, self.scope)

    @property
    def prior_rows(self) -> int:
        return self.prior_trials

    def statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = mean_and_sd(x)
        return mean, np.where((mean <= 0) | (mean < sd), np.nan, sd)

    def scaled(self, x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, dtype=np.float32)
        for rows in blocks(x):
            mean = over_time(_of_rows(centre, rows), x)
            out[rows] = PERCENT * (x[rows] - mean) / mean
        return out


@dataclass(frozen=True)
class RobustScale(UnitStep):
    """Median 0 and a median absolute deviation like that of a Gaussian of standard deviation 1, then limited.

    Parameters
    ----------
    unit : str or None
        ``"session"`` or ``"run"`` for every scope but ``train``.
    scope : str
        All but ``"causal"``: a median has no running update.
    clamp : float or None
        Scaled values beyond +- clamp are set to it; > 0; None keeps them.

    Raises
    ------
    ValueError
        If half of a feature's values are equal although it is not constant: it has no such spread.
    """

    unit: str | None = None
    scope: str = "train"
    clamp: float | None = 20.0  # Defossez et al. 2023, doi:10.1038/s42256-023-00714-5
    names: ClassVar[tuple[str, str]] = ("median", "spread")
    refusal: ClassVar[str] = (
        "have one value in over half of the rows, so their median absolute deviation is 0; leave them out, or use "
        "Standardise."
    )

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, tuple(s for s in SCOPES if s != "causal"))
        check_unit(self.unit, self.scope)
        if self.clamp is not None and not self.clamp > 0:
            raise ValueError(f"clamp must be positive or None, got {self.clamp}.")

    @property
    def prior_rows(self) -> int:
        return 0

    def statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axes = (0, *range(2, x.ndim))
        median = medians(x)
        spread = MAD_TO_SD * medians(x, median)
        flat = spread <= ROUNDING * np.abs(median)
        varying = flat & (np.ptp(x, axis=axes) > ROUNDING * np.abs(median))
        return median, np.where(varying, np.nan, np.where(flat, 1.0, spread))

    def scaled(self, x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, dtype=np.float32)
        for rows in blocks(x):
            out[rows] = (x[rows] - over_time(centre, x)) / over_time(spread, x)
        return out if self.clamp is None else np.clip(out, -self.clamp, self.clamp)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 mean and standard deviation of axis 1; a constant feature gets 1, so that it becomes 0."""
    mean, sd = mean_and_sd(x)
    sd[sd <= ROUNDING * np.abs(mean)] = 1.0
    return mean, sd


def mean_and_sd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 mean and standard deviation of axis 1, (n_features,) each; some rows at a time."""
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axes, dtype=np.float64)
    squares = sum(np.square(x[rows] - over_time(mean, x)).sum(axes) for rows in blocks(x))
    return mean, np.sqrt(squares / (x.size / max(1, x.shape[1])))


def medians(x: np.ndarray, about: np.ndarray | None = None) -> np.ndarray:
    """float64 median of axis 1, or of the distance from values `about`, (n_features,); some features at a time."""
    axes = (0, *range(2, x.ndim))
    out = np.empty(x.shape[1])
    for part in feature_parts(len(x), x.shape):
        some = x[:, part]
        if about is not None:
            some = np.abs(some - over_time(about[part], x))
        out[part] = np.median(some, axis=axes)
    return out


def earlier_moments(
    x: np.ndarray, order: np.ndarray, prior: int, mean: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the rows before each row, the training statistics counting as `prior` rows.

    Parameters
    ----------
    x : array, shape (n_trials, n_features, ...)
        One unit.
    order : int array, shape (n_trials,)
        Of acquisition.
    prior : int
        >= 1.
    mean, sd : array, shape (n_features,)

    Returns
    -------
    mean, sd : float64 arrays, shape (n_trials, n_features)
    """
    if (order < 0).any():
        raise ValueError(
            "the order of acquisition is not known (-1), so no row has earlier ones; use scope 'train'."
        )
    axes = tuple(range(2, x.ndim))
    in_order = np.argsort(order, kind="stable")
    first, second = (x[in_order].astype(np.float64) ** power for power in (1, 2))
    m1, m2 = (v.mean(axes) if axes else v for v in (first, second))
    before = np.arange(len(x))[:, None] + prior
    sums = [np.cumsum(m, axis=0) - m for m in (m1, m2)]
    means = (sums[0] + prior * mean) / before
    squares = (sums[1] + prior * (sd**2 + mean**2)) / before
    sds = np.sqrt(np.maximum(squares - means**2, 0.0))
    sds[sds == 0] = 1.0
    back = np.argsort(in_order)
    return means[back], sds[back]


def blocks(x: np.ndarray) -> Iterator[slice]:
    """Slices of rows whose double-precision copy stays small."""
    step = max(1, BLOCK_BYTES // (8 * int(np.prod(x.shape[1:]))))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def feature_parts(n_rows: int, shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of axis 1 of an array of this shape, such that a double-precision copy of `n_rows` rows stays small."""
    step = max(1, BLOCK_BYTES // (8 * max(1, n_rows * int(np.prod(shape[2:], dtype=np.int64)))))
    for start in range(0, shape[1], step):
        yield slice(start, min(start + step, shape[1]))


def over_time(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of features, with an axis for each further axis of x."""
    return values.reshape(values.shape + (1,) * (x.ndim - 2))


def units(table: Table, unit: str | None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, positions) of each session, or of each run of each session."""
    names = table["session"].astype(str)
    if unit == "run":
        names = np.char.add(np.char.add(names, "/"), table["run"].astype(str))
    for name in np.unique(names):
        yield str(name), np.flatnonzero(names == name)


def check_unit(unit: str | None, scope: str) -> None:
    """Refuses a unit where the scope has none, and a scope of units without one."""
    if scope == "train":
        if unit is not None:
            raise checks.ConfigError(
                f"scope 'train' takes no unit, got {unit!r}; use scope 'unit_train_rows'."
            )
    else:
        checks.one_of(f"unit of scope {scope!r}", unit, ("session", "run"))


def _of_rows(values: np.ndarray, rows: slice) -> np.ndarray:
    return values if values.ndim == 1 else values[rows]


def names_of(names: Sequence[str]) -> np.ndarray:
    """Names without line breaks as one array of numbers, as a saved state holds them; `named` reads them."""
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8)


def named(names: np.ndarray) -> list[str]:
    """The names that `names_of` wrote."""
    return bytes(names).decode().split("\n")


def known_unit(name: str, known: list[str], unit: str | None) -> int:
    """Place of a unit among those with training rows; a ValueError where it has none."""
    if name not in known:
        raise ValueError(
            f"{unit} {name!r} has no training rows, so scope 'unit_train_rows' has no statistics for it; "
            "use 'train', 'causal' or (transductive) 'unit_unlabelled'."
        )
    return known.index(name)
