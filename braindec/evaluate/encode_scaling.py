"""How prediction grows with the number of training trials: one encoding model on shares of the training stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.splits import unit_values
from braindec.evaluate import encode
from braindec.evaluate.encode_scan import N_RESAMPLES, correlations
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.stats.permutation import p_value
from braindec.types import Embeddings

LIMIT = (
    "A line over the logarithm of the number of trials describes what was measured. It is no forecast: three sizes "
    "cannot tell it from a curve that levels off, and correlations end at their ceiling."
)


@dataclass(frozen=True, eq=False)
class Scaling:
    """Mean test correlation of one subject as a function of training trials: r = intercept + slope log10(trials).

    Parameters
    ----------
    n_trials : float array, shape (n_sizes,)
        Mean over draws.
    r : float array, shape (n_sizes, n_draws)
        Mean over voxels that repeat (chosen on all training trials).
    intervals : float array, shape (n_sizes, 2)
        95 % of the mean over draws, test stimuli resampled.
    slope : float
        Per tenfold number of trials.
    slope_interval : tuple of float
        95 %; test stimuli resampled, the same for all sizes.
    intercept : float
    null_slope : float array, shape (n_null,)
        Of the same models refitted to permuted training stimuli.
    ceiling : float or None
    """

    n_trials: np.ndarray
    r: np.ndarray
    intervals: np.ndarray
    slope: float
    slope_interval: tuple[float, float]
    intercept: float
    null_slope: np.ndarray
    ceiling: float | None

    @property
    def p(self) -> float:
        """Share of null slopes at least as steep, (count + 1) / (n + 1)."""
        return p_value(self.slope, self.null_slope) if len(self.null_slope) else 1.0


def encode_scaling(
    dataset: NeuralDataset,
    space: Embeddings,
    fractions: Sequence[float] = (0.1, 0.3, 1.0),
    *,
    n_draws: int = 2,
    settings: Settings = SETTINGS,
    preprocessing: Any = encode.PREPROCESSING,
) -> dict[str, Scaling]:
    """Fits the model of one feature space on shares of each subject's training stimuli.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split; the test part is the same for all sizes.
    space : Embeddings
    fractions : sequence of float
        Rising, in (0, 1], at least two; the last is 1. Stimuli of a smaller share are among those of a larger one.
    n_draws : int
        Random shares of each size (all training stimuli are drawn once).
    settings : Settings
    preprocessing : Preprocessing, or mapping of such by modality, or None
        Fitted on each share by itself.

    Returns
    -------
    dict of str to Scaling
        By subject.
    """
    sizes = [float(f) for f in fractions]
    if len(sizes) < 2 or sorted(set(sizes)) != sizes or sizes[0] <= 0 or sizes[-1] != 1.0:
        raise ValueError(f"fractions must rise in (0, 1], be at least two and end in 1, got {sizes}.")
    checks.at_least("n_draws", n_draws, 1)
    quiet = replace(settings, n_permutations=1)
    fits = [
        [
            encode.encode(_share(dataset, f, draw, settings.seed), {"features": space}, preprocessing=preprocessing,
                          settings=quiet)
            for draw in range(1 if f == 1.0 else n_draws)
        ]
        for f in sizes
    ]  # fmt: skip
    trials = [[_trials(dataset, f, d, settings.seed) for d in range(len(row))] for f, row in zip(sizes, fits)]
    return {
        key: _one(key, [[e[key] for e in row] for row in fits], [[t[key] for t in row] for row in trials])
        for key in fits[-1][0]
    }


def panels(found: Mapping[str, Scaling]) -> list[tuple[str, str, dict[str, Any]]]:
    """For a report: a row a subject and size, the slope with interval and null, and what it does not say."""
    rows = []
    for key, one in found.items():
        for size, r, (low, high) in zip(one.n_trials, one.r, one.intervals):
            rows.append(
                [key.replace("_", " "), f"{size:.0f}", f"{np.nanmean(r):.3f} [{low:.3f}, {high:.3f}]", "", ""]
            )
        rows[-1][3] = "{:+.3f} [{:+.3f}, {:+.3f}]".format(one.slope, *one.slope_interval)
        rows[-1][4] = f"{one.null_slope.mean():+.3f}, p {one.p:.3f}" if len(one.null_slope) else ""
    columns = [
        "subject",
        "training trials",
        "mean test r",
        "per tenfold number of trials",
        "the same, shuffled stimuli",
    ]
    return [
        ("More training trials", "table", {"columns": columns, "rows": rows, "caption": LIMIT}),
    ]


def _one(key: str, fits: list[list[Encoded]], trials: list[list[int]]) -> Scaling:
    full = fits[-1][0]
    kept = full.kept if full.kept.any() else np.ones_like(full.kept)
    names, member = np.unique(full.blocks, return_inverse=True)
    generator = seeding.numpy_generator(full.settings.seed, "scaling interval", key)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES)[
        :, member
    ]
    weights = drawn / drawn.sum(1, keepdims=True)
    n_draws = max(len(row) for row in fits)
    r = np.full((len(fits), n_draws), np.nan)
    resampled, null = np.zeros((len(fits), N_RESAMPLES)), np.zeros((len(fits), len(full.null)))
    for i, row in enumerate(fits):
        pairs = [(e.predictions[:, kept], e.responses[:, kept]) for e in row]
        r[i, : len(row)] = [correlations(*pair).mean() for pair in pairs]
        resampled[i] = np.mean([correlations(*pair, weights).mean(1) for pair in pairs], axis=0)
        null[i] = np.mean([e.null[:, kept].mean(1) for e in row], axis=0)
    sizes = np.array([np.mean(row) for row in trials])
    slope, intercept = np.polyfit(np.log10(sizes), np.nanmean(r, 1), 1)
    slopes = np.polyfit(np.log10(sizes), resampled, 1)[0]
    none = np.polyfit(np.log10(sizes), null, 1)[0] if null.shape[1] else np.zeros(0)
    low, high = np.quantile(slopes, [0.025, 0.975])
    ceiling = None if full.ceiling is None else float(full.ceiling[kept].mean())
    intervals = np.quantile(resampled, [0.025, 0.975], axis=1).T
    return Scaling(
        sizes, r, intervals, float(slope), (float(low), float(high)), float(intercept), none, ceiling
    )


def _share(dataset: NeuralDataset, fraction: float, draw: int, seed: int) -> NeuralDataset:
    """The dataset with a share of every subject's training stimuli, and all of the test part."""
    if fraction == 1.0:
        return dataset
    return dataset.select(rows=_rows(dataset, fraction, draw, seed))


def _rows(dataset: NeuralDataset, fraction: float, draw: int, seed: int) -> dict[str, np.ndarray]:
    if dataset.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    rows = {}
    for key, trials in dataset.trials.items():
        inside, test = (dataset.split.members(trials, dataset.stimuli, part) for part in ("train", "test"))
        ids = unit_values(trials, dataset.stimuli, "stimulus")
        unique = np.unique(ids[inside])
        order = seeding.numpy_generator(seed, "scaling", key, draw).permutation(unique)
        chosen = order[: max(2, round(fraction * len(unique)))]
        rows[key] = (inside & np.isin(ids, chosen)) | test
    return rows


def _trials(dataset: NeuralDataset, fraction: float, draw: int, seed: int) -> dict[str, int]:
    train = _share(dataset, fraction, draw, seed).part("train")
    return {key: t.n_trials for key, t in train.trials.items()}
