"""Averages of several trials of one stimulus or class, made inside the parts that a split keeps apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm, rankdata

from braindec import checks
from braindec.data import NeuralDataset, splits
from braindec.evaluate.time_course import auc_of_averages
from braindec.types import UNKNOWN, Table, Trials

SEVERAL = "several"  # the value of a text column in which the averaged trials differ


def pseudo_trials(
    dataset: NeuralDataset,
    size: int,
    generator: np.random.Generator,
    *,
    label_column: str | None = None,
    within: str | None = None,
    n_each: int | None = None,
) -> NeuralDataset:
    """Means of disjoint random sets of `size` trials, equally many for every stimulus or class.

    Parameters
    ----------
    dataset : NeuralDataset
        One part of a split, or a whole dataset with `within`.
    size : int
        Trials in each mean, >= 1.
    generator : numpy Generator
        Deals trials into means; those left over are dropped.
    label_column : str, optional
        Column with each trial's class; by default trials of one stimulus are averaged.
    within : str, optional
        Column of the trial table; only trials of one value are averaged. With the unit of the folds (``"run"``), no
        mean holds trials of a training and a test part.
    n_each : int, optional
        Means of every stimulus or class (and value of `within`); by default as many as the rarest one has.

    Returns
    -------
    NeuralDataset
        Columns in which the averaged trials differ hold ``"several"`` (stimulus_id: ``"unknown"``), the mean, or, for
        whole numbers, -1; `repeat` counts the means of a group and ``n_averaged`` is `size`.

    Raises
    ------
    LeakageError
        If the dataset is no part of a split and `within` is not given: a mean could hold both training and test trials.
    ValueError
        If a stimulus or class has too few trials.
    """
    checks.at_least("size", size, 1)
    if dataset.part_name is None and within is None:
        raise checks.LeakageError(
            "pseudo-trials of a whole dataset may mix training and test trials; average dataset.part(...) of a split, "
            "or name the unit of the folds (within='run')."
        )
    made = {
        key: _averaged(t, dataset, size, generator, label_column, within, n_each)
        for key, t in dataset.trials.items()
    }
    about = {**dataset.about, "pseudo_trials": {"size": size, "within": within, "label_column": label_column}}
    return replace(dataset, trials=made, about=about)


@dataclass(frozen=True, eq=False)
class AveragingCurve:
    """Area under the ROC against the number of trials averaged, and the law 1 / d'^2 = floor + noise / n fitted to it.

    Parameters
    ----------
    sizes : int array, shape (n_sizes,)
    values : float array, shape (n_sizes,)
    noise, floor : float
        >= 0, the variance of a margin over the squared difference of the classes: of single trials, which averaging n
        divides by n, and what no averaging removes (between stimuli, where trials of one are averaged). NaN where fewer
        than two areas lie between 0.5 and 1.
    """

    sizes: np.ndarray
    values: np.ndarray
    noise: float
    floor: float

    def predicted(self, n: np.ndarray) -> np.ndarray:
        """Area by the law for means of n trials."""
        inverse = self.floor + self.noise / np.asarray(n, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return np.asarray(norm.cdf(1 / np.sqrt(2 * inverse)))

    @property
    def limit(self) -> float:
        """Area that averaging ever more trials approaches by the law."""
        return float(self.predicted(np.array([np.inf]))[0])

    def to_json(self) -> dict[str, Any]:
        """Numbers as they are; the law's are null where it could not be fitted."""
        law = {"noise": self.noise, "floor": self.floor, "limit": self.limit}
        return {
            "sizes": self.sizes.tolist(),
            "values": self.values.tolist(),
            **{name: None if np.isnan(value) else value for name, value in law.items()},
        }


def averaging_curve(
    margin: np.ndarray,
    positive: np.ndarray,
    fold: np.ndarray,
    sizes: Sequence[int],
    generator: np.random.Generator,
    *,
    stimulus: np.ndarray | None = None,
) -> AveragingCurve:
    """How well two classes are told apart when 1, 2, 4, .. held-out trials are averaged.

    The mean of a linear decoder's margins is its margin of the mean trial, so that margins are averaged.

    Parameters
    ----------
    margin, positive, fold
        As in `auc_of_averages`.
    sizes : sequence of int
        Trials in a mean; every fold and class has at least as many.
    generator : numpy Generator
    stimulus : array, shape (n,), optional
        Only trials of one stimulus are averaged (every size must fit one in each fold and class): what tells it from
        others of its class stays. By default any trials of a class.

    Notes
    -----
    For Gaussian margins d' = sqrt(2) Phi^-1(area), and the variance of a mean of n is floor + noise / n in units of the
    squared difference. The two are fitted by least squares, none below 0.
    """
    counted = np.array([checks.at_least("size", s, 1) for s in sizes], dtype=np.int64)
    values = np.array([_area_of_means(margin, positive, fold, int(s), generator, stimulus) for s in counted])
    usable = (values > 0.5) & (values < 1)
    if usable.sum() < 2:
        return AveragingCurve(counted, values, float("nan"), float("nan"))
    target = 1 / (2 * norm.ppf(values[usable]) ** 2)
    design = np.stack([1 / counted[usable], np.ones(int(usable.sum()))], axis=1)
    weight = 1 / target  # so that every size counts by its relative error, not the single trials alone
    (noise, floor), _ = nnls(design * weight[:, None], target * weight)
    return AveragingCurve(counted, values, float(noise), float(floor))


def _area_of_means(
    margin: np.ndarray, positive: np.ndarray, fold: np.ndarray, n: int, generator: np.random.Generator,
    stimulus: np.ndarray | None,
) -> float:  # fmt: skip
    """`auc_of_averages`, of means inside one stimulus where stimuli are given."""
    if stimulus is None:
        return auc_of_averages(margin, positive, fold, n, generator)
    names = np.unique(stimulus)
    areas, weights = [], []
    for rows in (fold == f for f in np.unique(fold)):
        sides = []
        for side in (positive, ~positive):
            groups = [generator.permutation(margin[rows & side & (stimulus == s)]) for s in names]
            means = [g[: len(g) // n * n].reshape(-1, n).mean(1) for g in groups]
            sides.append(np.concatenate(means))
            checks.at_least(f"means of {n} trials of one stimulus in a fold and class", len(sides[-1]), 1)
        order = rankdata(np.concatenate(sides))[: len(sides[0])].sum()
        areas.append((order - len(sides[0]) * (len(sides[0]) + 1) / 2) / (len(sides[0]) * len(sides[1])))
        weights.append(rows.sum())
    return float(np.average(areas, weights=weights))


def _averaged(
    trials: Trials,
    dataset: NeuralDataset,
    size: int,
    generator: np.random.Generator,
    label_column: str | None,
    within: str | None,
    n_each: int | None,
) -> Trials:
    table = trials.table
    column = "stimulus_id" if label_column is None else label_column
    label = splits.stimulus_column(trials, dataset.stimuli, column).astype(str)
    place = np.full(trials.n_trials, "") if within is None else table[within].astype(str)
    known = label != UNKNOWN
    dealt: list[np.ndarray] = []
    count: list[int] = []
    for here in np.unique(place[known]):
        groups = {
            name: np.flatnonzero(known & (place == here) & (label == name))
            for name in np.unique(label[known])
        }
        groups = {name: rows for name, rows in groups.items() if len(rows)}
        n = _number_of_means(groups, size, n_each, f"{within} {str(here)!r}" if within else trials.key)
        for rows in groups.values():
            dealt.extend(generator.permutation(rows)[: n * size].reshape(n, size))
            count.extend(range(n))
    members = np.sort(np.stack(dealt), axis=1)  # (mean, trial)
    columns = {name: _joined(table[name][members], name) for name in table}
    columns |= {
        column: label[members[:, 0]],
        "repeat": np.array(count),
        "n_averaged": np.full(len(members), size),
    }
    responses = np.empty((len(members), *trials.responses.shape[1:]), dtype=np.float32)
    for mean, rows in zip(responses, members, strict=True):
        mean[...] = np.asarray(trials.responses[rows]).mean(0, dtype=np.float64)
    return replace(trials, responses=responses, table=Table(columns))


def _number_of_means(groups: dict[str, np.ndarray], size: int, n_each: int | None, where: str) -> int:
    rarest = min(groups, key=lambda name: len(groups[name]))
    possible = len(groups[rarest]) // size
    wanted = 1 if n_each is None else int(checks.at_least("n_each", n_each, 1))
    if possible < wanted:
        raise ValueError(
            f"{where} has {len(groups[rarest])} trials of {str(rarest)!r}: too few for {wanted} means of {size} trials."
        )
    return possible if n_each is None else n_each


def _joined(values: np.ndarray, name: str) -> np.ndarray:
    """What the averaged trials (mean, trial) have in common."""
    same = (values == values[:, :1]).all(1)
    first = values[:, 0]
    if values.dtype.kind in "US":
        return np.where(same, first, UNKNOWN if name == "stimulus_id" else SEVERAL)
    if values.dtype.kind == "f":
        return np.where(same, first, values.mean(1))
    return np.where(same, first, -1)
