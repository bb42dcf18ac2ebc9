"""Fractional ridge: a penalty named by the length it leaves of the unpenalised weights, which needs no unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor

N_STEPS = 60  # of Newton's method; about six are used, more where bisection has to help


class FractionalFit(NamedTuple):
    """weights (n_fractions, p, q), intercept (n_fractions, q) and penalties alpha (n_fractions, q)."""

    weights: Tensor
    intercept: Tensor
    alpha: Tensor


def fit_fractional(x: Array, y: Array, fractions: Sequence[float]) -> FractionalFit:
    """Ridge weights whose length is a given fraction of the unpenalised solution's, for every target.

    Parameters
    ----------
    x : Tensor or array, shape (n, p)
        Centred here.
    y : Tensor or array, shape (n, q)
    fractions : sequence of float
        In (0, 1]; 1 is no penalty (the shortest solution where it is not unique).

    Returns
    -------
    FractionalFit

    Notes
    -----
    Rokem & Kay 2020, doi:10.1093/gigascience/giaa133. There penalties are interpolated from a grid, which misses the
    fraction by up to 0.7 %; here the equation is solved to rounding: its left side falls with log(alpha).
    """
    x, y = as_tensor("x", x, floating=True), as_tensor("y", y)
    checks.same_length("sample", x=x, y=y)
    wanted = torch.tensor([checks.in_range("fraction", f, 1e-6, 1.0) for f in fractions], dtype=torch.float64)
    mean, y_mean = x.double().mean(0), y.double().mean(0)
    u, s, vh = torch.linalg.svd(x.double() - mean, full_matrices=False)
    kept = s > s[0] * max(x.shape) * torch.finfo(s.dtype).eps
    u, s, vh = u[:, kept], s[kept], vh[kept]
    free = (u.T @ (y.double() - y_mean)) / s[:, None]  # (component, target): the unpenalised weights, rotated
    alpha = _penalties(free.square(), s.square(), wanted.to(s.device))
    shrunk = free * (s.square()[:, None] / (s.square()[:, None] + alpha[:, None]))
    weights = vh.T @ shrunk
    intercept = y_mean - torch.einsum("p,fpq->fq", mean, weights)
    return FractionalFit(*(t.to(x.dtype) for t in (weights, intercept, alpha)))


def _penalties(power: Tensor, values: Tensor, fractions: Tensor) -> Tensor:
    """Penalties (fraction, target) by Newton's method in log(alpha), kept inside a bracket that shrinks."""
    total = power.sum(0).clamp_min(torch.finfo(power.dtype).tiny)
    goal = fractions.square()[:, None] * total  # (fraction, target)
    # The length falls from 1 at alpha = 0; at the bracket's ends it is above and below every fraction.
    least, most = float(values.min()), float(values.max())
    low = torch.full_like(goal, least * 1e-13).log()
    high = (most / fractions.min() * 10 * torch.ones_like(goal)).log()
    log_alpha = ((1 / fractions - 1).clamp_min(1e-13)[:, None] * values.mean()).log().expand_as(goal).clone()
    for _ in range(N_STEPS):
        shrink = values[:, None] / (
            values[:, None] + log_alpha.exp()[:, None]
        )  # (fraction, component, target)
        length = (power * shrink.square()).sum(1)
        slope = -2 * (power * shrink.square() * (1 - shrink)).sum(1)
        low, high = torch.where(length >= goal, log_alpha, low), torch.where(length < goal, log_alpha, high)
        step = log_alpha - (length.log() - goal.log()) * length / slope.clamp_max(
            -torch.finfo(slope.dtype).tiny
        )
        inside = (step > low) & (step < high)
        moved = torch.where(inside, step, (low + high) / 2)
        done = bool((moved - log_alpha).abs().max() < 1e-13)
        log_alpha = moved
        if done:
            break
    return torch.where(fractions[:, None] >= 1.0, torch.zeros_like(goal), log_alpha.exp())
