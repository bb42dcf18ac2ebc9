"""Distances of noisy systems against closed forms, scipy's matrix roots, and rotations that were planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from braindec.maths.shape import procrustes_distance
from braindec.maths.stochastic_shape import bures, energy_distance, gaussian_shape


def system(generator, n=12, p=4):
    """Centred means and a covariance of its own for each stimulus, float64."""
    means = torch.randn(n, p, generator=generator, dtype=torch.float64)
    factors = torch.randn(n, p, p, generator=generator, dtype=torch.float64)
    return means - means.mean(0), factors @ factors.mT / p


def turned(means, covariances, rotation):
    return means @ rotation.T, rotation @ covariances @ rotation.T


def test_bures_is_its_definition_and_of_commuting_covariances_the_distance_of_their_spreads(generator):
    _, (a, b) = system(generator, n=2)
    root = sqrtm(a.numpy())
    expected = np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(root @ b.numpy() @ root)).real
    assert float(bures(a, b)) == pytest.approx(expected, rel=1e-9)
    spreads = torch.rand(2, 4, generator=generator, dtype=torch.float64)
    diagonal = spreads.square().diag_embed()
    assert float(bures(*diagonal)) == pytest.approx(float((spreads[0] - spreads[1]).square().sum()), rel=1e-9)
    assert float(bures(a, a)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_rotated_system_is_at_distance_zero_and_its_rotation_is_found(alpha, generator):
    means, covariances = system(generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    found = gaussian_shape(means, covariances, *turned(means, covariances, rotation), alpha=alpha)
    assert found.distance == pytest.approx(0.0, abs=1e-5)
    torch.testing.assert_close(
        found.rotation @ rotation, torch.eye(4, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_means_alone_are_compared_by_procrustes(generator):
    (m, s), (o, t) = system(generator), system(generator)
    expected = float(procrustes_distance(m, o, scaled=False)) * (2 / len(m)) ** 0.5
    assert gaussian_shape(m, s, o, t, alpha=2.0).distance == pytest.approx(expected, rel=1e-6)


def test_one_dimension_has_a_closed_form(generator):
    m, o = (torch.randn(9, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    s, t = (torch.rand(9, generator=generator, dtype=torch.float64) for _ in range(2))
    away = [float((m[:, 0] - sign * o[:, 0]).square().mean()) for sign in (1, -1)]
    expected = math.sqrt(min(away) + float((s - t).square().mean()))
    found = gaussian_shape(m, s.square()[:, None, None], o, t.square()[:, None, None])
    assert found.distance == pytest.approx(expected, rel=1e-9)


def test_systems_that_differ_in_noise_alone_are_told_apart_by_noise_alone(generator):
    means, covariances = system(generator)
    other = 4 * covariances
    assert gaussian_shape(means, covariances, means, other, alpha=2.0).distance == pytest.approx(
        0.0, abs=1e-6
    )
    found = gaussian_shape(means, covariances, means, other)
    expected = covariances.diagonal(dim1=1, dim2=2).sum(1).mean().sqrt()  # spreads s and 2 s
    assert found.distance == pytest.approx(float(expected), rel=1e-6)


def test_rounds_never_move_systems_apart_and_order_does_not_matter(generator):
    one, other = system(generator), system(generator)
    there, back = gaussian_shape(*one, *other), gaussian_shape(*other, *one)
    assert list(there.squared) == sorted(there.squared, reverse=True) and len(there.squared) > 1
    assert there.distance == pytest.approx(back.distance, rel=0.02)  # local minima


def test_energy_distance_is_that_of_shifted_normals_and_zero_on_average_without_a_shift(generator):
    n, shift = 1500, 1.3
    x, y = (torch.randn(2, n, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    y[0] += shift

    def folded(mean):  # E |N(mean, 2)|
        return 2 / math.sqrt(math.pi) * math.exp(-(mean**2) / 4) + mean * math.erf(mean / 2)

    found = energy_distance(x, y).tolist()
    assert found == pytest.approx([folded(shift) - folded(0.0), 0.0], abs=0.05)


def test_what_cannot_be_compared_is_refused(generator):
    means, covariances = system(generator)
    with pytest.raises(ValueError, match="alpha"):
        gaussian_shape(means, covariances, means, covariances, alpha=2.5)
    with pytest.raises(ValueError, match="covariances must be"):
        gaussian_shape(means, covariances[:, :2], means, covariances)
    with pytest.raises(ValueError, match="repeats"):
        energy_distance(torch.zeros(2, 1, 3), torch.zeros(2, 4, 3))
