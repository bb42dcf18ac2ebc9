"""A decoding searchlight: each classifier is scikit-learn's, planted places are found, and noise raises no alarm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from braindec import jobs
from braindec.rdm import decoding, decoding_searchlight, spheres


def small(rng, n_runs=4, n_conditions=3, n_repeats=2, side=4):
    """Trials of noise in a cube, in random order within each run."""
    mask = np.ones((side,) * 3, dtype=bool)
    each = np.repeat(np.arange(n_conditions), n_repeats)
    condition = np.concatenate([rng.permutation(each) for _ in range(n_runs)])
    run = np.repeat(np.arange(n_runs), len(each))
    return spheres(mask, np.eye(4), 1.5), condition, run, rng.standard_normal((len(run), mask.size))


def by_scikit_learn(x, condition, run, ridge):
    """Mean over conditions of the share of trials that are named, run by run."""
    n, named = condition.max() + 1, np.empty_like(condition)
    share = np.eye(n)[condition] / np.bincount(condition)
    for one in np.unique(run):
        held = run == one
        train = x[~held] - x[~held].mean(0)
        level = np.square(train).sum() / min(len(train) - 1, x.shape[1])
        model = Ridge(alpha=ridge * level).fit(x[~held], share[~held] - share[~held].mean(0))
        named[held] = model.predict(x[held]).argmax(1)
    return np.mean([(named[condition == k] == k).mean() for k in range(n)])


@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_every_classifier_is_ridge_regression_to_indicators_over_the_runs_left_out(rng, ridge):
    where, condition, run, x = small(rng)
    kept = np.ones(len(run), dtype=bool)
    kept[np.flatnonzero((run == 1) & (condition == 2))[:1]] = False  # conditions of other numbers of trials
    x, condition, run = (
        x[kept] + 0.3 * rng.standard_normal((3, 64))[condition[kept]],
        condition[kept],
        run[kept],
    )
    found = decoding_searchlight(
        x, where, condition, run=run, ridge=ridge, n_permutations=1, generator=np.random.default_rng(0)
    )
    expected = [
        by_scikit_learn(x[:, members[present].numpy()], condition, run, ridge)
        for members, present in zip(where.members, where.present, strict=True)
    ]
    np.testing.assert_allclose(found.accuracy, expected, atol=1e-9)
    assert found.chance == 1 / 3 and len(set(expected)) > 5


def test_permutations_are_refits_to_conditions_exchanged_within_runs(rng):
    where, condition, run, x = small(rng)
    found = decoding_searchlight(
        x, where, condition, run=run, n_permutations=4, generator=np.random.default_rng(3)
    )
    draw = np.random.default_rng(3)
    orders = [decoding.permute_within_blocks(run, draw) for _ in range(4)]
    null = np.array([
        [by_scikit_learn(x[:, m[p].numpy()], condition[order], run, 1.0) for m, p in zip(where.members, where.present)]
        for order in orders
    ])  # fmt: skip
    np.testing.assert_allclose(found.null_mean, null.mean(0), atol=1e-9)
    np.testing.assert_allclose(found.p, ((null >= found.accuracy - 1e-9).sum(0) + 1) / 5)
    largest = null.max(1)[:, None]
    np.testing.assert_allclose(found.p_corrected, ((largest >= found.accuracy - 1e-9).sum(0) + 1) / 5)


def test_a_planted_place_is_found_and_no_other(rng):
    where, condition, run, x = small(rng, n_runs=6, side=6)
    planted = np.zeros((6, 6, 6), dtype=bool)
    planted[:2, :2, :2] = True
    x[:, planted.ravel()] += 1.5 * rng.standard_normal((3, 8))[condition]
    found = decoding_searchlight(x, where, condition, run=run, n_permutations=99, generator=rng)
    touched = np.array([
        planted.ravel()[m[p].numpy()].any() for m, p in zip(where.members, where.present, strict=True)
    ])  # fmt: skip
    alarm = found.p_corrected < 0.05
    assert planted.ravel()[int(found.centres[found.accuracy.argmax()])]
    assert alarm[touched].sum() >= 8 and not alarm[~touched].any()
    assert found.accuracy.max() > 0.8 and abs(found.null_mean.mean() - 1 / 3) < 0.02


def test_of_noise_one_map_in_twenty_raises_an_alarm_and_runs_may_differ_in_level(rng):
    """Offsets of runs would be decoded if a run were in both parts, or labels left theirs under the null."""
    lowest = []
    for _ in range(60):
        where, condition, run, x = small(rng, side=3, n_repeats=1, n_conditions=4)
        x += 3 * rng.standard_normal((4, 27))[run]
        found = decoding_searchlight(x, where, condition, run=run, n_permutations=19, generator=rng)
        lowest.append(found.p_corrected.min())
    assert sum(p <= 0.05 for p in lowest) <= 8 and 20 <= sum(p <= 0.5 for p in lowest) <= 42


def test_pieces_of_the_brain_give_the_same_whatever_their_size(rng, monkeypatch):
    where, condition, run, x = small(rng)
    given = {"run": run, "n_permutations": 5}
    whole = decoding_searchlight(x, where, condition, **given, generator=np.random.default_rng(0))
    monkeypatch.setattr(decoding, "NUMBERS_AT_ONCE", 2000)
    with jobs.on("loky", n_jobs=1):
        parts = decoding_searchlight(
            torch.from_numpy(x), where, condition, **given, generator=np.random.default_rng(0)
        )
    for name in ("accuracy", "null_mean", "p", "p_corrected"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name))


def test_a_place_where_nothing_varies_is_at_chance(rng):
    where, condition, run, x = small(rng)
    found = decoding_searchlight(np.ones_like(x), where, condition, run=run, n_permutations=3, generator=rng)
    assert (found.accuracy == found.chance).all() and (found.p == 1).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"run": np.zeros(24, dtype=int)}, "number of runs must be at least 2.*has not seen"),
        ({"condition": np.zeros(24, dtype=int)}, "number of conditions must be at least 2"),
        ({"run": np.repeat([0, 1], [1, 23])}, "run '0' has no trial of condition"),
        ({"x": np.full((24, 64), np.nan)}, "x holds 1536 NaN"),
        ({"x": np.zeros((24, 5))}, "largest channel of a neighbourhood"),
        ({"x": np.zeros((24, 64, 2))}, "x must have axes"),
        ({"n_permutations": 0}, "n_permutations must be at least 1"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_words(rng, change, says):
    where, condition, run, x = small(rng)
    given = {"x": x, "condition": condition, "run": run} | change
    with pytest.raises(ValueError, match=says):
        decoding_searchlight(given.pop("x"), where, given.pop("condition"), **given, generator=rng)
