"""Estimators for scikit-learn's pipelines and cross-validation, on arrays: ridge to embeddings, whitening, alignment.

They are thin: the mathematics is `braindec.maths`. They go wherever scikit-learn's own go (`Pipeline`,
`cross_val_score`, `GridSearchCV`; behind nilearn's maskers and mne's `Vectorizer`), and know no subjects, stimuli or
splits: who needs an audit of leaks, intervals and chance beside a score takes `braindec.QuickDecoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    OneToOneFeatureMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from braindec import checks
from braindec.maths import covariance, folds, nearest, ridge
from braindec.maths.procrustes import procrustes
from braindec.metrics.identification import two_way_identification
from braindec.metrics.retrieval import image_retrieval

__all__ = ["Aligner", "EmbeddingRidge", "Whitener", "top1", "two_way"]

ALPHAS = tuple(float(a) for a in np.logspace(-1, 7, 17))
DTYPES = (np.float64, np.float32)


class EmbeddingRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression from responses to embeddings; the penalty is chosen inside of training by held-out rows.

    Parameters
    ----------
    alphas : sequence of float
        Penalties >= 0 to choose from, in scikit-learn's units; one needs no folds.
    n_folds : int
        >= 2; as many as there are rows, if there are fewer.
    per_target : bool
        Choose a penalty for each value of an embedding.
    score_by : {"r2", "correlation", "neg_mse"}
        What held-out rows are scored by.
    seed : int or None
        Shuffles rows into folds; None takes neighbours together, which suits a time axis.

    Attributes
    ----------
    coef_ : array, shape (n_targets, n_features), or (n_features,) where y had one axis
    intercept_ : array, shape (n_targets,), or float
    alpha_ : array, shape (n_targets,)
        The chosen penalties, equal where one was chosen for all.

    Notes
    -----
    One factorisation serves all penalties, folds and targets (`maths.ridge`).
    """

    def __init__(
        self,
        alphas: Sequence[float] = ALPHAS,
        *,
        n_folds: int = 5,
        per_target: bool = False,
        score_by: str = "r2",
        seed: int | None = None,
    ):
        self.alphas = alphas
        self.n_folds = n_folds
        self.per_target = per_target
        self.score_by = score_by
        self.seed = seed

    def fit(self, X: Any, y: Any) -> EmbeddingRidge:
        """Chooses the penalty and fits all rows.

        Parameters
        ----------
        X : array, shape (n_trials, n_features)
        y : array, shape (n_trials, n_targets) or (n_trials,)
        """
        X, y = validate_data(
            self, X, y, dtype=DTYPES, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        x, targets = _tensor(X), _tensor(np.asarray(y, dtype=X.dtype).reshape(len(X), -1))
        parts = None
        if len(self.alphas) > 1:
            generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
            parts = folds.folds_by_count(len(X), min(self.n_folds, len(X)), generator)
        found = ridge.fit_ridge(
            x, targets, self.alphas, parts, per_target=self.per_target, score=self.score_by
        )
        coef, intercept = found.weights.T.numpy(), found.intercept.numpy()
        self.alpha_ = found.alpha.expand(targets.shape[1]).numpy()
        single = np.ndim(y) == 1
        self.coef_: np.ndarray = coef[0] if single else coef
        self.intercept_: np.ndarray | float = float(intercept[0]) if single else intercept
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Embeddings, shape (n_trials, n_targets) or (n_trials,) as y was in `fit`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def retrieve(self, X: Any, gallery: Any, k: int = 1) -> np.ndarray:
        """The k most similar gallery entries of every prediction, by correlation, most similar first.

        Parameters
        ----------
        X : array, shape (n_trials, n_features)
        gallery : array, shape (n_entries, n_targets)
        k : int
            In [1, n_entries].

        Returns
        -------
        int array, shape (n_trials, k)
            Rows of the gallery.
        """
        checks.in_range("k", k, 1, len(gallery))
        predicted, entries = (_tensor(np.asarray(v, dtype=np.float64)) for v in (self.predict(X), gallery))
        return nearest.top_k(predicted, entries, k, measure="correlation")[1].numpy()


class Whitener(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Makes channels uncorrelated with unit variance, each as close to itself as it can stay.

    Parameters
    ----------
    shrinkage : float or None
        Of the covariance towards a multiple of the identity, in [0, 1]; None estimates it (Ledoit-Wolf).

    Attributes
    ----------
    mean_ : array, shape (n_features,)
    matrix_ : array, shape (n_features, n_features)
    shrinkage_ : float
        What was used.
    """

    def __init__(self, shrinkage: float | None = None):
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any = None) -> Whitener:
        """Learns mean and covariance of the rows of X (n_trials, n_features); `y` is not looked at."""
        X = validate_data(self, X, dtype=DTYPES, ensure_min_samples=2)
        if self.shrinkage is not None:
            checks.in_range("shrinkage", self.shrinkage, 0.0, 1.0)
        found = covariance.fit_whitening(_tensor(X), self.shrinkage)
        self.mean_, self.matrix_ = found.mean.numpy(), found.matrix.numpy()
        self.shrinkage_ = float(found.shrinkage)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Whitened rows, shape (n_trials, n_features)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.asarray((X - self.mean_) @ self.matrix_)


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Rotates responses into the space of a reference that saw the same stimuli (orthogonal Procrustes).

    Parameters
    ----------
    scaling : bool
        Also bring them to the reference's size.

    Attributes
    ----------
    mean_ : array, shape (n_features,)
    matrix_ : array, shape (n_features, n_reference_features)
        Orthonormal columns, times the scale.
    reference_mean_ : array, shape (n_reference_features,)

    Notes
    -----
    Fitted on training stimuli alone; every row of X belongs to the row of y.
    """

    def __init__(self, scaling: bool = False):
        self.scaling = scaling

    def fit(self, X: Any, y: Any) -> Aligner:
        """Finds the rotation.

        Parameters
        ----------
        X : array, shape (n_stimuli, n_features)
        y : array, shape (n_stimuli, n_reference_features) or (n_stimuli,)
            The reference's responses; it has no more features than X.
        """
        X, y = validate_data(
            self, X, y, dtype=DTYPES, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        x, reference = _tensor(X), _tensor(np.asarray(y, dtype=X.dtype).reshape(len(X), -1))
        found = procrustes(x - x.mean(0), reference - reference.mean(0), scaling=self.scaling)
        self.mean_, self.reference_mean_ = x.mean(0).numpy(), reference.mean(0).numpy()
        self.matrix_ = (found.scale * found.matrix).numpy()
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Rows in the reference's space, shape (n_trials, n_reference_features)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.asarray((X - self.mean_) @ self.matrix_ + self.reference_mean_)

    @property
    def _n_features_out(self) -> int:  # the mixin's name
        return int(self.matrix_.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def two_way(estimator: Any, X: Any, y: Any) -> float:
    """How often a prediction correlates more with its own truth than with another row's; chance 0.5.

    For ``cross_val_score(..., scoring=two_way)``; ``y`` has two or more columns.
    """
    return float(two_way_identification(estimator.predict(X), np.asarray(y)).value)


def top1(estimator: Any, X: Any, y: Any) -> float:
    """How often the own truth correlates most with a prediction among all rows of y; chance is 1 / n_rows.

    For ``cross_val_score(..., scoring=top1)``; rows of y that are equal share
    a hit, so average repeats first.
    """
    predicted, true = (_tensor(np.asarray(v, dtype=np.float64)) for v in (estimator.predict(X), y))
    similarity = nearest.similarity(predicted, true, "correlation")
    return float(image_retrieval(similarity, torch.arange(len(true))).mean())


def _tensor(values: np.ndarray) -> Tensor:
    """The array as a tensor; copied where it may not be written (torch would warn of it)."""
    kept = np.ascontiguousarray(values)
    return torch.from_numpy(kept if kept.flags.writeable else kept.copy())
