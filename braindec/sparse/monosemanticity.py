"""How far a latent stands for one thing: against factors that are known, and by how alike its stimuli are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import auc_of_ranks, average_ranks


@dataclass(frozen=True, eq=False)
class Factors:
    """Latents against known binary factors.

    Parameters
    ----------
    auc : Tensor, shape (n_latents, n_factors)
        Chance that a stimulus with the factor activates the latent more than one without it, ties half.
    information : Tensor, shape (n_latents, n_factors)
        Mutual information of "active" and the factor over the factor's entropy, in [0, 1].
    best : Tensor of int64, shape (n_latents,)
        The factor with the largest AUC.
    p : Tensor, shape (n_latents,)
        Of that AUC, against the largest of any latent and factor under permuted stimuli: family-wise over all.
    null : float
        Mean over latents and permutations of the largest AUC over factors: what a latent reaches that knows nothing.
    """

    auc: Tensor
    information: Tensor
    best: Tensor
    p: Tensor
    null: float

    @property
    def best_auc(self) -> Tensor:
        """The AUC of each latent's best factor (n_latents,)."""
        return self.auc.amax(1)

    @property
    def gap(self) -> Tensor:
        """Information on the best factor less that on the second, (n_latents,): small where a latent tells several."""
        if self.information.shape[1] < 2:
            return self.information[:, 0]
        first, second = self.information.topk(2, dim=1).values.unbind(1)
        return first - second

    def covered(self, least: float = 0.9) -> float:
        """Share of factors that some latent tells with at least this AUC."""
        return float((self.auc.amax(0) >= least).float().mean())


def against_factors(
    activations: Tensor, factors: Tensor, *, generator: torch.Generator, n_draws: int = 99
) -> Factors:
    """Every latent against every known factor.

    Parameters
    ----------
    activations : Tensor, shape (n_stimuli, n_latents)
    factors : Tensor of bool, shape (n_stimuli, n_factors)
        Each present in at least one stimulus and absent in another.
    generator : torch.Generator
        On the CPU.
    n_draws : int
        Permutations of stimuli.
    """
    n = checks.same_length("stimulus", activations=activations, factors=factors)
    present = factors.bool()
    if not bool((present.any(0) & ~present.all(0)).all()):
        raise ValueError(
            "factors must each be present in one stimulus and absent in another; leave constant ones out."
        )
    ranks = average_ranks(activations.detach().double(), 0)
    auc = auc_of_ranks(ranks, present)
    largest, means = [], []
    for _ in range(n_draws):
        drawn = auc_of_ranks(ranks, present[torch.randperm(n, generator=generator).to(present.device)]).amax(
            1
        )
        largest.append(drawn.max())
        means.append(drawn.mean())
    counts = (torch.stack(largest)[:, None] >= auc.amax(1)).sum(0)
    return Factors(
        auc,
        information(activations != 0, present),
        auc.argmax(1),
        (counts + 1) / (n_draws + 1),
        float(torch.stack(means).mean()),
    )


def information(active: Tensor, present: Tensor) -> Tensor:
    """Mutual information of two sets of binary variables over the entropy of the second, (n_first, n_second).

    Parameters
    ----------
    active, present : Tensor of bool, shapes (n_stimuli, n_first), (n_stimuli, n_second)

    Returns
    -------
    Tensor, float64
        In [0, 1].
    """
    a, b = active.double(), present.double()
    n = len(a)
    both = a.T @ b / n
    of_a, of_b = a.mean(0)[:, None], b.mean(0)[None]
    cells = (
        (both, of_a * of_b),
        (of_a - both, of_a * (1 - of_b)),
        (of_b - both, (1 - of_a) * of_b),
        (1 - of_a - of_b + both, (1 - of_a) * (1 - of_b)),
    )
    bits = sum(
        torch.special.xlogy(p, p / q.clamp_min(1e-300)) for p, q in ((p.clamp_min(0), q) for p, q in cells)
    )
    entropy = -(torch.special.xlogy(of_b, of_b) + torch.special.xlogy(1 - of_b, 1 - of_b))
    return (torch.as_tensor(bits) / entropy).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Alike:
    """How alike the stimuli of each latent are.

    Parameters
    ----------
    value : Tensor, shape (n_latents,)
        Mean cosine of pairs of stimuli, weighted by the product of their activations, in [-1, 1]; NaN where fewer than
        two stimuli are active.
    baseline : float
        Mean cosine of all pairs: a latent that is always equally active.
    p : Tensor, shape (n_latents,)
        Chance of as large a value with the latent's activations permuted over stimuli, (count + 1) / (n_draws + 1); NaN
        where `value` is.
    """

    value: Tensor
    baseline: float
    p: Tensor


def alike(activations: Tensor, embeddings: Tensor, *, generator: torch.Generator, n_draws: int = 99) -> Alike:
    """Similarity-weighted monosemanticity: the mean similarity of a latent's stimuli, pairs weighted by activation.

    Parameters
    ----------
    activations : Tensor, shape (n_stimuli, n_latents)
        >= 0.
    embeddings : Tensor, shape (n_stimuli, n_dims)
        Of the stimuli by another model than the one the latents are of, or similarity there is no evidence.
    generator : torch.Generator
        On the CPU.
    n_draws : int

    Notes
    -----
    Pach et al. 2025, arXiv:2504.02821. All pairs at once: with unit vectors e, sum over pairs of a_i a_j e_i.e_j is
    (|sum a_i e_i|^2 - sum a_i^2) / 2.
    """
    n = checks.same_length("stimulus", activations=activations, embeddings=embeddings)
    if bool((activations < 0).any()):
        raise ValueError("activations must be at least 0: as weights of pairs they have no sign.")
    unit = torch.nn.functional.normalize(embeddings.detach().double(), dim=1)
    weights = activations.detach().double()
    value = _weighted(weights, unit)
    counts = torch.zeros_like(value)
    for _ in range(n_draws):
        counts += _weighted(weights, unit[torch.randperm(n, generator=generator).to(unit.device)]) >= value
    p = torch.where(value.isnan(), torch.nan, (counts + 1) / (n_draws + 1))
    return Alike(value, float(_weighted(torch.ones_like(weights[:, :1]), unit)), p)


def _weighted(weights: Tensor, unit: Tensor) -> Tensor:
    squares = weights.square().sum(0)
    pairs = weights.sum(0).square() - squares
    total = (weights.T @ unit).square().sum(1) - squares
    return torch.where((weights > 0).sum(0) > 1, total / pairs, torch.nan)
