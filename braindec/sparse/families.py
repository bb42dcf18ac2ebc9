"""Latents that are active together: phi coefficients, and trees in which rarer latents hang below commoner ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks


@dataclass(frozen=True, eq=False)
class Families:
    """A forest of latents.

    Parameters
    ----------
    parent : Tensor of int64, shape (n_latents,)
        The more often active latent that each hangs below; -1 at a root.
    phi : Tensor, shape (n_latents,)
        Coefficient with the parent; 0 at a root.
    threshold : float
        Coefficients above it are edges.
    root : Tensor of int64, shape (n_latents,)
        The top of each latent's tree, itself where it hangs below none.
    """

    parent: Tensor
    phi: Tensor
    threshold: float
    root: Tensor

    def members(self) -> dict[int, list[int]]:
        """The latents of every tree of at least two, by root, the largest tree first."""
        trees: dict[int, list[int]] = {}
        for latent, root in enumerate(self.root.tolist()):
            trees.setdefault(root, []).append(latent)
        large = [(root, found) for root, found in trees.items() if len(found) > 1]
        return dict(sorted(large, key=lambda x: -len(x[1])))


def phi(active: Tensor) -> Tensor:
    """Phi coefficient of every two latents, (n_latents, n_latents) in [-1, 1]; 0 with latents that never change.

    Parameters
    ----------
    active : Tensor of bool, shape (n_stimuli, n_latents)

    Notes
    -----
    (n11 n00 - n10 n01) / sqrt(n1. n0. n.1 n.0), which is the Pearson correlation of zeros and ones.
    """
    checks.n_axes("active", active, ("stimulus", "latent"))
    values = active.to(torch.float32 if len(active) < 2**24 else torch.float64)
    share = values.mean(0)
    joint = values.T @ values / len(values) - share[:, None] * share
    spread = (share * (1 - share)).sqrt()
    scale = spread[:, None] * spread
    return torch.where(scale > 0, joint / scale, torch.zeros_like(joint)).clamp(-1, 1)


def families(
    active: Tensor, *, generator: torch.Generator, threshold: float | None = None, n_draws: int = 19
) -> Families:
    """The forest in which each latent hangs below the more often active one it goes with most.

    Parameters
    ----------
    active : Tensor of bool, shape (n_stimuli, n_latents)
    generator : torch.Generator
        On the CPU.
    threshold : float, optional
        Else the largest coefficient of any two latents in `n_draws` draws with every latent's stimuli permuted on its
        own: 1 in n_draws + 1 forests of independent latents has an edge.
    n_draws : int

    Notes
    -----
    After O'Neill et al. 2024, arXiv:2408.00657, who take spanning trees and direct them by density. An edge from the
    rarer to the commoner latent can close no circle, so each latent takes its best edge and the forest is the one of
    largest total.
    """
    together = phi(active)
    if threshold is None:
        threshold = max(_largest(active, generator) for _ in range(n_draws))
    counts = active.sum(0)
    order = torch.argsort(counts, descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    above = place[None] < place[:, None]  # (latent, candidate parent)
    best = together.masked_fill(~above, -2.0).max(1)
    has = best.values > threshold
    parent = torch.where(has, best.indices, -1)
    root = torch.arange(len(parent), device=parent.device)
    for latent in order.tolist():  # parents come first
        if parent[latent] >= 0:
            root[latent] = root[parent[latent]]
    return Families(parent, torch.where(has, best.values, 0.0), float(threshold), root)


def _largest(active: Tensor, generator: torch.Generator) -> float:
    keys = torch.rand(active.shape, generator=generator)
    permuted = active.gather(0, keys.argsort(0).to(active.device))
    found = phi(permuted).fill_diagonal_(-1.0)
    return float(found.max())
