"""Curvature against closed forms of known graphs and a linear programme; communities that were planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse.csgraph import shortest_path
from sklearn.metrics import adjusted_rand_score

from braindec.maths import curvature


def graph(n, edges):
    joined = np.zeros((n, n), bool)
    joined[tuple(np.array(edges).T)] = True
    return joined | joined.T


def circle(n):
    return graph(n, [(i, (i + 1) % n) for i in range(n)])


def drawn(rng, blocks, inside, between):
    """A random graph whose edges are likelier inside of blocks, and the blocks."""
    labels = np.repeat(np.arange(len(blocks)), blocks)
    chance = np.where(labels[:, None] == labels, inside, between)
    upper = np.triu(rng.random(chance.shape) < chance, 1)
    return upper | upper.T, labels


@pytest.mark.parametrize("n", [2, 3, 7])
def test_a_complete_graph_is_curved_by_its_closed_form(n):
    found = curvature.ollivier_ricci(~np.eye(n, dtype=bool))
    assert len(found.values) == n * (n - 1) // 2
    np.testing.assert_allclose(found.values, n / (2 * (n - 1)), atol=1e-12)


@pytest.mark.parametrize(("n", "expected"), [(4, 0.5), (5, 0.25), (6, 0.0), (9, 0.0)])
def test_a_circle_is_flat_once_it_is_large(n, expected):
    np.testing.assert_allclose(curvature.ollivier_ricci(circle(n)).values, expected, atol=1e-12)


def test_a_grid_that_closes_on_itself_is_flat():
    side, one = 6, np.eye(6, dtype=bool)
    joined = np.kron(circle(side), one) | np.kron(one, circle(side))
    np.testing.assert_allclose(curvature.ollivier_ricci(joined).values, 0.0, atol=1e-12)


def test_edges_of_a_tree_are_curved_by_the_degrees_of_their_ends():
    joined = graph(10, [(0, 1), (0, 2), (0, 3), (3, 4), (3, 5), (3, 6), (6, 7), (6, 8), (8, 9)])
    found, degree = curvature.ollivier_ricci(joined), joined.sum(1)
    expected = [1 / degree[x] + 1 / degree[y] - 1 for x, y in found.edges]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.by_node(10)[0] == pytest.approx(np.mean(expected[:3]))


@pytest.mark.parametrize("most_units", [0, 600])
def test_curvature_is_one_less_the_cost_of_a_linear_programme(rng, monkeypatch, most_units):
    monkeypatch.setattr(curvature, "MOST_UNITS", most_units)
    joined, _ = drawn(rng, [12], 0.4, 0.0)
    lengths = rng.uniform(0.5, 2.0, joined.shape)
    lengths = np.where(joined, lengths + lengths.T, 0.0)
    paths, n = shortest_path(lengths), len(joined)
    mass = 0.5 * np.eye(n) + 0.5 * joined / joined.sum(1, keepdims=True)
    sums = np.vstack([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    found = curvature.ollivier_ricci(joined, lengths)
    for (x, y), value in zip(found.edges[:8], found.values, strict=False):
        cost = linprog(paths.ravel(), A_eq=sums, b_eq=np.r_[mass[x], mass[y]]).fun
        assert value == pytest.approx(1 - cost / paths[x, y], abs=1e-7)
    np.testing.assert_allclose(curvature.ollivier_ricci(joined, 7 * lengths).values, found.values, atol=1e-9)


def test_a_bridge_is_curved_most_negatively_stretched_by_the_flow_and_cut():
    clique = ~np.eye(5, dtype=bool)
    joined = np.kron(np.eye(2), clique).astype(bool)
    joined[4, 5] = joined[5, 4] = True
    found = curvature.ollivier_ricci(joined)
    assert found.edges[found.values.argmin()].tolist() == [4, 5] and found.values.min() < 0
    lengths = curvature.ricci_flow(joined)
    assert np.unravel_index(lengths.argmax(), lengths.shape) == (4, 5)
    assert lengths[joined].mean() == pytest.approx(1.0)
    labels = curvature.communities(joined)
    assert labels.tolist() == [0] * 5 + [1] * 5
    # 20 of 21 edges are inside, and each half has half of all ends
    assert curvature.modularity(joined, labels) == pytest.approx(20 / 21 - 0.5)


def test_the_flow_keeps_a_graph_whose_edges_are_all_alike():
    joined = circle(7)
    np.testing.assert_allclose(curvature.ricci_flow(joined), joined.astype(float), atol=1e-12)


def test_planted_communities_are_found_and_those_of_unrelated_graphs_are_not(rng):
    joined, labels = drawn(rng, [12, 12, 12], 0.6, 0.06)
    assert adjusted_rand_score(labels, curvature.communities(joined)) > 0.9
    plain, _ = drawn(rng, [36], 0.24, 0.0)
    assert abs(adjusted_rand_score(labels, curvature.communities(plain))) < 0.15


def test_neighbours_are_joined_where_one_is_near_the_other():
    places = np.array([0.0, 1.0, 2.5, 10.0])
    joined = curvature.neighbour_graph(abs(places[:, None] - places), 1)
    assert np.argwhere(np.triu(joined)).tolist() == [[0, 1], [1, 2], [2, 3]]


def test_parts_that_nothing_joins_and_single_nodes_are_communities_of_their_own():
    joined = graph(6, [(0, 1), (1, 2), (0, 2), (3, 4)])
    assert curvature.communities(joined).tolist() == [0, 0, 0, 1, 1, 2]
    assert curvature.ollivier_ricci(joined).by_node(6)[5] == 0


def test_what_is_no_graph_is_refused():
    with pytest.raises(ValueError, match="symmetric"):
        curvature.ollivier_ricci(np.triu(np.ones((3, 3), bool), 1))
    with pytest.raises(ValueError, match="symmetric"):
        curvature.ollivier_ricci(np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="above 0"):
        curvature.ollivier_ricci(circle(4), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="k must"):
        curvature.neighbour_graph(np.zeros((3, 3)), 3)
