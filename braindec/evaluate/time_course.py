"""When after onset two classes can be told apart: one ridge a window, judged together with its null."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, leakage, splits
from braindec.decoder import steps_for
from braindec.decoder.fitting import ALPHAS, group_folds
from braindec.decoder.rows import applied, fitted_on
from braindec.evaluate.exam import row_labels
from braindec.evaluate.measures import auc_over_folds, class_scores
from braindec.evaluate.scoring import Judged
from braindec.maths import factors, ridge
from braindec.stats.permutation import max_statistic_p, permute_within_blocks
from braindec.types import Trials


@dataclass(frozen=True, eq=False)
class TimeCourse:
    """Area under the ROC in each window.

    Parameters
    ----------
    windows : float array, shape (n_windows, 2)
        First and last sample of each, seconds from onset.
    values : float array, shape (n_windows,)
    interval : float array, shape (n_windows, 2)
        95 %, of each window alone.
    p : float array, shape (n_windows,)
        Corrected by the maximum over all windows, those before onset included.
    null : float array, shape (n_null, n_windows)
        Values after refits under a permuted pairing.
    n : int
        Trials scored in every window.
    """

    windows: np.ndarray
    values: np.ndarray
    interval: np.ndarray
    p: np.ndarray
    null: np.ndarray
    n: int

    @property
    def centre_s(self) -> np.ndarray:
        """Middle of each window, seconds from onset."""
        return self.windows.mean(1)

    @property
    def null_limit(self) -> float:
        """95 % limit of the null's maximum over windows."""
        return float(np.quantile(self.null.max(1), 0.95, method="higher"))

    @property
    def baseline(self) -> np.ndarray:
        """Which windows end before onset: nothing can be decoded there."""
        return self.windows[:, 1] < 0

    def to_json(self) -> dict[str, Any]:
        """Windows with value and corrected p, the limit, and whether the baseline stays inside the null."""
        rows = zip(self.windows.tolist(), self.values.tolist(), self.p.tolist(), strict=True)
        before = self.values[self.baseline]
        return {
            "windows": [{"start_s": w[0], "stop_s": w[1], "value": v, "p": p} for w, v, p in rows],
            "null_limit": self.null_limit,
            "n_null": len(self.null),
            "baseline_inside_null": bool((before <= self.null_limit).all()),
        }


def time_course(
    dataset: NeuralDataset,
    folds: Sequence[Split],
    *,
    label_column: str,
    preprocessing: Iterable[Any] = (),
    width_s: float = 0.05,
    step_s: float = 0.025,
    n_null: int = 199,
    seed: int = 0,
) -> TimeCourse:
    """How well a ridge on each window of the epochs tells two classes apart in held-out runs.

    Everything is fitted on the training runs of a fold: preprocessing, weights and penalty, the latter two again for
    every permutation of the classes within exchangeability blocks.

    Parameters
    ----------
    dataset : NeuralDataset
        Epochs of one subject.
    folds : sequence of Split
    label_column : str
        Column with each trial's class; two occur, the second in sorted order counts as positive.
    preprocessing : steps
        That leave (trial, channel, time).
    width_s, step_s : float
        Length of a window and distance from one to the next, seconds.
    n_null : int
        Permutations, >= 19.
    seed : int
    """
    checks.at_least("n_null", n_null, 19)
    (trials,) = dataset.trials.values()
    windows = windows_of(trials, width_s, step_s)
    positive = two_classes(dataset, label_column)
    draws = label_draws(
        positive, trials.table["exchangeability_block"], n_null, seed
    )  # (n_trials, 1 + n_null)
    margins = np.full((len(windows), *draws.shape), np.nan, dtype=np.float32)
    fold_of = np.full(trials.n_trials, -1)
    for fold, (whole, kept, held) in enumerate(parts_of(dataset, folds)):
        fold_of[held] = fold
        margins[:, held] = _fold_margins(whole, windows, draws[kept], preprocessing, seed)
    all_held_out(fold_of)
    null = areas_by_draw(margins[:, :, 1:], positive, fold_of).T
    real = [auc_over_folds(m, positive, fold_of) for m in margins[:, :, 0].astype(np.float64)]
    values = np.array([value for value, _ in real])
    interval = np.array([bounds for _, bounds in real])
    return TimeCourse(windows, values, interval, max_statistic_p(values, null), null, trials.n_trials)


def two_classes(dataset: NeuralDataset, label_column: str) -> np.ndarray:
    """Which trials of the one subject are of the second class in sorted order, bool (n_trials,)."""
    (trials,) = dataset.trials.values()
    labels = splits.stimulus_column(trials, dataset.stimuli, label_column)
    names, number = np.unique(labels, return_inverse=True)
    if len(names) != 2:
        raise ValueError(f"two classes are compared, column {label_column!r} has {len(names)}.")
    return np.asarray(number == 1)


def parts_of(
    dataset: NeuralDataset, folds: Sequence[Split]
) -> Iterator[tuple[NeuralDataset, np.ndarray, np.ndarray]]:
    """(dataset in the fold's split, which trials are trained on, which are held out); leaks are refused.

    So are folds that hold out a trial twice, which would count twice.
    """
    (trials,) = dataset.trials.values()
    often = np.zeros(trials.n_trials, dtype=int)
    for split in folds:
        whole = dataset.with_split(split)
        leakage.check(whole.part("train"), whole.part("test"))
        kept, held = (split.members(trials, dataset.stimuli, part) for part in ("train", "test"))
        often += held
        if (often > 1).any():
            raise ValueError(
                f"{int((often > 1).sum())} trials are held out by fold {split.name!r} and by one before it; give folds "
                "that hold out each trial once."
            )
        yield whole, kept, held


def all_held_out(fold_of: np.ndarray) -> None:
    """Refuses trials without a fold (-1)."""
    if (fold_of < 0).any():
        raise ValueError(
            f"{int((fold_of < 0).sum())} trials are never held out; give folds that cover them all."
        )


def averaged_trials(
    judged: Judged, dataset: NeuralDataset, label_column: str, n_trials: int, seed: int
) -> dict[str, float]:
    """`auc_of_averages` of one system's decoded trials, by signal key."""
    labels, out = row_labels(judged.decoded, dataset, label_column), {}
    for key, decoded in judged.decoded.items():
        found = labels[key]
        if found is None:
            raise ValueError("name the column that holds the classes (label_column).")
        scores, classes = class_scores(decoded, found)
        margin, generator = (
            (scores[:, 1] - scores[:, 0]).numpy(),
            seeding.numpy_generator(seed, "averages", key),
        )
        out[key] = auc_of_averages(margin, classes.numpy() == 1, decoded.fold.numpy(), n_trials, generator)
    return out


def auc_of_averages(
    margin: np.ndarray, positive: np.ndarray, fold: np.ndarray, n_trials: int, generator: np.random.Generator
) -> float:
    """Area under the ROC when each score is the mean of `n_trials` trials of one class and fold; the rest is left out.

    Parameters
    ----------
    margin, positive, fold
        As in `measures.auc_over_folds`.
    n_trials : int
        Trials in each mean.
    generator : numpy Generator
        Deals trials into means, 100 times; the areas are averaged.
    """
    areas = [
        _area(*(_dealt(margin[rows & side], n_trials, generator) for side in (positive, ~positive)))
        for rows in (fold == f for f in np.unique(fold))
        for _ in range(100)
    ]
    return float(np.mean(areas))


def windows_of(trials: Trials, width_s: float, step_s: float) -> np.ndarray:
    """First and last sample's time of each window that fits in the epoch; those before onset are laid out backwards."""
    if trials.sfreq is None or trials.tmin is None:
        raise ValueError(f"{trials.key} has no time axis; time_course is for epochs.")
    n_times, sfreq = trials.responses.shape[2], trials.sfreq
    width, step = max(1, round(width_s * sfreq)), max(1, round(step_s * sfreq))
    zero = round(-trials.tmin * sfreq)  # sample at onset
    after = range(zero, n_times - width + 1, step)
    across = range(zero - step, -1, -step)
    starts = np.array(sorted(start for start in (*across, *after) if 0 <= start <= n_times - width))
    checks.at_least("number of windows", len(starts), 1)
    return trials.tmin + np.stack([starts, starts + width - 1], axis=1) / sfreq


def label_draws(positive: np.ndarray, blocks: np.ndarray, n_null: int, seed: int) -> np.ndarray:
    """The classes as +-1 and `n_null` permutations of them within blocks: float32 (n_trials, 1 + n_null)."""
    generator = seeding.numpy_generator(seed, "time course")
    orders = [np.arange(len(positive)), *(permute_within_blocks(blocks, generator) for _ in range(n_null))]
    return np.stack([np.where(positive[order], 1.0, -1.0) for order in orders], axis=1).astype(np.float32)


def _fold_margins(
    whole: NeuralDataset, windows: np.ndarray, labels: np.ndarray, preprocessing: Iterable[Any], seed: int
) -> np.ndarray:
    """What ridges say of the held-out trials: (n_windows, n_held, n_draws), each column with a penalty of its own."""
    fits = window_fits(whole, windows, labels, preprocessing, seed)
    return np.stack([ridge.ridge_predict(held[number], fit).numpy() for number, fit, held in fits])


def window_fits(
    whole: NeuralDataset, windows: np.ndarray, labels: np.ndarray, preprocessing: Iterable[Any], seed: int
) -> Iterator[tuple[int, ridge.RidgeFit, list[torch.Tensor]]]:
    """(number of the window, its ridge with a penalty for each column of labels, held-out trials in every window)."""
    (training,), (test,) = (whole.part(p).trials.values() for p in ("train", "test"))
    fitted = fitted_on(steps_for(tuple(preprocessing), training.modality), training)
    x, held = (torch.from_numpy(applied(fitted, t)) for t in (training, test))
    signal = fitted.signal
    if signal.tmin is None or signal.sfreq is None:
        raise ValueError("the preprocessing of a time course must leave (trial, channel, time).")
    unit = "run" if whole.split is None else whole.split.unit
    units = tuple(splits.unit_values(training, whole.stimuli, unit).tolist())
    parts = group_folds(units, 5, seeding.torch_generator(seed, "time course folds"))
    times = signal.tmin + np.arange(x.shape[2]) / signal.sfreq
    insides = [torch.from_numpy((times > a - 1e-6) & (times < b + 1e-6)) for a, b in windows]
    cut = [held[:, :, inside].flatten(1) for inside in insides]
    for number, inside in enumerate(insides):
        found = factors.factorise(x[:, :, inside].flatten(1), parts)
        fit = ridge.solve(found, torch.from_numpy(labels), ALPHAS, per_target=True, score="correlation")
        yield number, fit, cut


def areas_by_draw(margins: np.ndarray, positive: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Area for each window and draw, (n_windows, n_draws), of margins (n_windows, n_trials, n_draws)."""
    total = np.zeros((margins.shape[0], margins.shape[2]))
    for f in np.unique(fold):
        rows, above = fold == f, positive[fold == f]
        n_above, n_below = int(above.sum()), int((~above).sum())
        for area, table in zip(total, margins, strict=True):
            rank = rankdata(table[rows], axis=0)[above].sum(0)
            area += rows.mean() * (rank - n_above * (n_above + 1) / 2) / (n_above * n_below)
    return total


def _dealt(values: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Means of disjoint random groups of `n` values."""
    n_groups = int(checks.at_least("groups of trials in a fold and class", len(values) // n, 1))
    return generator.permutation(values)[: n_groups * n].reshape(n_groups, n).mean(1)


def _area(above: np.ndarray, below: np.ndarray) -> float:
    """Share of pairs in the right order, ties half."""
    return float(((above[:, None] > below) + 0.5 * (above[:, None] == below)).mean())
