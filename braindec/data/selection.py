"""Preprocessing steps that keep some features: those of a region, or those that repeat in the training rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from braindec import checks
from braindec.data import repeats, spaces
from braindec.data.step import FixedStep, State, Step
from braindec.types import SubjectSignal, Table

MEASURES = {"ncsnr": repeats.snr, "split_half": repeats.reliability}


@dataclass(frozen=True)
class SelectRegion(FixedStep):
    """Keeps the features of a region, or of any of several: drawn without these data, so nothing is learnt.

    Parameters
    ----------
    region : str or tuple of str
        Names of the signal's space.
    """

    region: str | tuple[str, ...]
    scope: str = "causal"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("causal",))

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.ascontiguousarray(x[:, spaces.members_of(signal.space, self.region)])

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        return _restricted(signal, spaces.members_of(signal.space, self.region))


@dataclass(frozen=True)
class SelectReliable(Step):
    """Keeps the voxels or channels (or regions) whose training responses to one stimulus repeat best.

    Only training rows are looked at, and the fitted chain keeps the digest of each of them, so that an audit finds test
    trials among them. Where sessions differ in mean or scale, put `Standardise` by session before this step.

    Parameters
    ----------
    n : int or None
        How many are kept; in ties the earlier ones.
    threshold : float or None
        Kept from this reliability on. One of `n` and `threshold` is given. When a decoder holds out folds of its
        training data, every fold keeps as many as all of it did.
    measure : str
        ``"ncsnr"`` (signal SD over noise SD of a single trial) or ``"split_half"`` (correlation of the means of two
        halves of the repeats, lengthened to all of them). For epochs, over all times after their mean course.
    level : str
        ``"feature"``, or ``"region"``: whole regions of the space by the mean over their features.

    Raises
    ------
    ValueError
        If no stimulus repeats in the training rows, or nothing reaches the threshold.
    """

    n: int | None = None
    threshold: float | None = None
    measure: str = "ncsnr"
    level: str = "feature"
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.one_of("measure", self.measure, list(MEASURES))
        checks.one_of("level", self.level, ("feature", "region"))
        if (self.n is None) == (self.threshold is None):
            raise checks.ConfigError(
                f"give one of n and threshold, got n={self.n} and threshold={self.threshold}."
            )
        if self.n is not None:
            checks.at_least("n", self.n, 1)

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        values = MEASURES[self.measure](x, table["stimulus_id"])
        if self.level == "feature":
            return {"members": self._chosen(values), "reliability": values.astype(np.float32)}
        regions = signal.space.regions
        if not regions:
            raise ValueError(f"{signal.key} has no regions to choose among; use level 'feature'.")
        means = np.array([values[rows].mean() if rows.any() else -np.inf for rows in regions.values()])
        chosen = self._chosen(means)
        members = np.zeros(len(values), dtype=bool)
        for rows, kept in zip(regions.values(), chosen, strict=True):
            members |= rows & kept
        return {"members": members, "chosen": chosen, "reliability": values.astype(np.float32)}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return np.ascontiguousarray(x[:, state["members"]])

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        return _restricted(signal, state["members"])

    def sized(self, state: State) -> Step:
        chosen = state["chosen" if self.level == "region" else "members"]
        return replace(self, n=int(chosen.sum()), threshold=None)

    def _chosen(self, values: np.ndarray) -> np.ndarray:
        """bool, shape of values."""
        if self.threshold is not None:
            kept = values >= self.threshold
            if not kept.any():
                raise ValueError(
                    f"nothing reaches a reliability of {self.threshold} ({self.measure}); the best has "
                    f"{values.max():.3f}. Lower the threshold, or give n."
                )
            return np.asarray(kept)
        n = int(checks.in_range(f"n of {len(values)}", self.n or 0, 1, len(values)))
        kept = np.zeros(len(values), dtype=bool)
        kept[np.argsort(-values, kind="stable")[:n]] = True
        return kept


def _restricted(signal: SubjectSignal, members: np.ndarray) -> SubjectSignal:
    space = spaces.restrict(signal.space, members)
    return replace(signal, shape=(int(members.sum()), *signal.shape[1:]), space=space)
