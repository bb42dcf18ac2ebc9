"""Units on a sheet: a loss that makes neighbours respond alike, and how clustered maps of them are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson, standardise
from braindec.maths.tensors import Array, as_tensor

ROOK, QUEEN = 1.0, 1.5  # neighbours of a grid's unit: four, or eight


def grid(n_rows: int, n_columns: int) -> Tensor:
    """Places of a sheet's units, float32 (n_rows * n_columns, 2), row by row at distance 1."""
    checks.at_least("n_rows", n_rows, 1)
    checks.at_least("n_columns", n_columns, 1)
    rows, columns = torch.meshgrid(torch.arange(n_rows), torch.arange(n_columns), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], 1).float()


def roughness(responses: Tensor, places: Tensor, chosen: Tensor | None = None) -> Tensor:
    """How little the likeness of units follows their nearness: the loss of topographic networks, in [0, 1].

    Parameters
    ----------
    responses : Tensor, shape (n_stimuli, n_units)
        At least two stimuli; gradients flow through it.
    places : Tensor, shape (n_units, 2)
    chosen : int64 Tensor, optional
        At least three units that are looked at, e.g. a neighbourhood; all by default.

    Returns
    -------
    Tensor, shape ()
        (1 - r) / 2, r the correlation over pairs of units of their responses' correlation and 1 / (1 + distance).

    Notes
    -----
    Rathi et al. 2025 (TopoLM), arXiv:2410.11516, after Margalit et al. 2024 (TDANN), doi:10.1016/j.neuron.2024.04.018.
    """
    checks.same_length("unit", responses=responses.T, places=places)
    if chosen is not None:
        responses, places = responses[:, chosen], places[chosen]
    checks.at_least("number of units", len(places), 3)
    checks.at_least("number of stimuli", len(responses), 2)
    z = standardise(responses, dim=0)
    alike = z.T @ z
    near = 1 / (1 + torch.cdist(places, places))
    rows, columns = torch.triu_indices(len(places), len(places), 1)
    return (1 - pearson(alike[rows, columns], near[rows, columns], dim=0)) / 2


def neighbourhood(places: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Units within a radius of one that is drawn at random, sorted int64."""
    centre = int(torch.randint(len(places), (), generator=generator))
    return ((places - places[centre]).norm(dim=1) <= radius).nonzero()[:, 0]


def moran(maps: Array, places: Array, radius: float = ROOK) -> Tensor:
    """Moran's I of maps on a sheet: 1 for large patches, -1 / (n_units - 1) on average for places at random.

    Parameters
    ----------
    maps : Tensor or array, shape (n_maps, n_units)
        Values of units, e.g. their selectivity for a category.
    places : Tensor or array, shape (n_units, 2)
    radius : float
        Units up to this distance are neighbours, all with the same weight.

    Returns
    -------
    Tensor of float64, shape (n_maps,)
        0 of a map that is constant.

    Notes
    -----
    Moran 1950, doi:10.1093/biomet/37.1-2.17.
    """
    maps, places = as_tensor("maps", maps), as_tensor("places", places)
    checks.same_length("unit", maps=maps.T, places=places)
    weights = (torch.cdist(places.double(), places.double()) <= radius + 1e-6).double().fill_diagonal_(0.0)
    if not weights.any():
        raise ValueError(f"no unit has a neighbour within {radius}; give a larger radius.")
    z = maps.double() - maps.double().mean(1, keepdim=True)
    spread = z.square().sum(1)
    joint = ((z @ weights) * z).sum(1) * len(places) / weights.sum()
    return torch.where(spread > 0, joint / spread.clamp_min(1e-300), torch.zeros_like(joint))


def moran_of_random_sheets(
    maps: Array, places: Array, n: int, generator: torch.Generator, radius: float = ROOK
) -> np.ndarray:
    """Moran's I of the same maps with units at each other's places, float64 (n, n_maps): what no topography gives."""
    checks.at_least("n", n, 1)
    orders = [torch.randperm(len(places), generator=generator) for _ in range(n)]
    return np.stack([moran(maps, places[order], radius).cpu().numpy() for order in orders])


def selectivity(responses: Array, present: Array) -> Tensor:
    """How much more each unit responds where a thing is there, in standard deviations: (n_things, n_units).

    Parameters
    ----------
    responses : Tensor or array, shape (n_stimuli, n_units)
    present : bool Tensor or array, shape (n_stimuli, n_things)
        Each thing is in some of the stimuli and not in all.
    """
    responses, present = as_tensor("responses", responses, floating=True), as_tensor("present", present)
    checks.same_length("stimulus", responses=responses, present=present)
    member = present.to(responses)
    inside, outside = member.sum(0), (1 - member).sum(0)
    if (inside == 0).any() or (outside == 0).any():
        raise ValueError("every thing must be in some of the stimuli and not in all.")
    spread = responses.std(0)
    change = (member.T @ responses) / inside[:, None] - ((1 - member).T @ responses) / outside[:, None]
    return torch.where(
        spread > 0, change / spread.clamp_min(torch.finfo(spread.dtype).tiny), torch.zeros_like(change)
    )
