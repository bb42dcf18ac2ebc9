"""Distances between patterns, for any leading axes at once: times, searchlights, subjects."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import is_constant
from braindec.rdm import noise as noises
from braindec.rdm.noise import Noise, inner, product
from braindec.rdm.pairs import condensed, distances_of_products, of_rows


def euclidean(patterns: Tensor) -> Tensor:
    """Squared Euclidean distance divided by the number of channels.

    Parameters
    ----------
    patterns : Tensor, shape (..., condition, channel)

    Returns
    -------
    Tensor, shape (..., pair)
        >= 0, squared unit of the patterns.
    """
    return mahalanobis(patterns, None)


def mahalanobis(patterns: Tensor, noise: Noise | Tensor | None) -> Tensor:
    """Squared Mahalanobis distance divided by the number of channels; biased upwards by noise (`crossnobis` is not).

    Parameters
    ----------
    patterns : Tensor, shape (..., condition, channel)
    noise : Noise, Tensor (channel, channel) precision, or None for the Euclidean distance

    Returns
    -------
    Tensor, shape (..., pair)
        >= 0.
    """
    x = _centred(patterns)
    x, noise = _whitened_if_small(x, noise)
    if noise is None and x.ndim == 2:
        found = of_rows(x, distances=True)
    else:
        found = distances_of_products(inner(x, x, noise))
    return found.clamp_min_(0.0).div_(patterns.shape[-1])


def correlation(patterns: Tensor) -> Tensor:
    """1 - Pearson correlation of patterns.

    Parameters
    ----------
    patterns : Tensor, shape (..., condition, channel)

    Returns
    -------
    Tensor, shape (..., pair)
        In [0, 2].

    Raises
    ------
    ValueError
        If a pattern is constant over channels: it correlates with nothing.
    """
    centred = patterns - patterns.mean(-1, keepdim=True)
    constant = is_constant(patterns, centred.norm(dim=-1, keepdim=True))
    return cosine(centred.masked_fill(constant, 0.0))


def cosine(patterns: Tensor) -> Tensor:
    """1 - cosine of patterns.

    Parameters
    ----------
    patterns : Tensor, shape (..., condition, channel)

    Returns
    -------
    Tensor, shape (..., pair)
        In [0, 2].

    Raises
    ------
    ValueError
        If a pattern has no length.
    """
    length = patterns.norm(dim=-1, keepdim=True)
    flat = int((length == 0).sum())
    if flat:
        raise ValueError(
            f"{flat} patterns have no direction (all channels equal); leave these conditions out."
        )
    x = patterns / length
    products = of_rows(x, distances=False) if x.ndim == 2 else condensed(x @ x.mT)
    return (1 - products).clamp_(0.0, 2.0)


def poisson(patterns: Tensor, *, prior: float = 1.0, prior_weight: float = 0.1) -> Tensor:
    """Symmetrised Kullback-Leibler divergence of Poisson rates, divided by the number of channels.

    Parameters
    ----------
    patterns : Tensor, shape (..., condition, channel)
        Mean counts, >= 0.
    prior : float
        Rate that is mixed in, so that channels without a count have a logarithm; > 0.
    prior_weight : float
        Of the prior, against 1 for the data; > 0.

    Returns
    -------
    Tensor, shape (..., pair)
        >= 0.

    Notes
    -----
    Schuett et al. 2023, doi:10.7554/eLife.82566.
    """
    rates = poisson_rates(patterns, prior, prior_weight)
    found = distances_of_products(rates @ rates.log().mT, symmetric=False)
    return found.clamp_min_(0.0) / patterns.shape[-1]


def poisson_rates(patterns: Tensor, prior: float, prior_weight: float) -> Tensor:
    """Rates with the prior mixed in; refuses negative counts."""
    checks.at_least("smallest count", float(patterns.min()), 0.0)
    checks.at_least("prior times prior_weight", prior * prior_weight, 1e-12)
    return (patterns + prior * prior_weight) / (1 + prior_weight)


def crossnobis(patterns: Tensor, noise: Noise | Tensor | None = None) -> Tensor:
    """Cross-validated squared Mahalanobis distance over pairs of different runs, divided by the number of channels.

    Parameters
    ----------
    patterns : Tensor, shape (..., run, condition, channel)
        At least two runs, each with every condition (`crossnobis_of_incomplete` for others).
    noise : Noise, Tensor (channel, channel) precision, or None for the cross-validated Euclidean distance

    Returns
    -------
    Tensor, shape (..., pair)
        Zero in the mean for two conditions with one pattern, so that single values may be negative.

    Notes
    -----
    Mean over ordered pairs of runs r != s of (u_i^r - u_j^r) S^-1 (u_i^s - u_j^s)^T; Walther et al. 2016,
    doi:10.1016/j.neuroimage.2015.12.012. With T the sum over runs it is read off (T T^T - sum_r U_r U_r^T).
    """
    *lead, n_runs, n, p = patterns.shape
    checks.at_least("number of runs", n_runs, 2)
    x = _centred(patterns)
    flat, noise = _whitened_if_small(x.reshape(*lead, n_runs * n, p), noise)
    x = flat.reshape(*lead, n_runs, n, p)
    total = x.sum(-3)
    products = inner(total, total, noise)
    if noise is None:
        products = _minus_own(products, x)
    else:
        for run in range(n_runs):
            products -= inner(x[..., run, :, :], x[..., run, :, :], noise)
    return distances_of_products(products).div_(n_runs * (n_runs - 1) * p)


def crossnobis_of_incomplete(
    patterns: Tensor, present: Tensor, noise: Noise | Tensor | None = None
) -> Tensor:
    """`crossnobis` where runs lack conditions: the mean over the pairs of runs that both have both conditions.

    Parameters
    ----------
    patterns : Tensor, shape (..., run, condition, channel)
        Anything finite where a condition is absent.
    present : bool Tensor, shape (run, condition)
    noise : as in `crossnobis`

    Raises
    ------
    ValueError
        If two conditions are together in fewer than two runs.
    """
    *lead, n_runs, n, p = patterns.shape
    checks.at_least("number of runs", n_runs, 2)
    mask = present.to(patterns)
    x, noise = _whitened_if_small((patterns * mask[..., None]).reshape(*lead, n_runs * n, p), noise)
    x = x.reshape(*lead, n_runs, n, p)
    both = mask[:, :, None] * mask[:, None, :]  # (run, condition, condition)
    total, count = patterns.new_zeros(*lead, n * (n - 1) // 2), condensed(both.sum(0))
    if bool((count < 2).any()):
        raise ValueError(
            f"{int((count < 2).sum())} pairs of conditions are together in fewer than two runs; leave conditions out, "
            "or join runs."
        )
    for r in range(n_runs):
        for s in range(r + 1, n_runs):
            used = condensed(both[r] * both[s])
            products = inner(x[..., r, :, :], x[..., s, :, :], noise)
            total += distances_of_products(products, symmetric=False) * used
    return total / (count * (count - 1) / 2 * p)


def crossnobis_by_run_noise(patterns: Tensor, run_noise: list[Noise] | list[Tensor]) -> Tensor:
    """`crossnobis` where every run has noise of its own: two runs are compared under their mean covariance.

    Parameters
    ----------
    patterns : Tensor, shape (..., run, condition, channel)
    run_noise : list of Noise, or of precision matrices (channel, channel), a run each
    """
    n_runs, p = patterns.shape[-3], patterns.shape[-1]
    checks.at_least("number of runs", n_runs, 2)
    checks.same_length("run", patterns=range(n_runs), noise=run_noise)
    x, total = _centred(patterns), None
    for r in range(n_runs):
        for s in range(r + 1, n_runs):
            here = _mean_noise(run_noise[r], run_noise[s])
            products = inner(x[..., r, :, :], x[..., s, :, :], here)
            found = distances_of_products(products, symmetric=False)
            total = found if total is None else total + found
    if total is None:
        raise ValueError("no pair of runs.")
    return total / (n_runs * (n_runs - 1) / 2 * p)


def poisson_cross(patterns: Tensor, *, prior: float = 1.0, prior_weight: float = 0.1) -> Tensor:
    """`poisson` across runs: rates of one run against logarithms of another.

    Parameters
    ----------
    patterns : Tensor, shape (..., run, condition, channel)
        Mean counts, >= 0.
    prior, prior_weight : float
        As in `poisson`.

    Returns
    -------
    Tensor, shape (..., pair)
        Zero in the mean for equal rates.
    """
    n_runs, p = patterns.shape[-3], patterns.shape[-1]
    checks.at_least("number of runs", n_runs, 2)
    rates = poisson_rates(patterns, prior, prior_weight)
    logs = rates.log()
    products = rates.sum(-3) @ logs.sum(-3).mT - (rates @ logs.mT).sum(-3)
    return distances_of_products(products, symmetric=False) / (n_runs * (n_runs - 1) * p)


def _minus_own(products: Tensor, x: Tensor) -> Tensor:
    """products - sum_r x_r x_r^T, in place where a batch allows it."""
    for run in range(x.shape[-3]):
        here = x[..., run, :, :]
        if products.ndim == 3:
            products.baddbmm_(here, here.mT, alpha=-1.0)
        else:
            products -= product(here, here.mT)
    return products


def _centred(x: Tensor) -> Tensor:
    """Minus the mean over conditions, which changes no difference and keeps the products small."""
    return x - x.mean(-2, keepdim=True)


def _whitened_if_small(x: Tensor, noise: Noise | Tensor | None) -> tuple[Tensor, Noise | Tensor | None]:
    if isinstance(noise, Noise) and noise.small:
        return noises.whitened(x, noise), None
    if isinstance(noise, Tensor):
        checks.same_length("channel", patterns=range(x.shape[-1]), noise=noise)
        return noises.whitened(x, noise), None
    return x, noise


def _mean_noise(a: Noise | Tensor, b: Noise | Tensor) -> Noise | Tensor:
    if isinstance(a, Noise) and isinstance(b, Noise):
        return noises.pooled([a, b])
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.linalg.inv((torch.linalg.inv(a) + torch.linalg.inv(b)) / 2)
    raise TypeError("noise of runs must be all Noise or all precision matrices.")
