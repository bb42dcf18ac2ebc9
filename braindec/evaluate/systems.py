"""Systems that a protocol judges, each a function from training data to something that predicts embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, store
from braindec.data import NeuralDataset
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder import (
    BrainDecoder,
    Direction,
    Prediction,
    Repeats,
    average_groups,
    group_repeats,
    steps_for,
    told_apart,
    with_repeats,
)
from braindec.decoder.fitting import ALPHAS, group_folds, identification_score, inner_units
from braindec.decoder.rows import applied, fitted_on
from braindec.maths import factors, nearest, ridge
from braindec.types import Embeddings, Table, Trials

MAX_KEPT = (
    2**24
)  # values of features whose factors are kept: 64 MiB of float32, some times as much with factors
NUISANCE = ("onset_s", "run_position", "acquisition_order", "session", "run", "motion")
NUISANCE_GROUPS = {"time": ("onset_s", "run_position", "acquisition_order"), "motion": ("motion",)}
MAX_INDICATORS = 16  # distinct numbers of a column that still enter one by one


class System(Protocol):
    """Anything that predicts embeddings from trials."""

    def predict(self, trials: Trials, *, repeats: Repeats) -> Prediction:
        """Predicted embeddings, (n, n_tokens, n_dims)."""

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """How well each candidate embedding (m, n_tokens, n_dims) fits each prediction: (n, m), higher is better.

        Along the candidates of one prediction where the image is looked for, along the predictions of one candidate
        where the brain response is; a pair's value depends on that pair alone.
        """


Fitter = Callable[[NeuralDataset, Embeddings, int], System]


def decoder_fitter(recipe: Any, *, progress: bool = False) -> Fitter:
    """The recipe's own decoder, fitted from scratch with everything that is chosen in its training."""

    def fit(part: NeuralDataset, embeddings: Embeddings, seed: int) -> System:
        decoder = BrainDecoder.build(recipe, part.info, embeddings.info)
        return decoder.fit(part, embeddings, prior=False, progress=progress)

    return fit


def centred_cosine(prediction: Prediction, candidates: np.ndarray, mean: np.ndarray) -> Tensor:
    """Cosine of predictions and candidates (m, n_tokens, n_dims), the mean embedding removed from both."""
    query, gallery = (torch.from_numpy(v - mean).flatten(1) for v in (prediction.values, candidates))
    return nearest.similarity(query, gallery)


@dataclass(frozen=True, eq=False)
class MeanSystem:
    """Predicts the training stimuli's mean embedding whatever the brain does."""

    mean: np.ndarray

    def predict(self, trials: Trials, *, repeats: Repeats) -> Prediction:
        """The mean, a row a query."""

        def constant(responses: np.ndarray) -> np.ndarray:
            return np.repeat(self.mean[None], len(responses), axis=0)

        return with_repeats(np.zeros((trials.n_trials, 1), np.float32), trials.table, repeats, constant)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """Cosine about the mean: zero for all."""
        return centred_cosine(prediction, candidates, self.mean)


def fit_mean(part: NeuralDataset, embeddings: Embeddings, seed: int) -> MeanSystem:
    """A decoder that knows the stimuli's mean and nothing of the brain."""
    return MeanSystem(embeddings.of(part.stimulus_ids).mean(0))


@dataclass(frozen=True, eq=False)
class RidgeSystem:
    """Closed-form ridge from each subject's features to the embedding."""

    fits: Mapping[str, ridge.RidgeFit]
    features: Mapping[str, Callable[[Trials], np.ndarray]]
    mean: np.ndarray

    def predict(self, trials: Trials, *, repeats: Repeats) -> Prediction:
        """Predicted embeddings."""
        fit = checks.known_key("subject", trials.key, self.fits)

        def run(rows: np.ndarray) -> np.ndarray:
            flat = ridge.ridge_predict(torch.from_numpy(rows), fit).numpy()
            return flat.reshape(-1, *self.mean.shape) + self.mean

        return with_repeats(self.features[trials.key](trials), trials.table, repeats, run)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """Cosine about the training stimuli's mean, in both directions."""
        return centred_cosine(prediction, candidates, self.mean)


@dataclass(eq=False)
class RidgeFitter:
    """Fits `RidgeSystem`s; the factorisation of unchanged features is reused when only the pairing is permuted.

    Parameters
    ----------
    features : callable
        ``features(training trials) -> (trials -> float32 (n, p))``: fits what has to be fitted on training rows.
    alphas : sequence of float
        Penalties to choose among; one is taken as it is.
    score : str or callable
        What the training folds choose the penalty by, as in `maths.ridge`.
    """

    features: Callable[[Trials], Callable[[Trials], np.ndarray]]
    alphas: Sequence[float] = ALPHAS
    score: Any = identification_score
    _kept: dict[str, factors.RidgeFactors] = field(default_factory=dict)

    def __call__(self, part: NeuralDataset, embeddings: Embeddings, seed: int) -> RidgeSystem:
        mean = embeddings.of(part.stimulus_ids).mean(0)
        fits, features = {}, {}
        for key, trials in part.trials.items():
            features[key] = self.features(trials)
            _, factorised, y = self._problem(key, part, trials, features[key], embeddings, mean, seed)
            fits[key] = ridge.solve(factorised, y, self.alphas, score=self.score)
        return RidgeSystem(fits, features, mean)

    def held_out(
        self, system: RidgeSystem, part: NeuralDataset, embeddings: Embeddings, seed: int
    ) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Stimuli and predictions (n, n_tokens, n_dims) of the rows that `system` was fitted on, by signal key.

        Repeats are averaged; each row is predicted by a ridge of the same penalty from all the others: larger folds
        would leave fewer rows than `system` had, and predictions of less spread.
        """
        found = {}
        for key, trials in part.trials.items():
            known = self._problem(key, part, trials, system.features[key], embeddings, system.mean, seed)
            ids, factorised, y = known
            alone = self._factorised(key, factorised.x, None, seed)
            made = ridge.held_out_predictions(alone, y, system.fits[key].alpha).numpy()
            found[key] = ids, made.reshape(-1, *system.mean.shape) + system.mean
        return found

    def _problem(
        self, key: str, part: NeuralDataset, trials: Trials, features: Callable[[Trials], np.ndarray],
        embeddings: Embeddings, mean: np.ndarray, seed: int,
    ) -> tuple[tuple[str, ...], factors.RidgeFactors, Tensor]:  # fmt: skip
        """Stimuli, their features and what is to be told of them, repeats averaged."""
        ids, units = trials.table["stimulus_id"], inner_units(part, trials)
        group, first = group_repeats(told_apart(ids, embeddings), units)
        x = torch.from_numpy(average_groups(features(trials), group, len(first))).flatten(1)
        # Stimuli by their first appearance, not by name: folds, and so the factors, outlive a permuted pairing.
        codes = (
            np.char.zfill(np.arange(len(first)).astype(str), 9)
            if np.array_equal(units, ids)
            else units[first]
        )
        factorised = self._factorised(key, x, tuple(codes.tolist()), seed)
        shown = tuple(ids[first].tolist())
        return shown, factorised, torch.from_numpy(embeddings.of(shown) - mean).flatten(1)

    def _factorised(
        self, key: str, x: Tensor, units: tuple[str, ...] | None, seed: int
    ) -> factors.RidgeFactors:
        """Kept by what went in, so that a fold meets its own factors again in the next refit; None: each row alone."""
        hashed = store.content_hash(key=key, x=x.numpy(), units=units and list(units))
        if hashed not in self._kept:
            draw = seeding.torch_generator(seed, "ridge baseline", key)
            found = factors.factorise(x, "loo" if units is None else group_folds(units, 5, draw))
            while self._kept and sum(f.x.numel() for f in self._kept.values()) + x.numel() > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[hashed] = found
        return self._kept[hashed]


def signal_features(preprocessing: Any) -> Callable[[Trials], Callable[[Trials], np.ndarray]]:
    """The preprocessed signal itself, flattened; `preprocessing` as in the decoder's settings."""

    def fit(trials: Trials) -> Callable[[Trials], np.ndarray]:
        fitted: FittedPreprocessing = fitted_on(steps_for(preprocessing, trials.modality), trials)
        return lambda other: applied(fitted, other).reshape(other.n_trials, -1)

    return fit


def nuisance_features(trials: Trials, columns: Sequence[str] | None = None) -> Callable[[Trials], np.ndarray]:
    """What is known of a trial without its brain response: position, time, session, motion.

    Numbers enter standardised (training statistics) with their squares; text, and numbers of which training knows only
    a few (a position in the run), as one indicator a training value.

    Raises
    ------
    ValueError
        If a column of numbers, here or of the trials asked for later, holds a NaN.
    """
    names = known_nuisances(trials.table) if columns is None else columns
    scales = {c: _scale(_nuisance(trials.table, c)) for c in names}

    def features(other: Trials) -> np.ndarray:
        nothing = np.zeros((other.n_trials, 1))  # where a group has no column
        parts = [nothing, *(_encode(other.table, c, scales[c]) for c in names)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    return features


def known_nuisances(table: Table) -> list[str]:
    """Columns that tell nothing of the brain response."""
    return [c for c in table if c in NUISANCE or c.startswith("motion")]


@dataclass(eq=False)
class NuisanceFitter:
    """Ridges from all nuisance columns and from each group of them; the training folds choose one for each subject.

    Groups stand for themselves because many empty columns hide a telling one from a ridge on few trials.
    """

    _fitters: dict[str, RidgeFitter] = field(default_factory=dict)

    def __call__(self, part: NeuralDataset, embeddings: Embeddings, seed: int) -> RidgeSystem:
        found: dict[str, tuple[float, RidgeSystem]] = {}
        for name in ("all", *NUISANCE_GROUPS):
            fitter = self._fitters.setdefault(name, RidgeFitter(partial(_group_features, name)))
            system = fitter(part, embeddings, seed)
            for key, fit in system.fits.items():
                score = float(fit.cv_scores.max()) if fit.cv_scores is not None else -np.inf
                if key not in found or score > found[key][0]:
                    found[key] = (score, system)
        fits = {key: system.fits[key] for key, (_, system) in found.items()}
        features = {key: system.features[key] for key, (_, system) in found.items()}
        return RidgeSystem(fits, features, embeddings.of(part.stimulus_ids).mean(0))


def _group(name: str, table: Table) -> list[str]:
    known = known_nuisances(table)
    return known if name == "all" else [c for c in known if c.startswith(NUISANCE_GROUPS[name])]


def _group_features(name: str, trials: Trials) -> Callable[[Trials], np.ndarray]:
    return nuisance_features(trials, _group(name, trials.table))


def _nuisance(table: Table, column: str) -> np.ndarray:
    values: np.ndarray = table[column]
    if values.dtype.kind != "f":
        return values
    way_out = "Fill them (derivatives of motion have no first value), or leave the column out of the table."
    return checks.finite(f"nuisance column {column!r}", values, way_out=way_out)


def _scale(values: np.ndarray) -> Any:
    known, counts = np.unique(values, return_counts=True)
    if values.dtype.kind in "US" or (len(known) <= MAX_INDICATORS and counts.min() > 1):
        return known
    return float(values.mean()), max(float(values.std()), 1e-12)


def _encode(table: Table, column: str, scale: Any) -> np.ndarray:
    values = _nuisance(table, column)
    if isinstance(scale, np.ndarray):
        return (values[:, None] == scale[None]).astype(np.float32)
    z = (values - scale[0]) / scale[1]
    return np.stack([z, z**2 - 1], axis=1)
