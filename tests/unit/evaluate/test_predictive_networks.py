"""A maze whose values and successors are known, and networks that learn it side by side, each for itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.evaluate import compare_learning
from braindec.evaluate import predictive_networks as networks

QUICK = networks.Settings(checkpoints=(0, 40), noise=0.0)


@pytest.fixture(scope="module")
def maze():
    return networks.two_rooms(4)


def test_the_wall_has_one_door(maze):
    steps = maze.distances()
    np.testing.assert_array_equal(steps, steps.T)
    assert steps[13, 14] == 1  # the door, in the last row
    assert steps[1, 2] == 7  # beside each other, and around by the door
    assert steps[0, 1] == 1 and steps[0, 12] == 3


def test_values_are_the_discount_to_the_power_of_the_steps_that_are_left(maze):
    steps = maze.distances()[:, maze.goal]
    best = maze.values(0.9).max(1)
    away = np.arange(maze.n_states) != maze.goal
    np.testing.assert_allclose(best[away], 0.9 ** (steps[away] - 1), atol=1e-12)


def test_successors_are_where_random_walks_go(maze, rng):
    found = maze.successors(0.6)
    np.testing.assert_allclose(found.sum(1), 1)
    at, met = np.full(40_000, 5), np.zeros(maze.n_states)
    for later in range(25):
        at = maze.following[at, rng.integers(0, 4, len(at))]
        met += 0.4 * 0.6**later * np.bincount(at, minlength=maze.n_states) / len(at)
    np.testing.assert_allclose(found[5], met, atol=0.01)


def test_networks_side_by_side_learn_as_each_alone(maze):
    both = networks.learn(maze, [3, 4], [False, True], QUICK)
    alone = networks.learn(maze, [4], [True], QUICK)
    np.testing.assert_allclose(both.latents[1], alone.latents[0], atol=1e-4)
    assert np.abs(both.latents[0, 1] - both.latents[1, 1]).max() > 0.1


def test_the_aim_acts_on_what_is_learned_and_not_on_the_start(maze):
    found = networks.learn(maze, [3, 3], [False, True], QUICK)
    np.testing.assert_array_equal(found.latents[0, 0], found.latents[1, 0])
    off = networks.learn(maze, [3, 3], [False, True], replace(QUICK, strength=0.0))
    np.testing.assert_array_equal(off.latents[0], off.latents[1])


def test_who_foretells_lays_near_what_is_near_in_steps_and_both_learn_the_task(maze):
    n = 4
    told = networks.Settings(checkpoints=(0, 150))
    found = networks.learn(maze, [*range(n), *range(n)], [False] * n + [True] * n, told)
    near = [compare_learning.learning_course(x, maze.distances()).successor for x in found.latents]
    before, after = np.reshape(near, (2, n, 2)).mean(1).T
    assert np.abs(before).max() < 0.15
    assert after[1] > after[0] + 0.1
    assert found.greedy[:, 1].min() > 0.85 > found.greedy[:, 0].max()


def test_contradicting_settings_are_refused():
    with pytest.raises(ValueError, match="ascend"):
        networks.Settings(checkpoints=(0, 5, 5))
    with pytest.raises(ValueError, match="even"):
        networks.two_rooms(5)
