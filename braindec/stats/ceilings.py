"""How well a perfect model could do: noise ceilings from repeated trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson
from braindec.stats.arrays import as_labels


def noise_ceiling(ncsnr: Tensor, n_repeats: int | Sequence[int] | Tensor) -> Tensor:
    """Share of a response's variance that a perfect model could explain.

    Parameters
    ----------
    ncsnr : Tensor, shape (n_voxels,)
        Signal SD over noise SD of a single trial, >= 0, no unit.
    n_repeats : int or sequence of int
        Trials averaged into each response, >= 1; a sequence gives the number of each stimulus where they differ.

    Returns
    -------
    Tensor, shape (n_voxels,)
        Fraction in [0, 1], 1 without noise (an infinite `ncsnr`); its square root bounds the correlation.

    Raises
    ------
    ValueError
        If an `n_repeats` < 1 or an `ncsnr` is negative.

    Notes
    -----
    ncsnr^2 / (ncsnr^2 + mean(1 / n_repeats)); Allen et al. 2022, doi:10.1038/s41593-021-00962-x.
    """
    counts = torch.as_tensor(n_repeats, dtype=torch.float64).flatten()
    checks.at_least("n_repeats", float(counts.min()), 1)
    checks.at_least("smallest ncsnr", float(ncsnr.min()), 0.0)
    return 1 / (1 + float((1 / counts).mean()) / ncsnr.square())


def estimate_ncsnr(responses: Tensor, stimulus: Any, *, total_variance: float | None = None) -> Tensor:
    """Signal SD over noise SD of a single trial, estimated from repeats.

    Parameters
    ----------
    responses : Tensor, shape (n_trials, n_voxels)
        Single trials, z-scored per session beforehand when sessions differ in scale.
    stimulus : sequence, length n_trials
        What was shown; stimuli shown once count only towards the total variance.
    total_variance : float or None
        Variance of a single trial: 1.0 for z-scored data, as in NSD; None computes it from these trials.

    Returns
    -------
    Tensor, shape (n_voxels,)
        >= 0; 0 where the variance across repeats exceeds the total.

    Raises
    ------
    ValueError
        If no stimulus repeats.

    Notes
    -----
    Noise SD = sqrt(mean over stimuli of the unbiased variance across repeats), signal SD = sqrt(max(0, total variance -
    noise variance)); Allen et al. 2022, doi:10.1038/s41593-021-00962-x.
    """
    signal, noise = variance_components(responses, stimulus, total_variance=total_variance)
    return ratio_of_sds(signal, noise)


def variance_components(
    responses: Tensor, stimulus: Any, *, total_variance: float | None = None
) -> tuple[Tensor, Tensor]:
    """Variance of the signal and of the noise of a single trial, each (n_voxels,); see `estimate_ncsnr`."""
    n_trials, _ = checks.n_axes("responses", responses, ("trial", "voxel")).shape
    groups = torch.from_numpy(as_labels("stimulus", stimulus, n_trials)).to(responses.device)
    counts = torch.bincount(groups).to(responses.dtype)
    repeated = counts > 1
    if not repeated.any():
        raise ValueError(
            f"no stimulus of {len(repeated)} was shown more than once, so noise is not told from signal: there is no "
            "ceiling. Take recordings with repeats, or leave the ceiling out."
        )
    zeros = torch.zeros(len(counts), responses.shape[1], dtype=responses.dtype, device=responses.device)
    means = zeros.index_add(0, groups, responses) / counts[:, None]
    squares = zeros.index_add(0, groups, (responses - means[groups]).square())
    noise = (squares[repeated] / (counts[repeated] - 1)[:, None]).mean(0)
    total = responses.var(0) if total_variance is None else torch.full_like(noise, total_variance)
    return (total - noise).clamp_min(0.0), noise


def ratio_of_sds(signal: Tensor, noise: Tensor) -> Tensor:
    """sqrt(signal / noise) of two variances, >= 0; 0 where there is no signal, infinite where there is no noise."""
    # A voxel without any variance has neither signal nor noise; it counts as no signal.
    return torch.where(signal > 0, (signal / noise).sqrt(), torch.zeros_like(signal))


def spearman_brown(reliability: Tensor, factor: float = 2.0) -> Tensor:
    """Reliability of a measurement `factor` times as long: k r / (1 + (k - 1) r).

    Parameters
    ----------
    reliability : Tensor
        Correlation of two equal measurements, in (-1, 1].
    factor : float
        > 0; 2 takes a half to the whole.
    """
    checks.at_least("factor", factor, 0.0)
    return factor * reliability / (1 + (factor - 1) * reliability)


def split_half_reliability(responses: Tensor, generator: torch.Generator, n_splits: int = 20) -> Tensor:
    """Reliability of the mean over all repeats: correlation of two halves, lengthened by Spearman-Brown.

    Parameters
    ----------
    responses : Tensor, shape (n_repeats, n_stimuli, n_voxels)
        At least two repeats.
    generator : torch.Generator
        Draws which repeats make a half; for an odd number one repeat is left out of each split.
    n_splits : int
        Splits whose correlations are averaged before the correction.

    Returns
    -------
    Tensor, shape (n_voxels,)
        About 0 for noise (it can be negative), at most 1.
    """
    n_repeats, _, _ = checks.n_axes("responses", responses, ("repeat", "stimulus", "voxel")).shape
    checks.at_least("number of repeats", n_repeats, 2)
    checks.at_least("n_splits", n_splits, 1)
    half = n_repeats // 2
    total = torch.zeros_like(responses[0, 0])
    for _ in range(n_splits):
        order = torch.randperm(n_repeats, generator=generator, device=generator.device).to(responses.device)
        first, second = responses[order[:half]].mean(0), responses[order[half : 2 * half]].mean(0)
        total += pearson(first, second, dim=0)
    return _lengthened(total / n_splits, n_repeats / half)


def repeatability_ceiling(responses: Tensor) -> Tensor:
    """Largest correlation a perfect model can reach with the mean of all repeats.

    Parameters
    ----------
    responses : Tensor, shape (n_repeats, n_stimuli, n_voxels)
        At least two repeats.

    Returns
    -------
    Tensor, shape (n_voxels,)
        In [0, 1]: the square root of the reliability, which is the mean correlation of two repeats lengthened by
        Spearman-Brown to all of them.
    """
    n_repeats, _, _ = checks.n_axes("responses", responses, ("repeat", "stimulus", "voxel")).shape
    checks.at_least("number of repeats", n_repeats, 2)
    first, second = np.triu_indices(n_repeats, 1)
    pairs = [pearson(responses[i], responses[j], dim=0) for i, j in zip(first, second, strict=True)]
    return _lengthened(torch.stack(pairs).mean(0), n_repeats).clamp(0.0, 1.0).sqrt()


def _lengthened(reliability: Tensor, factor: float) -> Tensor:
    """Spearman-Brown for an estimate, whose negative values (noise) the formula would blow up without bound."""
    return torch.where(reliability > 0, spearman_brown(reliability.clamp_min(0.0), factor), reliability)
