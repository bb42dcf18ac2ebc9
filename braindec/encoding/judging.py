"""How well held-out responses are predicted: scores, shares of a noise ceiling, and tests that count all voxels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, jobs
from braindec.maths.correlation import pearson, standardise
from braindec.maths.tensors import Array, as_tensor
from braindec.stats import corrections, permutation

SHIFTS = ("circular", "block")
VOXELS_OF_A_SUM = (
    64  # torch sums columns by vectors of processors: pieces that cut one are summed to other bits
)


def r2(prediction: Array, truth: Array) -> Tensor:
    """1 - squared error over variance of each voxel (n_voxels,), from residuals in float64; not clipped.

    A constant voxel has 0.
    """
    prediction, truth = _pair(prediction, truth)
    checks.same_length("sample", prediction=prediction, truth=truth)
    wide = truth.double()
    left, spread = (wide - prediction.double()).square().sum(0), (wide - wide.mean(0)).square().sum(0)
    return torch.where(spread > 0, 1 - left / spread.clamp_min(1e-300), torch.zeros_like(left)).to(
        truth.dtype
    )


def correlation(prediction: Array, truth: Array) -> Tensor:
    """Pearson correlation over samples of each voxel (n_voxels,), in [-1, 1]; 0 where either is constant."""
    return pearson(*_pair(prediction, truth), dim=0)


def _pair(prediction: Array, truth: Array) -> tuple[Tensor, Tensor]:
    return as_tensor("prediction", prediction, floating=True), as_tensor("truth", truth, floating=True)


def product_measure(predictions: Array, truth: Array) -> Tensor:
    """R^2 of a joint prediction divided among the spaces that add up to it.

    Parameters
    ----------
    predictions : Tensor or array, shape (n_spaces, n_samples, n_voxels)
        What each space adds, e.g. `BandedEncoding.predict_split`.
    truth : Tensor or array, shape (n_samples, n_voxels)

    Returns
    -------
    Tensor, shape (n_spaces, n_voxels)
        Sums to the R^2 of the summed prediction, all centred; a part can be negative.

    Notes
    -----
    sum(2 y p_i - p p_i) / sum(y^2), Pratt 1987; as himalaya's r2_score_split with centred predictions.
    """
    predictions, truth = _pair(predictions, truth)
    y = truth - truth.mean(0)
    parts = predictions - predictions.mean(1, keepdim=True)
    joint = parts.sum(0)
    total = y.square().sum(0)
    shares = ((2 * y - joint) * parts).sum(1)
    return torch.where(
        total > 0, shares / total.clamp_min(torch.finfo(total.dtype).tiny), torch.zeros_like(shares)
    )


@dataclass(frozen=True, eq=False)
class Normalised:
    """Scores as shares of what a perfect model would reach.

    Parameters
    ----------
    values : Tensor, shape (n_voxels,)
        NaN for voxels whose ceiling on training data is below the threshold; not clipped, so noise can lift one over 1.
    kept : bool Tensor, shape (n_voxels,)
    threshold : float
    """

    values: Tensor
    kept: Tensor
    threshold: float

    @property
    def n_kept(self) -> int:
        """Voxels with a value."""
        return int(self.kept.sum())

    @property
    def n_voxels(self) -> int:
        """All voxels."""
        return int(self.kept.numel())

    def __str__(self) -> str:
        mean = float(self.values[self.kept].mean()) if self.n_kept else float("nan")
        kept = f"{self.n_kept} of {self.n_voxels} voxels (training ceiling >= {self.threshold:g})"
        return f"{mean:.3f} of the ceiling, mean of {kept}"


def normalised(score: Array, ceiling: Array, training_ceiling: Array, threshold: float) -> Normalised:
    """Scores over ceilings, for voxels that repeat well enough on training data.

    Parameters
    ----------
    score, ceiling : Tensor or array, shape (n_voxels,)
        Of the test rows, in one unit: a correlation and the largest possible one, or R^2 and the explainable share.
    training_ceiling : Tensor or array, shape (n_voxels,)
        The same from training rows alone: choosing voxels by the test ceiling would favour lucky ones.
    threshold : float
        > 0; smallest training ceiling of a voxel that is given a value.
    """
    score, ceiling = as_tensor("score", score, floating=True), as_tensor("ceiling", ceiling, floating=True)
    training_ceiling = as_tensor("training_ceiling", training_ceiling)
    checks.same_length("voxel", score=score, ceiling=ceiling, training_ceiling=training_ceiling)
    checks.at_least("threshold", threshold, 1e-6)
    kept = (training_ceiling >= threshold) & (ceiling > 0)
    values = torch.where(kept, score / ceiling.clamp_min(1e-12), torch.full_like(score, torch.nan))
    return Normalised(values, kept, threshold)


@dataclass(frozen=True, eq=False)
class Significance:
    """Correlations tested against the same predictions paired with responses out of place.

    Parameters
    ----------
    observed, p, p_fdr, p_max : float array, shape (n_voxels,)
        Correlation; p of the voxel alone, (c + 1) / (N + 1); with the share of false discoveries
        controlled; and with any false discovery controlled, by the maximum over voxels.
    null_mean : float array, shape (n_voxels,)
    n_permutations : int
    """

    observed: np.ndarray
    p: np.ndarray
    p_fdr: np.ndarray
    p_max: np.ndarray
    null_mean: np.ndarray
    n_permutations: int


def significance(
    prediction: Array,
    truth: Array,
    n_permutations: int,
    generator: np.random.Generator,
    *,
    blocks: Any | None = None,
    shift: str = "block",
    block_length: int = 1,
) -> Significance:
    """Tests whether predictions belong to the responses that they were made for.

    Parameters
    ----------
    prediction, truth : Tensor or array, shape (n_samples, n_voxels)
        Of test rows, which no fit saw.
    n_permutations : int
    generator : numpy Generator
    blocks : sequence, length n_samples, or None
        Run (or exchangeability block) of each row: nothing is moved out of it. None: all rows are one.
    shift : {"block", "circular"}
        Pieces of `block_length` neighbouring rows trade places (1: single rows, for separate trials), or every run is
        rotated by a random amount of at least `block_length`, for continuous data whose samples are not independent.
    block_length : int
        Rows >= 1; for continuous data at least the length of the haemodynamic response.

    Notes
    -----
    Voxels are moved together, so that the maximum over voxels keeps their dependence (Nichols & Holmes 2002). Pieces of
    the voxels are jobs of their own where `jobs.on` (or `joblib.parallel_config`) asks for several, to the same bits.
    """
    checks.one_of("shift", shift, SHIFTS)
    checks.at_least("n_permutations", n_permutations, 1)
    prediction, truth = _pair(prediction, truth)
    n = checks.same_length("sample", prediction=prediction, truth=truth)
    run = np.zeros(n, dtype=int) if blocks is None else np.unique(np.asarray(blocks), return_inverse=True)[1]
    a, b = standardise(prediction, 0), standardise(truth, 0)
    orders = (run, n_permutations, shift, block_length)
    parts = [(*part, *orders, copy.deepcopy(generator)) for part in zip(_parts(a), _parts(b), strict=True)]
    nulls = jobs.each(_null, parts)
    generator.bit_generator.state = nulls[0].generator.bit_generator.state  # as if it had drawn here
    observed, reached, total = (np.concatenate([getattr(x, k) for x in nulls]) for k in _Null._fields[:3])
    largest = np.max([x.largest for x in nulls], 0)
    p = (reached + 1) / (n_permutations + 1)
    p_max = permutation.max_statistic_p(
        observed - _rounding(a), np.broadcast_to(largest[:, None], (n_permutations, len(observed)))
    )
    return Significance(observed, p, corrections.fdr(p), p_max, total / n_permutations, n_permutations)


class _Null(NamedTuple):
    """Of some voxels: correlation, permutations at least as large and their sum, each (n_voxels,); the largest of each
    permutation (n_permutations,); the generator that drew them."""

    observed: np.ndarray
    reached: np.ndarray
    total: np.ndarray
    largest: np.ndarray
    generator: np.random.Generator


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    """Pieces of the voxels for as many jobs as are wanted; all at once where nobody wants several, and on a GPU."""
    n_jobs = 1 if values.is_cuda else max(jobs.chosen(), 1)
    blocks = values.shape[1] // VOXELS_OF_A_SUM  # what is left over stays with the last
    edges = [VOXELS_OF_A_SUM * (blocks * i // n_jobs) for i in range(1, n_jobs)]
    return tuple(piece.contiguous() for piece in values.tensor_split(sorted({*edges} - {0}), 1))


def _null(
    a: Tensor, b: Tensor, run: np.ndarray, n_permutations: int, shift: str, block_length: int,
    generator: np.random.Generator,
) -> _Null:  # fmt: skip
    """Some voxels under every permutation, the same for all pieces; a job of its own."""
    observed = (a * b).sum(0).cpu().numpy()
    tie = observed - _rounding(a)
    reached, total = np.zeros(observed.shape), np.zeros(observed.shape)
    largest = np.empty(n_permutations)
    for number in range(n_permutations):
        order = torch.from_numpy(moved(run, generator, shift, block_length)).to(a.device)
        null = (a[order] * b).sum(0).cpu().numpy()
        reached, total, largest[number] = reached + (null >= tie), total + null, null.max()
    return _Null(observed, reached, total, largest, generator)


def _rounding(values: Tensor) -> float:
    """By what one correlation can differ from itself when its products are added in another order."""
    return max(permutation.ROUNDING, 16 * torch.finfo(values.dtype).eps)


def moved(run: np.ndarray, generator: np.random.Generator, shift: str, block_length: int) -> np.ndarray:
    """An order of rows: pieces of each run in another order, or each run rotated; int64 (n_samples,)."""
    order = np.arange(len(run))
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        if shift == "circular":
            if len(rows) <= 2 * block_length:
                raise ValueError(
                    f"a run of {len(rows)} rows cannot be rotated by {block_length} or more either way."
                )
            by = int(generator.integers(block_length, len(rows) - block_length + 1))
            order[rows] = np.roll(rows, by)
        else:
            pieces = [rows[i : i + block_length] for i in range(0, len(rows), block_length)]
            order[rows] = np.concatenate([pieces[i] for i in generator.permutation(len(pieces))])
    return order
