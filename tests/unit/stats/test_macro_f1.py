"""Macro F1: sklearn's value, an interval that covers sentences read twice, no difference where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.stats.macro_f1 import f1_difference, f1_interval, macro_f1

CONFUSED = np.array([[0.6, 0.25, 0.15], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5]])


def told(rng, n, prior=(0.5, 0.3, 0.2)):
    """Sentences, each read twice with errors that go together."""
    truth, unit = np.repeat(rng.choice(3, n, p=prior), 2), np.repeat(np.arange(n), 2)
    draw = np.where(rng.random(2 * n) < 0.5, np.repeat(rng.random(n), 2), rng.random(2 * n))
    return truth, (draw[:, None] > np.cumsum(CONFUSED[truth], 1)[:, :2]).sum(1), unit


def test_it_is_sklearns(rng):
    metrics = pytest.importorskip("sklearn.metrics")
    for n_classes in (2, 3, 7):
        truth, said = rng.integers(0, n_classes, (2, 60))
        expected = metrics.f1_score(truth, said, average="macro")
        assert macro_f1(truth, said, n_classes) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_neither_there_nor_said_counts_nowhere():
    assert macro_f1([0, 1, 1], [0, 1, 1], 5) == 1.0


def test_the_interval_covers_over_units():
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.2])
    joint = prior[:, None] * CONFUSED
    true = np.mean(2 * np.diag(joint) / (joint.sum(0) + joint.sum(1)))
    covered, narrow = 0, 0
    for _ in range(120):
        truth, said, unit = told(rng, 60)
        both = [f1_interval(truth, said, 3, rng, units=u, n_resamples=300) for u in (unit, None)]
        covered += both[0].low <= true <= both[0].high
        narrow += (both[1].high - both[1].low) < (both[0].high - both[0].low)
    assert 0.88 <= covered / 120 <= 1.0
    assert narrow > 90  # two readings of a sentence are not two sentences


def test_equal_systems_differ_by_nothing_and_a_better_one_is_found(rng):
    truth, said, unit = told(rng, 200)
    same = f1_difference(truth, said, said, 3, rng, units=unit)
    assert same.value == 0.0 and same.p == 1.0 and same.n == 200
    better = f1_difference(truth, truth, said, 3, rng, units=unit)
    assert better.interval.low > 0 and better.p < 0.01
    assert better.value == pytest.approx(1 - macro_f1(truth, said, 3))
    worse = f1_difference(truth, said, truth, 3, np.random.default_rng(0), units=unit)
    assert worse.value == pytest.approx(-better.value) and worse.interval.high < 0


def test_two_noisy_systems_of_one_kind_seldom_differ():
    rng, found = np.random.default_rng(1), 0
    for _ in range(60):
        truth, first, unit = told(rng, 60)
        second = (rng.random(len(truth))[:, None] > np.cumsum(CONFUSED[truth], 1)[:, :2]).sum(1)
        found += f1_difference(truth, first, second, 3, rng, units=unit, n_resamples=300).p < 0.05
    assert found <= 8


def test_classes_out_of_range_and_unlike_lengths_are_refused(rng):
    with pytest.raises(ValueError, match="class of said"):
        macro_f1([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="row"):
        macro_f1([0, 1], [0], 2)


def test_memory_does_not_grow_with_the_square_of_the_classes(rng):
    truth, said = rng.integers(0, 2000, (2, 4000))  # a table of classes for each row would be 128 GB
    assert 0 <= macro_f1(truth, said, 2000) < 0.01
