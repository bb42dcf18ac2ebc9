"""Minimum description length: how many bits tell a sample to a given error, by a dictionary and without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.sparse.codes import Code
from braindec.sparse.dictionary import Dictionary, coded

STEPS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # of quantisation, in SDs of the error that is allowed in a dim


@dataclass(frozen=True, eq=False)
class Description:
    """Bits that tell one sample, mean squared error at most `error`.

    Parameters
    ----------
    code : float
        Of which latents are active and how much: the entropy of each latent's quantised activation, summed.
    rest : float
        Of what the atoms leave: a Gaussian's rate at the allowed error.
    parameters : float
        Of atoms, of every latent's table of frequencies and of the rest's covariance, half of log2(n_samples) bits
        each, over n_samples.
    plain : float
        Of the same samples by a Gaussian alone, its parameters included: what there is without a dictionary.
    step : float
        Of quantisation, in units of the inputs: the one that makes the sum smallest.
    error : float
        Mean squared error that is allowed, summed over dims.
    n_samples : int
    """

    code: float
    rest: float
    parameters: float
    plain: float
    step: float
    error: float
    n_samples: int

    @property
    def total(self) -> float:
        """Bits a sample, everything included."""
        return self.code + self.rest + self.parameters

    @property
    def saved(self) -> float:
        """Bits a sample that the dictionary saves; below 0 where a Gaussian tells the samples as well."""
        return self.plain - self.total


@torch.no_grad()
def describe(
    model: Dictionary, inputs: Tensor, *, tolerance: float = 0.05, steps: Sequence[float] = STEPS
) -> Description:  # fmt: skip
    """The length of a two-part code of inputs: their latents, and what these leave.

    Parameters
    ----------
    model : Dictionary
        In eval mode.
    inputs : Tensor, shape (n_samples, n_dims)
        Not those it was trained on.
    tolerance : float
        Allowed error as a fraction of the inputs' variance, in (0, 1): all dictionaries are compared at an equal error,
        however many latents they use and whatever they leave.
    steps : sequence of float
        Steps of quantisation that are tried, in SDs of the allowed error of a dim.

    Notes
    -----
    Ayonrinde et al. 2024, arXiv:2410.11179, tell activations alone, quantised until the error is what is allowed, and
    count latents as independent, as here. Here the rest is told too, at the rate of a Gaussian (reverse water-filling,
    Cover and Thomas 2006, theorem 10.3.3), so that dictionaries that leave different amounts can be compared, and so
    are the parameters (Rissanen 1978, doi:10.1016/0005-1098(78)90005-5), without which the widest wins.
    """
    checks.at_least("n_samples", len(inputs), 2)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance}.")
    n, dims = inputs.shape
    variance = _eigenvalues(inputs)
    error = tolerance * float(variance.sum())
    codes = [code for _, code in coded(model, inputs)]
    sizes = [len(code.offsets) for code in codes]
    cost = 0.5 * math.log2(n) / n
    gaussian = dims * (dims + 3) / 2 * cost  # covariance and mean
    found = []
    for step in steps:
        width = step * math.sqrt(error / dims)
        levels = [_levels(code, model.atoms, width) for code in codes]
        entropy, symbols = _entropies(levels, codes, n)
        rebuilt = [
            model.decode(code.with_values((level * width / _norms(model, code)).to(code.values)))
            for code, level in zip(codes, levels, strict=True)
        ]
        left = torch.cat([x - r for x, r in zip(inputs.split(sizes), rebuilt, strict=True)])
        parameters = gaussian + cost * (model.atoms.numel() + symbols - model.n_latents)
        found.append(Description(
            entropy, rate(_eigenvalues(left), error), parameters, rate(variance, error) + gaussian, width, error, n
        ))  # fmt: skip
    return min(found, key=lambda one: one.total)


def rate(variances: Tensor, error: float) -> float:
    """Bits that tell a Gaussian of these variances (n,) to a mean squared error, summed over its axes; at least 0."""
    found = variances.double().clamp_min(0).sort().values
    if float(found.sum()) <= error:
        return 0.0
    # Axes below the water level are not told. The level is that at which all errors sum to what is allowed.
    below = torch.cat([found.new_zeros(1), found.cumsum(0)[:-1]])
    told = torch.arange(len(found), 0, -1, dtype=found.dtype, device=found.device)
    level = (error - below) / told
    first = int(torch.nonzero(level <= found)[0])
    return float((0.5 * torch.log2(found[first:] / level[first])).sum())


def _eigenvalues(values: Tensor) -> Tensor:
    centred = values.double() - values.double().mean(0)
    return torch.linalg.eigvalsh(centred.T @ centred / len(values)).clamp_min(0)


def _norms(model: Dictionary, code: Code) -> Tensor:
    norms = model.atoms.norm(dim=1).double().clamp_min(torch.finfo(torch.float32).tiny)
    return norms[code.latents]


def _levels(code: Code, atoms: Tensor, width: float) -> Tensor:
    """Quantised activations, int64 (n_actives,): whole steps of what a latent adds to the reconstruction."""
    return (code.values.double() * atoms.norm(dim=1).double()[code.latents] / width).round().long()


def _entropies(levels: Sequence[Tensor], codes: Sequence[Code], n: int) -> tuple[float, int]:
    """Sum over latents of the entropy of their levels (bits), and how many different levels they have together."""
    level = torch.cat(list(levels))
    latent = torch.cat([code.latents for code in codes])
    n_latents = codes[0].n_latents
    there = level != 0
    pairs, counts = torch.unique(torch.stack([latent[there], level[there]]), dim=1, return_counts=True)
    silent = n - torch.bincount(latent[there], minlength=n_latents).double()
    share, of_silent = counts.double() / n, silent / n
    bits = -(
        torch.special.xlogy(share, share).sum() + torch.special.xlogy(of_silent, of_silent).sum()
    ) / math.log(2)
    return float(bits), pairs.shape[1] + int((silent > 0).sum())
