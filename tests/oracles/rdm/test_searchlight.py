"""Searchlights and neighbourhoods against one neighbourhood at a time, and distances along a mesh against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.rdm import compare, disks, dissimilarity, rings, searchlight, sensors, spheres


@pytest.fixture
def volume(rng):
    mask = rng.random((5, 5, 4)) > 0.3
    condition, run = np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)
    x = rng.standard_normal((20, int(mask.sum()))) + rng.standard_normal((5, int(mask.sum())))[condition]
    return mask, torch.from_numpy(x), condition, run


def test_spheres_hold_the_voxels_closer_than_the_radius(volume):
    mask, *_ = volume
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    found, places = spheres(mask, affine, 4.0), np.argwhere(mask) * [2.0, 2.0, 3.0]
    for row in (0, 7, len(places) - 1):
        near = np.flatnonzero(np.linalg.norm(places - places[row], axis=1) < 4.0)
        assert found.members[row][found.present[row]].tolist() == near.tolist()
    filled = spheres(np.ones((5, 5, 5), bool), np.eye(4), 2.0, filled=1.0)
    assert len(filled.centres) == 27  # the edge has no whole sphere


@pytest.mark.parametrize("noise", ["shrinkage", "diagonal", None])
@pytest.mark.parametrize("measure", ["crossnobis", "mahalanobis", "correlation", "euclidean"])
def test_every_sphere_has_the_distances_of_its_voxels_alone(volume, measure, noise):
    mask, x, condition, run = volume
    where = spheres(mask, np.eye(4), 1.8)
    found = searchlight(x, where, condition, measure=measure, run=run, noise=noise)
    assert found.axes == ("centre",) and found.distances.shape[0] == len(where.centres)
    for row in range(0, len(where.centres), 9):
        alone = x[:, where.members[row][where.present[row]]]
        expected = dissimilarity(alone, condition, measure=measure, run=run, noise=noise).distances
        torch.testing.assert_close(found.distances[row], expected)


def test_scores_are_made_without_keeping_distances(volume, monkeypatch):
    from braindec.rdm import searching

    mask, x, condition, run = volume
    monkeypatch.setattr(searching, "NUMBERS_AT_ONCE", 4000)  # several batches
    where, models = spheres(mask, np.eye(4), 1.5), torch.rand(2, 10, dtype=torch.float64)
    whole = searchlight(x, where, condition, run=run)
    scored = searchlight(x, where, condition, run=run, score=lambda d: compare(d, models))
    torch.testing.assert_close(scored, compare(whole.distances, models))


def test_sensors_are_searched_at_every_time(rng):
    positions = rng.standard_normal((9, 3))
    where = sensors(positions, nearest=4)
    assert where.sizes.tolist() == [4] * 9 and all(i in where.members[i].tolist() for i in range(9))
    x = torch.from_numpy(rng.standard_normal((12, 9, 3)))
    condition, run = np.tile(np.arange(4), 3), np.repeat(np.arange(3), 4)
    found = searchlight(x, where, condition, run=run)
    assert found.axes == ("time", "centre")
    alone = dissimilarity(x[:, where.members[2]], condition, run=run).distances
    torch.testing.assert_close(found.distances[:, 2], alone)


def test_disks_follow_the_surface_and_not_the_air():
    """A strip folded so that its ends meet: near in space, far along it."""
    along = np.linspace(0, 2 * np.pi * 0.95, 20)
    vertices = np.stack([np.cos(along), np.sin(along), np.zeros(20)], 1)
    vertices = np.concatenate([vertices, vertices + [0, 0, 0.3]])
    faces = np.array([[i, i + 1, i + 20] for i in range(19)] + [[i + 1, i + 20, i + 21] for i in range(19)])
    found = disks(vertices, faces, 0.7)
    members = found.members[0][found.present[0]].tolist()
    assert 1 in members and 20 in members and 19 not in members
    assert np.linalg.norm(vertices[0] - vertices[19]) < 0.7
    two = rings(faces, 40, 2)
    assert two.members[0][two.present[0]].tolist() == [0, 1, 2, 20, 21]
