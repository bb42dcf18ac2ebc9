"""Encoding models of prepared data: every layer to every voxel, beside nuisance features, ceilings and nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, encoding, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import AverageTime, Preprocessing, Standardise
from braindec.decoder import average_groups, group_repeats
from braindec.encoding.voxelwise import fit_factorised
from braindec.maths import folds as fold_rules
from braindec.maths.factors import RidgeFactors, factorise
from braindec.stats import ceilings
from braindec.types import UNKNOWN, Embeddings, Space, Trials

# Sessions differ in scale, which no feature of a stimulus explains; epochs are thinned to what a model can tell apart.
PREPROCESSING = {
    "fmri": Preprocessing((Standardise(unit="session", scope="unit_train_rows"),)),
    "eeg": Preprocessing((AverageTime(3),)),
    "meg": Preprocessing((AverageTime(3),)),
}
CEILING = (
    0.3  # smallest training ceiling (correlation) of a voxel whose scores are given as shares of its ceiling
)


@dataclass(frozen=True)
class Settings:
    """How encoding models are fitted and tested.

    Parameters
    ----------
    n_folds : int
        Of training stimuli, for the penalty and the layer of every voxel.
    n_null : int
        Refits with training stimuli permuted.
    n_permutations : int
        Reorderings of test responses for the p-values of voxels.
    ceiling : float
        Smallest training ceiling of a voxel that counts in means and is given a share of its ceiling.
    alphas : tuple of float
    seed : int
    """

    n_folds: int = 5
    n_null: int = 19
    n_permutations: int = 499
    ceiling: float = CEILING
    alphas: tuple[float, ...] = encoding.ALPHAS
    seed: int = 0


SETTINGS = Settings()


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoding models of one subject, and what they predict of the test part.

    Parameters
    ----------
    key : str
        ``sub-01_fmri``.
    layers : mapping of str to VoxelwiseEncoding
        Each with the nuisance features beside it: its weights are the layer's first, then theirs.
    cv, r, r2 : float array, shape (n_layers, n_voxels)
        Score of the layer with the nuisance features: cross-validated R^2 of training, correlation and R^2 of the test.
    alone : float array, shape (n_layers, n_voxels)
        Test R^2 of the layer without nuisance features.
    nuisance_r, nuisance_r2, nuisance_cv : float array, shape (n_voxels,)
        Of the nuisance features alone; 0 without any.
    chosen : int array, shape (n_voxels,)
        Layer with the best cross-validated score.
    ceiling, training_ceiling : float array, shape (n_voxels,), or None
        Largest possible correlation with the mean test (training) response, from repeats of training stimuli; None
        where nothing repeats.
    kept : bool array, shape (n_voxels,)
        Voxels that count in means: chosen by the training ceiling (all, where nothing repeats).
    tested : Significance
        Of the chosen layers' test correlations.
    null : float array, shape (n_null, n_voxels)
        Test correlation of the chosen layers' models refitted to permuted training stimuli.
    predictions, responses : float32 array, shape (n_test, n_voxels)
        Of the chosen layers, and mean responses.
    test_ids : tuple of str
    space : Space
    shape : tuple of int
        (n_voxels,), or (n_channels, n_times) that the voxel axis unfolds to.
    n_train : int
    """

    key: str
    layers: Mapping[str, encoding.VoxelwiseEncoding]
    cv: np.ndarray
    r: np.ndarray
    r2: np.ndarray
    alone: np.ndarray
    nuisance_r: np.ndarray
    nuisance_r2: np.ndarray
    nuisance_cv: np.ndarray
    chosen: np.ndarray
    ceiling: np.ndarray | None
    training_ceiling: np.ndarray | None
    kept: np.ndarray
    tested: encoding.Significance
    null: np.ndarray
    predictions: np.ndarray
    responses: np.ndarray
    test_ids: tuple[str, ...]
    space: Space
    shape: tuple[int, ...]
    n_train: int
    settings: Settings = field(default_factory=Settings)

    @property
    def best(self) -> np.ndarray:
        """Test correlation of each voxel's chosen layer, (n_voxels,)."""
        return self.r[self.chosen, np.arange(self.r.shape[1])]

    @property
    def unique(self) -> np.ndarray:
        """Test R^2 of each layer beyond the nuisance features, (n_layers, n_voxels); never clipped."""
        return self.r2 - self.nuisance_r2

    @property
    def normalised(self) -> encoding.Normalised | None:
        """The best correlations as shares of their ceiling."""
        if self.ceiling is None or self.training_ceiling is None:
            return None
        score, ceiling, training = (
            torch.from_numpy(np.asarray(v)) for v in (self.best, self.ceiling, self.training_ceiling)
        )
        return encoding.normalised(score, ceiling, training, self.settings.ceiling)


def encode(
    dataset: NeuralDataset,
    layers: Mapping[str, Embeddings],
    nuisance: Mapping[str, Embeddings] | None = None,
    *,
    preprocessing: Mapping[str, Preprocessing] | Preprocessing | None = None,
    settings: Settings = SETTINGS,
    keys: Sequence[str] | None = None,
) -> dict[str, Encoded]:
    """Encoding models of every subject: fitted on the train part of the dataset's split, judged on its test part.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split; repeats of a stimulus are averaged in both parts.
    layers : mapping of str to Embeddings
        Feature spaces in order, from early to late.
    nuisance : mapping of str to Embeddings, optional
        Low-level features and random networks: they stand beside every layer, and alone.
    preprocessing : Preprocessing, or mapping of such by modality, optional
        Fitted on training trials.
    settings : Settings
    keys : sequence of str, optional
        Subjects; all by default.

    Returns
    -------
    dict of str to Encoded
        By subject. Nothing is averaged over subjects here.
    """
    checks.at_least("number of layers", len(layers), 1)
    train, test = dataset.part("train"), dataset.part("test")
    chosen = keys or [key for key in train.trials if key in test.trials]
    return {
        key: _encode_one(
            key, train.trials[key], test.trials[key], layers, nuisance or {}, preprocessing, settings
        )
        for key in chosen
    }


@dataclass(frozen=True, eq=False)
class _Part:
    """Mean responses (n, n_voxels) of the stimuli of one part, and the repeats behind each."""

    ids: tuple[str, ...]
    y: Tensor
    counts: np.ndarray


def _encode_one(
    key: str, train: Trials, test: Trials, layers: Mapping[str, Embeddings], nuisance: Mapping[str, Embeddings],
    preprocessing: Any, settings: Settings,
) -> Encoded:  # fmt: skip
    steps = preprocessing.get(train.modality) if isinstance(preprocessing, Mapping) else preprocessing
    fitted = (steps or Preprocessing()).fit(train)
    single = torch.from_numpy(fitted.apply(train).reshape(train.n_trials, -1))
    a = _averaged(train, single)
    b = _averaged(test, torch.from_numpy(fitted.apply(test).reshape(test.n_trials, -1)))
    order = torch.randperm(len(a.ids), generator=seeding.torch_generator(settings.seed, "encode folds", key))
    rules = tuple(part.sort().values for part in order.tensor_split(min(settings.n_folds, len(a.ids))))
    low = _pair(list(nuisance.values()), a, b)
    low_model, low_made = None, torch.zeros_like(b.y)
    if low is not None:
        low_model = fit_factorised(factorise(low[0], rules), a.y, alphas=settings.alphas)
        low_made = low_model.predict(low[1])
    place = fitted.signal.space if fitted.signal.space.n_features == a.y.shape[1] else None
    found = [_layer(space, low, a, b, rules, settings, place) for space in layers.values()]
    cv = np.stack([f.model.cv_score.numpy() for f in found])
    best = cv.argmax(0)
    voxel = torch.arange(b.y.shape[1])
    made = torch.stack([f.made for f in found])[torch.from_numpy(best), :, voxel].T.contiguous()
    generator = seeding.numpy_generator(settings.seed, "encode permutations", key)
    ceiling, training_ceiling = _ceilings(single, train, a, b)
    kept = (
        np.ones(len(voxel), dtype=bool) if training_ceiling is None else training_ceiling >= settings.ceiling
    )
    return Encoded(
        key, {name: f.model for name, f in zip(layers, found)}, cv,
        np.stack([encoding.correlation(f.made, b.y).numpy() for f in found]),
        np.stack([encoding.r2(f.made, b.y).numpy() for f in found]), np.stack([f.alone for f in found]),
        encoding.correlation(low_made, b.y).numpy(),
        np.zeros(len(voxel), np.float32) if low_model is None else encoding.r2(low_made, b.y).numpy(),
        np.zeros(len(voxel), np.float32) if low_model is None else low_model.cv_score.numpy(),
        best, ceiling, training_ceiling, kept,
        encoding.significance(made, b.y, settings.n_permutations, generator),
        _null(key, found, best, a, b, settings), made.numpy(), b.y.numpy(), b.ids,
        fitted.signal.space, tuple(fitted.signal.shape), len(a.ids), settings,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer beside the nuisance features: factors and test features for refits, model, predictions, score alone."""

    factors: RidgeFactors
    features: Tensor
    model: encoding.VoxelwiseEncoding
    made: Tensor
    alone: np.ndarray


def _layer(
    space: Embeddings, low: tuple[Tensor, Tensor] | None, a: _Part, b: _Part, rules: fold_rules.Folds,
    settings: Settings, place: Space | None,
) -> _Layer:  # fmt: skip
    x, x_test = _standardised(space, a, b)
    own = fit_factorised(factorise(x, rules), a.y, alphas=settings.alphas)
    alone = encoding.r2(own.predict(x_test), b.y).numpy()
    if low is not None:
        x, x_test = torch.cat([x, low[0]], 1), torch.cat([x_test, low[1]], 1)
    factors = factorise(x, rules)
    about = {
        "space": space.space,
        "n_layer_features": int(own.n_features),
        "n_nuisance": x.shape[1] - own.n_features,
    }
    model = fit_factorised(factors, a.y, alphas=settings.alphas, space=place, about=about)
    return _Layer(factors, x_test, model, model.predict(x_test), alone)


def _null(
    key: str, found: Sequence[_Layer], best: np.ndarray, a: _Part, b: _Part, settings: Settings
) -> np.ndarray:
    """Each voxel's chosen layer refitted to permuted training stimuli, its penalty chosen anew."""
    generator = seeding.torch_generator(settings.seed, "encode null", key)
    out = np.zeros((settings.n_null, len(best)), dtype=np.float32)
    for row in range(settings.n_null):
        y = a.y[torch.randperm(len(a.y), generator=generator)]
        for number, layer in enumerate(found):
            members = np.flatnonzero(best == number)
            if len(members):
                model = fit_factorised(layer.factors, y[:, members], alphas=settings.alphas)
                out[row, members] = encoding.correlation(
                    model.predict(layer.features), b.y[:, members]
                ).numpy()
    return out


def _averaged(trials: Trials, y: Tensor) -> _Part:
    ids = trials.table["stimulus_id"]
    known = np.flatnonzero(ids != UNKNOWN)
    group, first = group_repeats(ids[known])
    mean = average_groups(y.numpy()[known], group, len(first))
    return _Part(tuple(ids[known][first].tolist()), torch.from_numpy(mean), np.bincount(group))


def _standardised(space: Embeddings, a: _Part, b: _Part) -> tuple[Tensor, Tensor]:
    """Features of both parts, (n, n_features), with the training part's mean and standard deviation removed.

    Test values outside of the training range are moved to its edge: a unit that was silent but for one training
    stimulus would else come out a hundred deviations away, and carry every voxel with it.
    """
    x, x_test = (torch.from_numpy(space.of(part.ids)).flatten(1) for part in (a, b))
    mean, spread = x.mean(0), x.std(0)
    # A feature that is constant in training says nothing, and its deviation would be divided by rounding.
    scale = torch.where(
        spread > 1e-6 * spread.max().clamp_min(1e-12), 1 / spread.clamp_min(1e-12), torch.zeros(())
    )
    inside = torch.minimum(torch.maximum(x_test, x.amin(0)), x.amax(0))
    return (x - mean) * scale, (inside - mean) * scale


def _pair(spaces: Sequence[Embeddings], a: _Part, b: _Part) -> tuple[Tensor, Tensor] | None:
    if not spaces:
        return None
    pairs = [_standardised(space, a, b) for space in spaces]
    return torch.cat([x for x, _ in pairs], 1), torch.cat([x for _, x in pairs], 1)


def _ceilings(
    single: Tensor, trials: Trials, a: _Part, b: _Part
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Largest correlation with mean test and training responses, from the spread of training stimuli's repeats."""
    if int(a.counts.max()) < 2:
        return None, None
    known = np.flatnonzero(trials.table["stimulus_id"] != UNKNOWN)
    ncsnr = ceilings.estimate_ncsnr(single[known], trials.table["stimulus_id"][known])
    finite = ncsnr.clamp_max(1e6)
    test, train = (ceilings.noise_ceiling(finite, part.counts.tolist()).sqrt().numpy() for part in (b, a))
    return test, train
