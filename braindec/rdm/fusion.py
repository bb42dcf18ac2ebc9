"""When and where: what the geometry of M/EEG over time shares with regions of fMRI, and what models explain of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import standardise
from braindec.maths.ranks import average_ranks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import pairs
from braindec.rdm.matrix import RDM
from braindec.stats.permutation import max_statistic_p


@dataclass(frozen=True, eq=False)
class Fusion:
    """What time-resolved and regional geometry share.

    Parameters
    ----------
    similarity : float array, shape (time, region)
        Spearman (or Pearson) correlation of distances.
    p_similarity : float array, shape (time, region)
        Corrected by the maximum over times and regions under permuted conditions.
    commonality : float array, shape (time, region, model), or None
        Variance of the time-resolved distances that region and model explain together and neither alone; may be
        negative (suppression).
    p_commonality : float array of its shape, or None
    explained : float array, shape (time, region)
        Squared similarity, signed: what the region shares with the time at all, the ceiling of its commonalities.
    times : tuple of float
    regions, models : tuple of str
    """

    similarity: np.ndarray
    p_similarity: np.ndarray
    commonality: np.ndarray | None
    p_commonality: np.ndarray | None
    explained: np.ndarray
    times: tuple[float, ...]
    regions: tuple[str, ...]
    models: tuple[str, ...]


def fuse(
    time_resolved: RDM,
    regional: RDM,
    models: RDM | None = None,
    *,
    ranks: bool = True,
    n_permutations: int = 1000,
    generator: torch.Generator,
) -> Fusion:
    """Correlates the geometry of every time with that of every region, and splits it by models.

    Parameters
    ----------
    time_resolved : RDM, axis ``"time"``
        E.g. crossnobis of EEG or MEG, mean over subjects.
    regional : RDM, axis ``"region"``
        Of the same conditions (in any order), from other data.
    models : RDM, axis ``"model"``, optional
    ranks : bool
        Of the ranks of distances.
    n_permutations : int
        Permutations of the conditions of the time-resolved data.
    generator : torch.Generator

    Returns
    -------
    Fusion

    Notes
    -----
    Cichy et al. 2014, doi:10.1038/nn.3635; commonality analysis as in Hebart et al. 2018, doi:10.7554/eLife.32816:
    R2(t ~ region) + R2(t ~ model) - R2(t ~ region + model).
    """
    for name, rdm, axis in (("time_resolved", time_resolved, "time"), ("regional", regional, "region")):
        if rdm.axes != (axis,):
            raise ValueError(f"{name} must have the axes ({axis!r},), got {rdm.axes}.")
    if models is not None and models.axes != ("model",):
        raise ValueError(f"models must have the axes ('model',), got {models.axes}.")
    conditions = time_resolved.conditions
    prepare = (
        (lambda x: standardise(average_ranks(x.double()))) if ranks else (lambda x: standardise(x.double()))
    )
    t, r = prepare(time_resolved.distances), prepare(regional.reorder(conditions).distances)
    m = None if models is None else prepare(models.reorder(conditions).distances)
    similarity, common = _shared(t, r, m)
    null_s, null_c = [], []
    squares = pairs.square(t)
    checks.at_least("n_permutations", n_permutations, 1)
    for _ in range(n_permutations):
        order = torch.randperm(len(conditions), generator=generator, device=generator.device).to(t.device)
        permuted = pairs.condensed(squares.index_select(1, order).index_select(2, order))
        s, c = _shared(permuted, r, m)
        null_s.append(s.flatten())
        null_c.append(None if c is None else c.flatten())
    return Fusion(
        similarity.cpu().numpy(), _corrected(similarity, null_s),
        None if common is None else common.cpu().numpy(), None if common is None else _corrected(common, null_c),
        (similarity.abs() * similarity).cpu().numpy(),
        tuple(time_resolved.coordinates.get("time", range(len(t)))), _names(regional, "region"),
        () if models is None else _names(models, "model"),
    )  # fmt: skip


def _shared(t: Tensor, r: Tensor, m: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Correlations (time, region), and commonalities (time, region, model)."""
    tr = t @ r.T
    return tr, None if m is None else commonality(tr, t @ m.T, r @ m.T)


def commonality(tr: Array, tm: Array, rm: Array) -> Tensor:
    """Variance of t that region and model explain together.

    Parameters
    ----------
    tr : Tensor or array, shape (time, region)
        Correlations; likewise
    tm : Tensor or array, shape (time, model)
    rm : Tensor or array, shape (region, model)

    Returns
    -------
    Tensor, shape (time, region, model)
        At most the smaller of both squared correlations; where region and model are the same, that.
    """
    tr, tm, rm = (as_tensor(n, v) for n, v in (("tr", tr), ("tm", tm), ("rm", rm)))
    a, b, c = tr[:, :, None], tm[:, None, :], rm[None]
    left = 1 - c.square()
    # Two predictors that are one explain together what one of them does.
    same = left < 1e-9
    both = (a.square() + b.square() - 2 * a * b * c) / torch.where(same, torch.ones_like(left), left)
    return a.square() + b.square() - torch.where(same, a.square(), both)


def _corrected(observed: Tensor, null: list[Any]) -> np.ndarray:
    p = max_statistic_p(observed.flatten().cpu().numpy(), torch.stack(null).cpu().numpy())
    return p.reshape(tuple(observed.shape))


def _names(rdm: RDM, axis: str) -> tuple[str, ...]:
    return tuple(str(v) for v in rdm.coordinates.get(axis, range(rdm.distances.shape[0])))
