"""The normalised cut against scikit-learn's spectral clustering, and points it never saw against a cut of all."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from braindec.maths.normalised_cut import labels, normalised_cut


def directions(generator, spread: float = 0.5, n: int = 40, groups: int = 4):
    """Points about directions far apart, and the direction of each."""
    centres = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q[:groups]
    truth = torch.arange(groups).repeat(n)
    noise = torch.randn(len(truth), 12, generator=generator, dtype=torch.float64)
    return centres[truth] + spread * noise, truth


def test_groups_are_those_of_scikit_learn_but_for_a_point_on_a_border(generator):
    points, _ = directions(generator)
    unit = points / points.norm(dim=1, keepdim=True)
    theirs = SpectralClustering(
        4, affinity="precomputed", assign_labels="cluster_qr", eigen_solver="arpack", random_state=0
    ).fit_predict(torch.exp((unit @ unit.T - 1) / 0.5).numpy())
    assert adjusted_rand_score(theirs, labels(normalised_cut(points, 4), points)) > 0.95


def test_points_that_were_not_there_get_the_group_they_were_drawn_from(generator):
    points, truth = directions(generator, spread=0.1)
    cut = normalised_cut(points[:80], 4)
    assert adjusted_rand_score(truth[80:], labels(cut, points[80:])) == 1.0
    wrong = truth[80:][torch.randperm(80, generator=generator)]
    assert abs(adjusted_rand_score(wrong, labels(cut, points[80:]))) < 0.15


def test_lengths_and_the_order_of_points_do_not_matter(generator):
    points, _ = directions(generator)
    order = torch.randperm(len(points), generator=generator)
    first = labels(normalised_cut(points, 4), points)
    longer = points * (0.1 + torch.rand(len(points), 1, generator=generator, dtype=torch.float64))
    again = labels(normalised_cut(longer[order], 4), longer[order])
    assert adjusted_rand_score(first[order], again) == 1.0


def test_more_groups_than_points_are_refused():
    with pytest.raises(ValueError, match="n_groups"):
        normalised_cut(torch.eye(3), 4)
