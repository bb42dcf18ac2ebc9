"""Distances of point clouds and shared room, against loops that write their definitions down."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from braindec.metrics import solids


@pytest.fixture
def clouds(generator):
    return torch.rand(3, 6, 3, generator=generator), torch.rand(3, 6, 3, generator=generator)


def distances(a, b):
    """Of all pairs, by a double loop."""
    return np.array([[float(np.sqrt(((p - q) ** 2).sum())) for q in b] for p in a])


def test_chamfer_is_the_mean_of_both_ways_to_the_nearest(clouds):
    for true, made, found in zip(*(c.numpy() for c in clouds), solids.chamfer_distance(*clouds), strict=True):
        d = distances(true, made)
        assert float(found) == pytest.approx((d.min(1).mean() + d.min(0).mean()) / 2, rel=1e-5)


def test_earth_movers_is_the_best_of_all_assignments(clouds):
    for true, made, found in zip(
        *(c.numpy() for c in clouds), solids.earth_movers_distance(*clouds), strict=True
    ):
        d = distances(true, made)
        best = min(np.mean([d[i, j] for i, j in enumerate(order)]) for order in permutations(range(6)))
        assert float(found) == pytest.approx(best, rel=1e-5)


def test_f_score_is_the_harmonic_mean_of_precision_and_recall(clouds):
    for true, made, found in zip(*(c.numpy() for c in clouds), solids.f_score(*clouds, 0.3), strict=True):
        d = distances(true, made)
        recall, precision = (d.min(1) <= 0.3).mean(), (d.min(0) <= 0.3).mean()
        assert float(found) == pytest.approx(2 * recall * precision / (recall + precision), rel=1e-6)


def test_a_moved_cloud_is_at_the_length_of_the_move_when_that_is_small(generator):
    true = torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    moved = true + torch.tensor([0.0, 0.3, 0.0])
    for metric in (solids.chamfer_distance, solids.earth_movers_distance):
        assert float(metric(true, moved)) == pytest.approx(0.3, rel=1e-5)
    assert float(solids.f_score(true, moved, 0.29)) == 0.0
    assert float(solids.f_score(true, moved, 0.31)) == 1.0


def test_earth_movers_counts_points_that_chamfer_lets_share_a_neighbour():
    true = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]])
    made = torch.tensor([[[0.0, 0, 0], [0.0, 0, 0]]])
    assert float(solids.chamfer_distance(true, made)) == pytest.approx(0.25)
    assert float(solids.earth_movers_distance(true, made)) == pytest.approx(0.5)


def test_distances_scale_with_the_unit_and_do_not_know_which_is_which(clouds):
    for metric in (solids.chamfer_distance, solids.earth_movers_distance):
        torch.testing.assert_close(metric(*clouds), metric(*clouds[::-1]))
        torch.testing.assert_close(metric(clouds[0] * 2, clouds[1] * 2), 2 * metric(*clouds))


def test_room_is_shared_as_counted():
    true, made = torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4, 4)
    true[0, :2], made[0, 1:3] = 1, 1  # 32 voxels each, 16 of them shared
    assert solids.volume_iou(true, made).tolist() == [16 / 48, 1.0]  # both empty


def test_ten_way_is_the_share_of_draws_that_are_won(generator):
    presented = torch.randn(12, 20, generator=generator)
    decoded = presented + 1.5 * torch.randn(12, 20, generator=generator)
    found = solids.ten_way(presented, decoded)
    rng = np.random.default_rng(0)
    r = np.corrcoef(presented.numpy(), decoded.numpy())[:12, 12:]
    for i in range(12):
        others = np.delete(np.arange(12), i)
        wins = [r[i, i] > r[rng.choice(others, 9, replace=False), i].max() for _ in range(500)]
        assert float(found[i]) == pytest.approx(np.mean(wins), abs=0.09)


def test_wrong_clouds_are_refused(clouds):
    with pytest.raises(ValueError, match="point"):
        solids.earth_movers_distance(clouds[0], clouds[1][:, :5])
    with pytest.raises(ValueError, match="item"):
        solids.chamfer_distance(clouds[0], clouds[1][:2])
    with pytest.raises(ValueError, match="presented"):
        solids.chamfer_distance(clouds[0][0], clouds[1])
    with pytest.raises(ValueError, match="threshold"):
        solids.f_score(*clouds, 0.0)
    with pytest.raises(ValueError, match="shape"):
        solids.volume_iou(torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4, 5))
