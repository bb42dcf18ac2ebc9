"""Ridge from features to all voxels, a penalty for each voxel, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, jobs
from braindec.encoding.model import VoxelwiseEncoding
from braindec.maths import folds as fold_rules
from braindec.maths import ridge
from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.folds import Folds
from braindec.maths.tensors import Array, as_tensor
from braindec.types import Space

ALPHAS = tuple(
    10 ** (k / 2) for k in range(-2, 15)
)  # 0.1 to 10^7 in half decades, for features of unit variance
VOXELS_AT_ONCE = 4096  # read and fitted together where responses lie on disk


def fit(
    features: Array,
    responses: Array,
    *,
    alphas: ridge.Alphas = ALPHAS,
    folds: Folds | int = 5,
    score: str = "r2",
    space: Space | None = None,
    about: Mapping[str, Any] | None = None,
) -> VoxelwiseEncoding:
    """The encoding model of every voxel at the penalty that predicts its held-out responses best.

    Parameters
    ----------
    features : Tensor or array, shape (n_samples, n_features)
        Of the stimuli, any unit, row by row those of `responses`. With more features than samples the computation runs
        on inner products of samples.
    responses : Tensor or array, shape (n_samples, n_voxels)
        A numpy array may be a memory map: it is read `VOXELS_AT_ONCE` voxels at a time.
    alphas : sequence of float
        Penalties to choose from, in scikit-learn's units; sums of squares, so they grow with the number of samples.
    folds : tuple of folds or int
        Held-out rows (`maths.folds`: by run, or blocks with a gap for a time axis), or the number of folds of
        neighbouring rows.
    score : str
        ``"r2"``, ``"correlation"`` or ``"neg_mse"`` of held-out rows: what the penalty is chosen by.
    space : Space, optional
        Place of the voxels.
    about : mapping, optional
        JSON values that are kept with the model.

    Returns
    -------
    VoxelwiseEncoding
        With an intercept that is not penalised; of the device and dtype of `features` (half precision: float32).

    Raises
    ------
    ValueError
        If lengths differ or a value is NaN.

    Notes
    -----
    Equal to himalaya's RidgeCV(fit_intercept=True) with the same folds and score.
    """
    features = as_tensor("features", features)
    checks.same_length("sample", features=features, responses=responses)
    factors = factorise(
        features, fold_rules.folds_by_count(len(features), folds) if isinstance(folds, int) else folds
    )
    return fit_factorised(factors, responses, alphas=alphas, score=score, space=space, about=about)


def fit_factorised(
    factors: RidgeFactors,
    responses: Tensor | np.ndarray,
    *,
    alphas: ridge.Alphas = ALPHAS,
    score: str = "r2",
    space: Space | None = None,
    about: Mapping[str, Any] | None = None,
) -> VoxelwiseEncoding:
    """`fit` for further responses to the same features (other subjects, permuted pairings).

    Pieces of the voxels are jobs of their own where `jobs.on` (or `joblib.parallel_config`) asks for several.
    """
    fits = jobs.each(_solved, ((factors, part, alphas, score) for part in _parts(responses, factors)))
    weights, intercept, alpha = (
        torch.cat([getattr(f, name) for f in fits], -1) for name in ("weights", "intercept", "alpha")
    )
    best = torch.cat([_best(f) for f in fits])
    return VoxelwiseEncoding(weights, intercept, alpha, best, score, len(factors.x), space, about or {})


def _solved(factors: RidgeFactors, part: Tensor, alphas: ridge.Alphas, score: str) -> ridge.RidgeFit:
    """Some voxels; a job of its own."""
    return ridge.solve(factors, part, alphas, per_target=True, score=score)


def _best(fit: ridge.RidgeFit) -> Tensor:
    """Score at the chosen penalty; NaN where nothing was chosen."""
    return torch.full_like(fit.intercept, torch.nan) if fit.cv_scores is None else fit.cv_scores.amax(0)


def _parts(responses: Tensor | np.ndarray, factors: RidgeFactors) -> list[Tensor] | Any:
    """All responses at once where they are in memory, else one piece after the other."""
    checks.n_axes("responses", responses, ("sample", "voxel"))
    if isinstance(responses, Tensor):
        checks.finite("responses", responses)
        n_jobs = jobs.chosen()
        return [responses] if n_jobs < 2 else list(responses.split(-(-responses.shape[1] // n_jobs), 1))
    return (_read(responses, start, factors) for start in range(0, responses.shape[1], VOXELS_AT_ONCE))


def _read(responses: np.ndarray, start: int, factors: RidgeFactors) -> Tensor:
    dtype = np.float64 if factors.x.dtype == torch.float64 else np.float32
    part = np.array(responses[:, start : start + VOXELS_AT_ONCE], dtype=dtype)
    return torch.from_numpy(checks.finite("responses", part)).to(factors.x)
