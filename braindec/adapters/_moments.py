"""Ridge without intercept from second moments alone: many trials times many samples, and no copy of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from braindec.maths.folds import Folds, parts_of

# Penalties as shares of the features' mean power, a factor 10 apart.
SHARES = tuple(10.0**k for k in range(-6, 4))
TRIALS_AT_ONCE = 256

# (x, y) of some rows to (x x', y x', |y|^2): (n_in, n_in), (n_out, n_in) and a number.
Moments = tuple[Tensor, Tensor, Tensor]


def ridge_of_features(
    features: Callable[[Tensor], Tensor], signal: Tensor, wanted: Tensor, folds: Folds
) -> Tensor:
    """The matrix that maps features to wanted values at every time; the penalty is chosen by held-out trials.

    Parameters
    ----------
    features : callable
        Some trials of the signal to (n, n_in, n_times).
    signal : Tensor, shape (n_trials, ...)
    wanted : Tensor, shape (n_trials, n_out, n_times)
    folds : tuple of Tensor
        Held-out trials.

    Returns
    -------
    Tensor, shape (n_out, n_in)
        float64. Centre both sides first where an intercept is wanted.
    """
    parts = [parts_of(len(signal), fold) for fold in folds]
    whole = _moments(features, signal, wanted)
    held = [
        (_moments(features, signal[t], wanted[t]), _moments(features, signal[k], wanted[k])) for t, k in parts
    ]
    losses = [sum(_loss(_solve(kept, share), test) for test, kept in held) for share in SHARES]
    return _solve(whole, SHARES[min(range(len(SHARES)), key=lambda i: losses[i])])


def _moments(features: Callable[[Tensor], Tensor], signal: Tensor, wanted: Tensor) -> Moments:
    total: list[Tensor] = []
    for x, y in zip(signal.split(TRIALS_AT_ONCE), wanted.split(TRIALS_AT_ONCE), strict=True):
        z, y = features(x).double(), y.double()
        some = [torch.einsum("nit,njt->ij", z, z), torch.einsum("nit,njt->ij", y, z), y.square().sum()]
        total = some if not total else [a + b for a, b in zip(total, some, strict=True)]
    return total[0], total[1], total[2]


def _solve(moments: Moments, share: float) -> Tensor:
    gram, cross, _ = moments
    penalty = share * gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
    eye = torch.eye(len(gram)).to(gram)
    return torch.linalg.solve(gram + penalty * eye, cross.T).T


def _loss(matrix: Tensor, moments: Moments) -> float:
    """|y - matrix x|^2 over the rows behind the moments."""
    gram, cross, power = moments
    return float(power - 2 * (matrix * cross).sum() + ((matrix @ gram) * matrix).sum())


def mean_of(tensors: Sequence[Tensor]) -> Tensor:
    """The mean of equally shaped tensors."""
    return torch.stack([t.detach() for t in tensors]).mean(0)
