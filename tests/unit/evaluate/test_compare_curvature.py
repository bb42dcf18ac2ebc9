"""A network's communities in a brain's graph: found where the brain shares its geometry, not in unrelated ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braindec.evaluate import compare_curvature

SETTINGS = compare_curvature.Settings(n_neighbours=4, n_rounds=5)


def distances(points):
    return np.linalg.norm(points[:, None] - points, axis=2)


def points(rng, n_groups=3, size=8, spread=0.4):
    centres = 3 * np.eye(n_groups).repeat(size, 0)
    return centres + spread * rng.standard_normal(centres.shape)


def ours(scores):
    return {s.name: s for s in scores if s.system == "braindec"}


def test_communities_and_curved_edges_of_a_network_are_those_of_a_brain_that_is_like_it(rng):
    network = points(rng)
    brain = network + 0.1 * rng.standard_normal(network.shape)
    found = ours(compare_curvature.beside(1, distances(brain), distances(network), SETTINGS))
    held = found["communities_in_brain"]
    assert held.value > 0.4 and held.p < 0.02 and abs(held.null) < 0.1
    assert held.interval[0] < held.value < held.interval[1]
    assert held.details["n_communities"] >= 3


def test_an_unrelated_brain_has_neither(rng):
    found = ours(
        compare_curvature.beside(
            1, distances(points(rng)[rng.permutation(24)]), distances(points(rng)), SETTINGS
        )
    )
    assert all(abs(s.value - s.chance) < 0.25 for s in found.values())
    assert found["communities_in_brain"].p > 0.02


def test_the_area_is_sklearns_over_pairs_that_have_a_value(rng):
    values, joined = rng.standard_normal((9, 9)), rng.random((9, 9)) < 0.4
    values = np.where(rng.random((9, 9)) < 0.3, np.nan, values)
    pairs = np.triu(~np.isnan(values), 1)
    expected = roc_auc_score(joined[pairs], values[pairs])
    assert compare_curvature.area(values, joined) == pytest.approx(expected)
    assert compare_curvature.area(values, np.zeros((9, 9), bool)) == 0.5
