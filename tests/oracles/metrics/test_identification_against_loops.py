"""Two-way identification against a double loop, enumerated wrong pairings and the dense statistic."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from braindec.metrics import _two_way
from braindec.metrics.identification import two_way_identification
from braindec.stats.identification import identify


@pytest.fixture(params=[4, 2048], ids=["many tiles", "one tile"])
def tiled(request, monkeypatch):
    """Both ways through the sums: items and dims cut into many tiles, and all in one."""
    monkeypatch.setattr(_two_way, "TILE", request.param)
    monkeypatch.setattr(_two_way, "DEPTH", request.param)


def planted(rng, n=31, dim=9, noise=2.0, ties=False):
    target = rng.standard_normal((n, dim))
    predicted = target + noise * rng.standard_normal((n, dim))
    if ties:  # some truths occur twice, and one prediction is constant
        target[3], target[7], predicted[5] = target[4], target[8], 1.0
    return predicted, target


def correlations(predicted, target):
    """Truths in rows, predictions in columns; 0 for a constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n = len(target)
        return np.nan_to_num(np.corrcoef(target, predicted)[:n, n:])


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_a_double_loop_over_corrcoef(rng, tiled, ties):
    predicted, target = planted(rng, ties=ties)
    r = np.round(correlations(predicted, target), 12)
    n = len(r)
    wins = [(r[i, j] < r[j, j]) + 0.5 * (r[i, j] == r[j, j]) for j in range(n) for i in range(n) if i != j]
    score = two_way_identification(predicted, target)
    assert score.value == pytest.approx(np.mean(wins), abs=1e-12)
    np.testing.assert_allclose(score.per_sample, np.reshape(wins, (n, n - 1)).mean(1))


def test_value_and_interval_are_those_of_the_dense_statistic(rng, tiled):
    predicted, target = planted(rng, n=36)
    label, unit = np.arange(36) % 3, np.arange(36) // 2
    cases = ({}, {"labels": label}, {"units": unit})
    dense = ({}, {"pairs": label[:, None] == label}, {"units": unit})
    for ours, theirs in zip(cases, dense, strict=True):
        score = two_way_identification(torch.as_tensor(predicted), target, **ours)
        expected = identify(correlations(predicted, target), **theirs)
        assert score.value == pytest.approx(expected.value, abs=1e-12)
        assert score.interval == pytest.approx(expected.interval[:2], abs=1e-12)


def test_the_null_is_the_mean_over_all_wrong_truths(rng, tiled):
    predicted, target = planted(rng, noise=1.0)
    r = correlations(predicted, target)
    n = len(r)
    wrong = [
        np.mean([r[k, j] < r[i, j] for k in range(n) if k != i]) for j in range(n) for i in range(n) if i != j
    ]
    score = two_way_identification(predicted, target)
    assert score.value > 0.8
    assert score.null == pytest.approx(np.mean(wrong), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_perfect_input_scores_exactly_one(rng, tiled, dtype):
    target = (100 * rng.standard_normal((50, 40))).astype(dtype)
    assert two_way_identification(target, target).value == 1.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_perfect_tensors_score_exactly_one(rng, tiled, dtype):
    target = torch.from_numpy(100 * rng.standard_normal((50, 40))).to(dtype)
    assert two_way_identification(target, target).value == 1.0


def test_perfect_input_of_nearly_equal_items_scores_exactly_one(rng, tiled):
    """Correlations of different items lie within 1e-9 of each other, far below float32's rounding."""
    target = rng.standard_normal(300) + 1e-5 * rng.standard_normal((40, 300))
    assert two_way_identification(target, target).value == 1.0


def test_independent_predictions_are_at_chance_and_inside_the_interval(rng):
    found = [two_way_identification(*rng.standard_normal((2, 60, 20))) for _ in range(200)]
    assert np.mean([s.value for s in found]) == pytest.approx(0.5, abs=0.01)
    inside = np.mean([s.interval[0] <= 0.5 <= s.interval[1] for s in found])
    assert inside >= 0.9


def test_scale_and_offset_of_an_item_do_not_matter(rng, tiled):
    predicted, target = planted(rng)
    moved = predicted * rng.uniform(0.1, 10, (len(predicted), 1)) + rng.normal(0, 100, (len(predicted), 1))
    assert two_way_identification(moved, target).value == two_way_identification(predicted, target).value


@pytest.mark.slow
def test_ten_thousand_items_take_seconds_and_bounded_memory():
    code = """
import resource, time, torch
from braindec.metrics.identification import two_way_identification
target = torch.randn(10_000, 768, generator=torch.Generator().manual_seed(0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
assert two_way_identification(target, target).value == 1.0
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    seconds, mib = map(float, run.stdout.split())
    assert seconds < 60  # measured 3 on one core
    assert mib < 400  # a matrix of all pairs alone is 763
