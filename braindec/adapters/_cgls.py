"""Least squares in parameters that a module is linear in, by conjugate gradients stopped where held-out rows say."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from braindec.maths.folds import Folds, parts_of

# The values of what is fitted, and the rows it is made for, to predictions of these rows.
Apply = Callable[[Tensor, Tensor], Tensor]


def fit_linear(
    apply: Apply, shape: torch.Size, signal: Tensor, wanted: Tensor, folds: Folds, n_iterations: int = 30
) -> Tensor:
    """The parameters whose predictions come closest to the wanted values.

    Parameters
    ----------
    apply : callable
        ``apply(parameters, signal)``, linear in the parameters; zero parameters predict zeros.
    shape : torch.Size
        Of the parameters.
    signal : Tensor, shape (n_trials, ...)
    wanted : Tensor, shape (n_trials, ...)
        As what `apply` gives.
    folds : tuple of Tensor
        Held-out trials, which choose the number of iterations: few keep to the strong directions, as a penalty does.
    n_iterations : int
        At most.

    Returns
    -------
    Tensor
        Of the given shape.
    """
    errors = torch.zeros(n_iterations + 1)
    for test, kept in (parts_of(len(signal), fold) for fold in folds):
        found = iterates(apply, shape, signal[kept], wanted[kept], n_iterations)
        for i, parameters in enumerate(found):
            errors[i] += (apply(parameters, signal[test]) - wanted[test]).square().sum().cpu()
    best = int(errors.argmin())
    return iterates(apply, shape, signal, wanted, best)[-1]


def iterates(apply: Apply, shape: torch.Size, signal: Tensor, wanted: Tensor, n: int) -> list[Tensor]:
    """Zero and `n` further steps of conjugate gradients on the normal equations (Hestenes & Stiefel 1952).

    Where a step has nothing left to gain, the last ones are equal.
    """

    def transposed(residual: Tensor) -> Tensor:
        with torch.enable_grad():
            at = torch.zeros(shape, dtype=signal.dtype, device=signal.device, requires_grad=True)
            (gradient,) = torch.autograd.grad(apply(at, signal), at, residual)
        return gradient

    solution = torch.zeros(shape, dtype=signal.dtype, device=signal.device)
    residual, out = wanted, [solution]
    gradient = direction = transposed(residual)
    power = first = gradient.square().sum()
    for _ in range(n):
        if power > 1e-12 * first:
            step = apply(direction, signal)
            length = power / step.square().sum()
            solution, residual = solution + length * direction, residual - length * step
            gradient = transposed(residual)
            before, power = power, gradient.square().sum()
            direction = gradient + (power / before) * direction
        out.append(solution)
    return out
