"""Whether what tells two classes apart at one time after onset does so at others: a ridge a window, tried in all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split
from braindec.evaluate.time_course import (
    all_held_out,
    areas_by_draw,
    label_draws,
    parts_of,
    two_classes,
    window_fits,
    windows_of,
)
from braindec.maths import ridge
from braindec.stats.permutation import max_statistic_p


@dataclass(frozen=True, eq=False)
class TemporalGeneralisation:
    """Area under the ROC for each pair of a training window and a window of held-out trials.

    Parameters
    ----------
    windows : float array, shape (n_windows, 2)
        First and last sample of each, seconds from onset.
    values : float array, shape (n_windows, n_windows)
        Trained on the row's window, tried on the column's; its diagonal is the time course. Far below 0.5 the pattern
        is there with its sign turned.
    p : float array, shape (n_windows, n_windows)
        Of areas above chance, corrected by the maximum over all pairs, those before onset included.
    null : float array, shape (n_null, n_windows, n_windows)
        Values after refits under a permuted pairing.
    n : int
        Trials scored in every window.
    """

    windows: np.ndarray
    values: np.ndarray
    p: np.ndarray
    null: np.ndarray
    n: int

    @property
    def centre_s(self) -> np.ndarray:
        """Middle of each window, seconds from onset."""
        return self.windows.mean(1)

    @property
    def null_limit(self) -> float:
        """95 % limit of the null's maximum over pairs of windows."""
        return float(np.quantile(self.null.reshape(len(self.null), -1).max(1), 0.95, method="higher"))

    @property
    def before(self) -> np.ndarray:
        """Which pairs are trained or tried before onset, bool (n_windows, n_windows): nothing can be decoded there."""
        early = self.windows[:, 1] < 0
        return np.asarray(early[:, None] | early)

    def to_json(self) -> dict[str, Any]:
        """Windows, values, corrected p, the limit, and whether pairs that begin before onset stay inside the null."""
        early = self.values[self.before]
        return {
            "windows": self.windows.tolist(),
            "values": self.values.tolist(),
            "p": self.p.tolist(),
            "null_limit": self.null_limit,
            "n_null": len(self.null),
            "before_onset_inside_null": bool((early <= self.null_limit).all()),
        }


def temporal_generalisation(
    dataset: NeuralDataset,
    folds: Sequence[Split],
    *,
    label_column: str,
    preprocessing: Iterable[Any] = (),
    width_s: float = 0.05,
    step_s: float = 0.05,
    n_null: int = 199,
    seed: int = 0,
) -> TemporalGeneralisation:
    """How well a ridge trained on each window tells two classes apart in every window of held-out runs.

    Everything is fitted on the training runs of a fold, as in `time_course`; a permutation of the classes within
    exchangeability blocks is one for all windows and folds.

    Parameters
    ----------
    dataset : NeuralDataset
        Epochs of one subject, or pseudo-trials of them that stay inside the unit of the folds.
    folds, label_column, preprocessing, width_s, step_s, n_null, seed
        As in `time_course`. The work grows with the square of the number of windows.
    """
    checks.at_least("n_null", n_null, 19)
    steps = tuple(preprocessing)
    (trials,) = dataset.trials.values()
    windows = windows_of(trials, width_s, step_s)
    positive = two_classes(dataset, label_column)
    draws = label_draws(positive, trials.table["exchangeability_block"], n_null, seed)
    areas = np.zeros((len(windows), len(windows), draws.shape[1]))
    fold_of = np.full(trials.n_trials, -1)
    for fold, (whole, kept, held) in enumerate(parts_of(dataset, folds)):
        fold_of[held] = fold
        one_fold = np.zeros(int(held.sum()), dtype=np.int64)
        for number, fit, cut in window_fits(whole, windows, draws[kept], steps, seed):
            margins = np.stack([ridge.ridge_predict(x, fit).numpy() for x in cut])
            areas[number] += held.mean() * areas_by_draw(margins, positive[held], one_fold)
    all_held_out(fold_of)
    values, null = areas[:, :, 0], np.moveaxis(areas[:, :, 1:], -1, 0)
    p = max_statistic_p(values.ravel(), null.reshape(n_null, -1)).reshape(values.shape)
    return TemporalGeneralisation(windows, values, p, null.astype(np.float32), trials.n_trials)
