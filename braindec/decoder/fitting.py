"""Training data of a subject, and the closed-form ridge that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from braindec import checks, seeding, train
from braindec.data import NeuralDataset, splits
from braindec.decoder.prediction import average_groups, group_repeats
from braindec.decoder.rows import Rows, RowTensor, means, take, whole
from braindec.encoder import Encoder
from braindec.maths import folds, ridge
from braindec.types import Trials

ALPHAS = tuple(
    float(a) for a in torch.logspace(-1, 7, 17)
)  # penalties for standardised signals, a factor 3.2 apart
MAX_RIDGE_VALUES = 32_000_000  # signal values of a ridge; float64 copies and factors of more take over 1.5 GB
MAX_RIDGE_WEIGHTS = 128_000_000
MIN_RUNS = 5  # of which whole ones are held out of what is learnt without labels


@dataclass(frozen=True, eq=False)
class SubjectSet:
    """Training data of one signal key.

    Parameters
    ----------
    signals : Tensor or RowTensor, shape (n_trials, *signal)
        Preprocessed.
    targets : mapping of str to Tensor or RowTensor, shape (n_trials, n_tokens, n_dims)
        Centred embeddings of what was presented, by output name.
    stimuli : int Tensor, shape (n_trials,)
        Equal where the stimulus is.
    units : tuple of str
        The split's unit of each trial; validation and folds never divide one.
    """

    signals: Rows
    targets: Mapping[str, Rows]
    stimuli: Tensor
    units: tuple[str, ...]

    def take(self, rows: Tensor) -> SubjectSet:
        """These rows."""
        targets = {name: take(t, rows) for name, t in self.targets.items()}
        units = tuple(self.units[i] for i in rows.tolist())
        return SubjectSet(take(self.signals, rows), targets, self.stimuli[rows], units)

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Group of each row and first row of each group: repeats of a stimulus in the same unit."""
        return group_repeats(self.stimuli.numpy().astype(str), np.array(self.units))

    def averaged(self) -> SubjectSet:
        """One row a stimulus (and unit), responses averaged over its repeats there; itself where nothing repeats."""
        return self._averaged

    @cached_property
    def _averaged(self) -> SubjectSet:
        group, first = self.groups()
        if len(first) == len(group):
            return self
        mean: Rows
        if isinstance(self.signals, RowTensor):
            mean = means(self.signals, group, len(first))
        else:
            mean = torch.from_numpy(average_groups(self.signals.numpy(), group, len(first)))
        chosen = torch.from_numpy(first)
        targets = {name: take(t, chosen) for name, t in self.targets.items()}
        return SubjectSet(mean, targets, self.stimuli[chosen], tuple(self.units[i] for i in first.tolist()))


def inner_units(part: NeuralDataset, trials: Trials) -> np.ndarray:
    """Text, shape (n_trials,): what folds within training never divide, the split's unit.

    Stimuli where there is no split, or where subjects are held out: a fold without a subject fits nothing of it.
    """
    return splits.unit_values(trials, part.stimuli, inner_unit(part))


def inner_unit(part: NeuralDataset) -> str:
    """Name of the unit of `inner_units`."""
    return "stimulus" if part.split is None or part.split.unit == "subject" else part.split.unit


def without_labels(
    signals: Mapping[str, Rows], part: NeuralDataset, fraction: float, seed: int, purpose: str
) -> tuple[dict[str, SubjectSet], dict[str, SubjectSet]]:
    """Trials to learn from without their labels, and those held out, by signal key; no unit is in both.

    A unit is a run, for runs have noise of their own, or the trial itself where there are fewer than five runs.

    Parameters
    ----------
    signals : mapping of str to Tensor or RowTensor
        Preprocessed.
    part : NeuralDataset
        Whose trials these are.
    fraction : float
        Share of units that is held out; nothing is where it is 0.
    seed, purpose
        Of the draw.
    """
    sets, held = {}, {}
    for key, trials in part.trials.items():
        n = trials.n_trials
        runs = [f"{s}/{r}" for s, r in zip(trials.table["session"], trials.table["run"], strict=True)]
        units = runs if len(set(runs)) >= MIN_RUNS else [str(i) for i in range(n)]
        every = SubjectSet(signals[key], {}, torch.arange(n), tuple(units))
        kept_rows, held_rows = train.split_rows(
            every.units, fraction, seeding.torch_generator(seed, purpose, key)
        )
        sets[key] = every.take(kept_rows)
        if len(held_rows):
            held[key] = every.take(held_rows)
    return sets, held


def group_folds(units: tuple[str, ...], n_folds: int, generator: torch.Generator) -> folds.Folds:
    """Held-out rows of `n_folds` parts that never divide a unit.

    Raises
    ------
    ConfigError
        If there are too few units or rows to hold some of them out and fit on the others.
    """
    names, member = np.unique(np.array(units), return_inverse=True)
    if len(names) < 2:
        raise checks.ConfigError(
            f"training, or a fold of it, has {len(units)} trials of one unit ({names.tolist()}), and the penalty is "
            "chosen by holding units (runs, sessions or stimuli, as the split says) of the training part out in turn. "
            "Train on more of them: hold out fewer, or another unit."
        )
    n_folds = min(n_folds, len(names))
    order = torch.randperm(len(names), generator=generator).numpy()
    part = np.empty(len(names), dtype=int)
    part[order] = np.arange(len(names)) % n_folds
    left = len(units) - int(np.bincount(part[member]).max())
    if left < 2:
        raise checks.ConfigError(
            f"training has {len(units)} trials, and folds of it, on which the penalty is chosen, leave {left} to fit "
            "on, too few for a line. Give more trials; decoders are worth fitting from some dozens on."
        )
    return folds.folds_by_group(part[member])


def ridge_to(
    data: SubjectSet, target: Rows, seed: int, *purpose: object, score: Any = None
) -> ridge.RidgeFit:
    """Ridge from flattened signals (n, p) to any target (n, q), its penalty chosen on whole units of these rows.

    The choice is by `identification_score` unless another score of `maths.ridge` is asked for. Of more than
    `MAX_RIDGE_VALUES` signal values, as many rows as have so many are drawn.
    """
    n_features, n_targets = (int(np.prod(values.shape[1:])) for values in (data.signals, target))
    if n_features * n_targets > MAX_RIDGE_WEIGHTS:
        raise checks.ConfigError(
            f"a ridge from {n_features} signal values to {n_targets} has more than {MAX_RIDGE_WEIGHTS} weights; "
            "set train.ridge_start=false, or choose a region or a smaller target."
        )
    chosen = drawn_rows(len(data.stimuli), n_features, seed, *purpose)
    if chosen is not None:
        data, target = data.take(chosen), take(target, chosen)
    parts = group_folds(data.units, 5, seeding.torch_generator(seed, "ridge", *purpose))
    score = identification_score if score is None else score
    x, y = whole(data.signals), whole(target)
    return ridge.fit_ridge(x.flatten(1), y.flatten(1), ALPHAS, parts, score=score)


def drawn(data: SubjectSet, n_features: int, seed: int, *purpose: object) -> SubjectSet:
    """As many random rows as a ridge from so many features takes; all where these are few enough."""
    chosen = drawn_rows(len(data.stimuli), n_features, seed, *purpose)
    return data if chosen is None else data.take(chosen)


def drawn_rows(n_rows: int, n_features: int, seed: int, *purpose: object) -> Tensor | None:
    """Sorted positions of the rows that a ridge is fitted on, or None where it is fitted on all."""
    n_kept = max(2, MAX_RIDGE_VALUES // n_features)
    if n_kept >= n_rows:
        return None
    generator = seeding.torch_generator(seed, "ridge rows", *purpose)
    return torch.randperm(n_rows, generator=generator)[:n_kept].sort().values


def identification_score(prediction: Tensor, truth: Tensor) -> Tensor:
    """How well rows are told apart: mean z-score of the true pair's cosine within its row; smooth in the penalty."""
    centre = truth.mean(0)
    similarity = normalize(prediction - centre, dim=1) @ normalize(truth - centre, dim=1).T
    mean = similarity.mean(1)
    # The SD of each row, at a third of what `std` takes: this runs for every penalty of every fold of every refit.
    spread = torch.linalg.vector_norm(similarity - mean[:, None], dim=1) / max(len(truth) - 1, 1) ** 0.5
    return ((similarity.diagonal() - mean) / spread.clamp_min(1e-8)).mean()


def start_from_ridge_(encoder: Encoder, sets: Mapping[str, SubjectSet], *, output: str, seed: int) -> None:
    """Sets adapters and backbone so that the encoder begins as each subject's closed-form ridge, where it can."""
    if not encoder.wants_maps(output):
        return
    averaged = {key: data.averaged() for key, data in sets.items()}
    fits = {key: ridge_to(data, data.targets[output], seed, key) for key, data in averaged.items()}
    encoder.start_from_ridge_({key: (fit.weights.T, fit.intercept) for key, fit in fits.items()}, output)
