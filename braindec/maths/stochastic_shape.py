"""Shapes of noisy representations: how far two systems are apart in means and in noise, up to a rotation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.procrustes import polar

N_ROUNDS = 100  # of rotating and matching roots of covariances in turn
TOLERANCE = 1e-10  # of the squared distance, relative


class StochasticShape(NamedTuple):
    """Distance, the rotation (dim, dim) of the second system, and the squared distance of each round."""

    distance: float
    rotation: Tensor
    squared: tuple[float, ...]


def bures(a: Tensor, b: Tensor) -> Tensor:
    """Squared Bures distance of covariances (..., dim, dim): tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2, (...)."""
    root = _root(a)
    values = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0)
    total = a.diagonal(dim1=-2, dim2=-1).sum(-1) + b.diagonal(dim1=-2, dim2=-1).sum(-1)
    return (total - 2 * values.sqrt().sum(-1)).clamp_min(0)


def gaussian_shape(
    means: Tensor, covariances: Tensor, other_means: Tensor, other_covariances: Tensor, *, alpha: float = 1.0
) -> StochasticShape:
    """Distance of two systems of Gaussian responses at the best rotation or reflection of the second.

    Parameters
    ----------
    means, other_means : Tensor, shape (stimulus, dim)
        Centre them first, so that shifts do not count.
    covariances, other_covariances : Tensor, shape (stimulus, dim, dim)
        Of the responses to each stimulus.
    alpha : float
        In [0, 2]: 1 is the 2-Wasserstein distance, 2 compares means alone (Procrustes), 0 noise alone.

    Returns
    -------
    StochasticShape

    Notes
    -----
    d^2 = min over Q of the mean over stimuli of alpha ||m - Q n||^2 + (2 - alpha) Bures^2(S, Q T Q^T), of Duong et al.
    2023, arXiv:2211.11665. With roots S^1/2 and Q T^1/2, Bures' distance is that of the roots after a rotation U of
    one's own for each stimulus; rounds of the best U and the best Q never increase it. They end in a local minimum;
    rounds begin from the rotation of the means and from that of the mean covariances, and the smaller end is returned.
    """
    n = checks.same_length(
        "stimulus",
        means=means,
        covariances=covariances,
        other_means=other_means,
        other_covariances=other_covariances,
    )
    checks.in_range("alpha", alpha, 0.0, 2.0)
    dim = means.shape[1]
    for name, value in (("covariances", covariances), ("other_covariances", other_covariances)):
        if value.shape != (n, dim, dim) or other_means.shape != means.shape:
            raise ValueError(
                f"{name} must be ({n}, {dim}, {dim}) and means of one shape, got {tuple(value.shape)}."
            )
    m, o = means.double(), other_means.double()
    s, t = _root(covariances.double()), _root(other_covariances.double())
    ends = [_rounds(m, s, o, t, alpha, start) for start in _starts(m, covariances, o, other_covariances)]
    return min(ends, key=lambda one: one.distance)


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Energy distance (stimulus,) of samples (stimulus, repeat, dim) and (stimulus, other repeat, dim), unbiased.

    E|x - y| - E|x - x'| / 2 - E|y - y'| / 2 over different repeats; its mean over equal distributions is 0, so that a
    single value may be negative. Its root is what Duong et al. 2023 compare without assuming Gaussians.
    """
    checks.same_length("stimulus", x=x, y=y)
    checks.at_least("repeats", min(x.shape[1], y.shape[1]), 2)
    a, b = x.double(), y.double()
    return torch.cdist(a, b).mean((1, 2)) - _within(a) / 2 - _within(b) / 2


def _within(x: Tensor) -> Tensor:
    """Mean distance (stimulus,) between different repeats."""
    n = x.shape[1]
    return torch.cdist(x, x).sum((1, 2)) / (n * (n - 1))


def _root(a: Tensor) -> Tensor:
    """Symmetric roots (..., dim, dim) of covariances."""
    values, axes = torch.linalg.eigh(a)
    return (axes * values.clamp_min(0).sqrt().unsqueeze(-2)) @ axes.mT


def _starts(m: Tensor, a: Tensor, o: Tensor, b: Tensor) -> list[Tensor]:
    """Rotations (dim, dim) of the second system: of its means, of its mean covariance's axes."""
    first, second = (torch.linalg.eigh(c.double().mean(0)).eigenvectors for c in (a, b))
    return [polar(m.T @ o), first @ second.T]


def _rounds(m: Tensor, s: Tensor, o: Tensor, t: Tensor, alpha: float, rotation: Tensor) -> StochasticShape:
    """The best own rotations U of each stimulus' root and the best common one in turn."""
    squared: list[float] = []
    turned = t
    for number in range(N_ROUNDS):
        if number:
            rotation = polar(alpha * m.T @ o + (2 - alpha) * (s @ turned.mT).sum(0))
        u, _, vh = torch.linalg.svd((rotation @ t).mT @ s)
        turned = t @ (u @ vh)  # roots of the second system, each turned to fit best after the common rotation
        away = (
            alpha * (m - o @ rotation.T).square().sum() + (2 - alpha) * (s - rotation @ turned).square().sum()
        )
        squared.append(float(away) / len(m))
        if number and squared[-2] - squared[-1] <= TOLERANCE * squared[0]:
            break
    return StochasticShape(squared[-1] ** 0.5, rotation, tuple(squared))
