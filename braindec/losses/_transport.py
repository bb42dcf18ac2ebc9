"""Entropic optimal transport between the rows of a cost matrix and its columns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOOK_EVERY = 10  # iterations between looks at the marginals: a look waits for the device


class Transport(NamedTuple):
    """The cheapest plan (n, m), of sums `a` and `b` up to rounding, and what it costs with its entropy, a scalar."""

    plan: Tensor
    value: Tensor


@torch.no_grad()
def transport(
    cost: Tensor, a: Tensor, b: Tensor, *, epsilon: float, n_iterations: int, tolerance: float | None = None
) -> Transport:
    """Minimum of <P, cost> + epsilon KL(P | a b^T) over plans P with row sums `a` and column sums `b`.

    Parameters
    ----------
    cost : Tensor, shape (n, m)
    a, b : Tensor, shapes (n,) and (m,)
        >= 0, each of sum 1.
    epsilon : float
        > 0, in the units of the cost.
    n_iterations : int
        At most so many; row sums that miss `a` by no more than `tolerance` in total end it.
    tolerance : float, optional
        None: what the cost's precision allows.

    Notes
    -----
    Cuturi 2013, arXiv:1306.0895, on logarithms. By the envelope theorem the derivative of `value` by the cost is
    `plan`, so that nobody needs to differentiate the iterations.
    """
    if tolerance is None:
        tolerance = 1e-5 if cost.dtype == torch.float32 else 1e-11
    log_a, log_b, kernel = a.log(), b.log(), -cost / epsilon
    f, g = torch.zeros_like(a), torch.zeros_like(b)  # potentials over epsilon
    for iteration in range(n_iterations):
        f = -(kernel + g + log_b).logsumexp(1)
        g = -(kernel + (f + log_a)[:, None]).logsumexp(0)
        if iteration % LOOK_EVERY == LOOK_EVERY - 1:
            rows = (kernel + (f + log_a)[:, None] + g + log_b).exp().sum(1)
            if float((rows - a).abs().sum()) <= tolerance:
                break
    plan = (kernel + (f + log_a)[:, None] + g + log_b).exp()
    return Transport(plan, epsilon * ((a * f).sum() + (b * g).sum()))


def differentiable(found: Transport, cost: Tensor) -> Tensor:
    """The value, whose gradient by the cost is the plan."""
    moved = (found.plan * cost).sum()
    return moved + (found.value - moved).detach()
