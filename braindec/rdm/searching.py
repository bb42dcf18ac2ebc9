"""RDMs of every neighbourhood of the brain, many at a time, each with the noise of its own channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from braindec import checks, jobs
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import distances as measures
from braindec.rdm import noise as noises
from braindec.rdm.left_out import left_out_distances
from braindec.rdm.matrix import RDM
from braindec.rdm.neighbourhoods import Neighbourhoods
from braindec.rdm.noise import Noise
from braindec.rdm.patterns import Patterns, average, labelled

MEASURES = ("crossnobis", "euclidean", "correlation", "mahalanobis")
NUMBERS_AT_ONCE = 1 << 23  # values gathered at a time
Score = Callable[[Tensor], Tensor]


@overload
def searchlight(
    x: Array,
    neighbourhoods: Neighbourhoods,
    condition: Any,
    *,
    measure: str = ...,
    run: Any | None = ...,
    noise: str | None = ...,
    conditions: Sequence[str] | None = ...,
    score: None = ...,
) -> RDM: ...


@overload
def searchlight(
    x: Array,
    neighbourhoods: Neighbourhoods,
    condition: Any,
    *,
    measure: str = ...,
    run: Any | None = ...,
    noise: str | None = ...,
    conditions: Sequence[str] | None = ...,
    score: Score,
) -> Tensor: ...


def searchlight(
    x: Array,
    neighbourhoods: Neighbourhoods,
    condition: Any,
    *,
    measure: str = "crossnobis",
    run: Any | None = None,
    noise: str | None = "shrinkage",
    conditions: Sequence[str] | None = None,
    score: Score | None = None,
) -> RDM | Tensor:
    """Distances between conditions in each neighbourhood, or what a function makes of them.

    Parameters
    ----------
    x : Tensor or array, shape (trial, channel) or (trial, channel, time)
        Floating.
    neighbourhoods : Neighbourhoods
        Of the channels of `x`.
    condition, run, conditions
        As in `calculate.dissimilarity`.
    measure : str
        ``"crossnobis"`` (needs runs), ``"mahalanobis"``, ``"euclidean"`` or ``"correlation"``.
    noise : str or None
        ``"shrinkage"`` or ``"diagonal"``, estimated in each neighbourhood (and time) anew; None is the identity.
    score : callable, optional
        From distances (..., pair) of some centres to values (..., k), so that distances need not be kept, e.g.
        ``lambda d: compare(d, models, "rho_a")``.

    Returns
    -------
    RDM or Tensor
        Axes ("centre",) or ("time", "centre"); or values (centre, k) or (time, centre, k).

    Notes
    -----
    Pieces of the brain are jobs of their own where `jobs.on` (or `joblib.parallel_config`) asks for several.
    """
    checks.one_of("measure", measure, MEASURES)
    checks.one_of("noise", noise, ("shrinkage", "diagonal", None))
    x = as_tensor("x", x, floating=True)
    if measure == "crossnobis" and run is None:
        raise checks.ConfigError(
            "crossnobis compares patterns across runs: give run=, the run of each trial."
        )
    checks.in_range(
        "largest channel of a neighbourhood", int(neighbourhoods.members.max()), 0, x.shape[1] - 1
    )
    patterns = average(x, condition, run=run if measure == "crossnobis" else None, conditions=conditions)
    if not patterns.complete:
        raise ValueError("a run lacks a condition; leave one of them out of the searchlight.")
    rows = None
    if noise is not None and measure in ("crossnobis", "mahalanobis"):
        within = measure == "crossnobis" and bool((patterns.counts > 1).all())
        labels = (condition, run) if within else (condition,)
        found_rows = noises.residuals(x if x.ndim == 2 else x.movedim(2, 0), *labels)
        number = torch.from_numpy(labelled(condition, patterns.conditions)[0]).to(x.device)
        rows = _Rows(found_rows, number, patterns.counts.sum(0).numpy(), within)
    found = _all(patterns, rows, neighbourhoods, measure, noise, score)
    if score is not None:
        return found
    axes = ("centre",) if x.ndim == 2 else ("time", "centre")
    return RDM(found, patterns.conditions, measure, axes, {"centre": tuple(neighbourhoods.centres.tolist())})


class _Rows(NamedTuple):
    """Residuals, the condition of each, trials of each condition, and whether they are from within runs."""

    residuals: noises.Residuals
    condition: Tensor
    counts: np.ndarray
    within_runs: bool


def _all(
    patterns: Patterns,
    rows: _Rows | None,
    where: Neighbourhoods,
    measure: str,
    noise: str | None,
    score: Score | None,
) -> Tensor:
    """Neighbourhoods of similar size together, so that few gathered values are padding."""
    order = where.sizes.argsort(stable=True)
    n_rows = patterns.values[..., 0].numel() + (0 if rows is None else rows.residuals.values[..., 0].numel())
    step = max(1, NUMBERS_AT_ONCE // (n_rows * where.members.shape[1]))
    n_jobs = jobs.chosen()  # two pieces a job at least
    step = step if n_jobs == 0 else min(step, -(-len(order) // (2 * n_jobs)))
    parts = jobs.each(
        _piece, ((patterns.values, rows, where, some, measure, noise, score) for some in order.split(step))
    )
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    joined = torch.cat(parts, dim=-2)
    return joined.index_select(-2, back.to(joined.device))


def _piece(
    values: Tensor, rows: _Rows | None, where: Neighbourhoods, some: Tensor, measure: str, noise: str | None,
    score: Score | None,
) -> Tensor:  # fmt: skip
    """Distances of some neighbourhoods, or what is made of them; a job of its own."""
    width = int(where.sizes[some].max())
    members, present = (t[some, :width].to(values.device) for t in (where.members, where.present))
    found = _batch(values, rows, members, present, measure, noise)
    return found if score is None else score(found)


def _batch(
    values: Tensor,
    rows: _Rows | None,
    members: Tensor,
    present: Tensor,
    measure: str,
    noise: str | None,
) -> Tensor:
    """Distances (..., centre, pair) in some neighbourhoods."""
    u = _gathered(values, members, present)  # (..., centre, run, condition, member)
    size = present.sum(1).to(u)[:, None]
    if measure == "correlation":
        u = u.squeeze(-3)
        middle = u.sum(-1, keepdim=True) / size[..., None]
        return measures.cosine((u - middle) * present[:, None, :])
    here = None if rows is None else _noise(rows.residuals, members, present, str(noise))
    if measure != "crossnobis":
        found = measures.mahalanobis(u.squeeze(-3), here)
    elif here is None or rows is None or rows.within_runs:
        found = measures.crossnobis(u, here)
    else:
        found = left_out_distances(
            lambda some, part: measures.crossnobis(u.index_select(-2, some), part),
            here,
            rows.condition,
            rows.counts,
            u,
        )
    return found * (members.shape[1] / size)


def _gathered(values: Tensor, members: Tensor, present: Tensor) -> Tensor:
    """(..., channel) to (..., centre, run, condition, member), zero where padded."""
    out = values.index_select(-1, members.flatten()).unflatten(-1, tuple(members.shape))
    return (out * present).movedim(-2, -4)


def _noise(rows: noises.Residuals, members: Tensor, present: Tensor, kind: str) -> Noise:
    """Each neighbourhood's noise; padding is noise of unit variance that correlates with nothing."""
    e = rows.values.index_select(-1, members.flatten()).unflatten(-1, tuple(members.shape))
    e = (e * present).movedim(-2, -3)  # (..., centre, trial, member)
    filler = torch.zeros_like(e[..., :1, :]) + (~present)[:, None, :].to(e) * rows.dof**0.5
    # One more row gives padded channels their variance; it is zero for all others and taken out again below.
    found = noises.estimate(noises.Residuals(torch.cat([e, filler], dim=-2), rows.dof), "diagonal")
    if kind == "diagonal":
        return found
    share = noises.schaefer_strimmer(e * found.diagonal.rsqrt()[..., None, :], e.shape[-2], rows.dof)
    share = noises.floored(share)
    diagonal = torch.where(present, share[..., None] * found.diagonal, torch.ones_like(found.diagonal))
    return Noise(diagonal, e * ((1 - share) / rows.dof).sqrt()[..., None, None], share)
