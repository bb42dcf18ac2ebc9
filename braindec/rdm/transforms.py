"""Transforms of RDMs that keep topology and give up geometry: what is near, by which path, and what counts as far."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ranks import average_ranks
from braindec.rdm import pairs
from braindec.rdm.matrix import RDM


def ranked(rdm: RDM) -> RDM:
    """Average ranks of the distances, 1 to the number of pairs, within each set of distances."""
    return replace(rdm, distances=average_ranks(rdm.distances), measure=f"rank of {rdm.measure}")


def geo_topological(rdm: RDM, low: float, high: float) -> RDM:
    """Distances below one quantile count as none, above another as one, and linearly in between.

    Parameters
    ----------
    rdm : RDM
    low, high : float
        Quantiles in [0, 1], low <= high, of each set of distances for itself. (0, 1) only rescales; low = high leaves
        the neighbourhood graph alone.

    Returns
    -------
    RDM
        In [0, 1].

    Notes
    -----
    Lin & Kriegeskorte 2024, doi:10.1073/pnas.2317881121.
    """
    checks.in_range("low", low, 0.0, 1.0)
    checks.in_range("high", high, low, 1.0)
    d = rdm.distances
    least, most = (_quantile(d, q) for q in (low, high))
    span = most - least
    inside = (d - least) / torch.where(span > 0, span, torch.ones_like(span))
    found = torch.where(span > 0, inside.clamp(0.0, 1.0), (d > least).to(d))
    return replace(rdm, distances=found, measure=f"geo-topological {low:g}-{high:g} of {rdm.measure}")


def geodesic(rdm: RDM, *, longest: float | None = None) -> RDM:
    """Lengths of the shortest paths from condition to condition.

    Parameters
    ----------
    rdm : RDM
        Distances >= 0. Those of zero stay edges of no length: conditions that are the same are.
    longest : float, optional
        Distances from here on are no edges (1 after `geo_topological`); None keeps all, so that only detours that are
        shorter than the direct way change anything.

    Returns
    -------
    RDM
        Conditions without a path are as far apart as the furthest that have one, plus one `longest`.

    Notes
    -----
    Floyd 1962, doi:10.1145/367766.368168, for all sets of distances at once.
    """
    checks.at_least("smallest distance", float(rdm.distances.min()), 0.0)
    square = rdm.square()
    if longest is not None:
        square = square.masked_fill(square >= longest, torch.inf)
    for middle in range(rdm.n_conditions):
        square = torch.minimum(square, square[..., :, middle, None] + square[..., middle, None, :])
    found = pairs.condensed(square)
    reached = torch.where(found.isfinite(), found, torch.zeros_like(found)).amax(-1, keepdim=True)
    found = torch.where(found.isfinite(), found, reached + (longest or 0.0))
    return replace(rdm, distances=found, measure=f"geodesic of {rdm.measure}")


def _quantile(d: Tensor, q: float) -> Tensor:
    """Quantile along the pairs, (..., 1), interpolated linearly (torch.quantile refuses many pairs)."""
    ordered = d.sort(dim=-1).values
    place = q * (d.shape[-1] - 1)
    below, above = int(place), min(int(place) + 1, d.shape[-1] - 1)
    return torch.lerp(ordered[..., below : below + 1], ordered[..., above : above + 1], place - below)
