"""Voxels of all subjects in common functional clusters, by the directions of their weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

N_ROUNDS = 20
VOXELS_AT_ONCE = 16_384


def spherical_k_means(
    directions: Tensor, mass: Tensor, n_clusters: int, generator: torch.Generator
) -> Tensor:
    """Centres of unit length, such that voxels of much mass are close to one.

    Parameters
    ----------
    directions : Tensor, shape (n_voxels, n_dims)
        Of unit length, or 0 for voxels that say nothing.
    mass : Tensor, shape (n_voxels,)
        >= 0; how much each voxel counts.
    n_clusters : int
        Clusters beyond the number of voxels get the centres of others.
    generator : torch.Generator
        Draws the first centres, each far from those before (k-means++, Arthur & Vassilvitskii 2007).

    Returns
    -------
    Tensor, shape (n_clusters, n_dims)
    """
    centres = _first_centres(directions, mass, n_clusters, generator)
    for _ in range(N_ROUNDS):
        nearest = nearest_centre(directions, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, directions * mass[:, None])
        moved = torch.where(sums.any(1, keepdim=True), normalize(sums, dim=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def nearest_centre(directions: Tensor, centres: Tensor) -> Tensor:
    """The centre of the highest cosine for each voxel: int64 (n_voxels,)."""
    return torch.cat([(part @ centres.T).argmax(1) for part in directions.split(VOXELS_AT_ONCE)])


def _first_centres(directions: Tensor, mass: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    chosen = [_draw(mass, generator)]
    far = torch.full_like(mass, 2.0)
    for _ in range(n_clusters - 1):
        far = torch.minimum(far, (1 - directions @ directions[chosen[-1]]).clamp_min(0))
        weight = mass * far
        chosen.append(_draw(weight if bool((weight > 1e-9).any()) else mass, generator))
    return directions[chosen].clone()


def _draw(weight: Tensor, generator: torch.Generator) -> int:
    positive = weight if bool((weight > 0).any()) else torch.ones_like(weight)
    threshold = torch.rand(1, generator=generator, dtype=torch.float64) * positive.double().sum()
    return min(int(torch.searchsorted(positive.double().cumsum(0), threshold)), len(weight) - 1)
