"""HRF, noise components and ridge: what was planted is chosen by training runs alone; shrinking is ridge regression."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import glm, glm_choices, glm_design
from braindec.data.glm_choices import Choices, GlmConfig, Run

N_STIMULI, N_TIMES, T_R, N_VOXELS = 12, 130, 1.5, 120
TIMES = np.arange(N_TIMES) * T_R
NUISANCE = glm_design.drift(TIMES, 1 / 128)


def make_runs(rng, n_runs=4, noise=0.5, shared=0.0, hrf=None, patterns=None):
    """Runs whose first 60 voxels respond to stimuli; all voxels share a noise time course of its own in each run."""
    hrf = np.zeros(N_VOXELS, dtype=int) if hrf is None else hrf
    patterns = rng.standard_normal((N_STIMULI, N_VOXELS)) if patterns is None else patterns
    patterns = patterns * (np.arange(N_VOXELS) < 60)
    loads = shared * rng.uniform(0.5, 1.5, (2, N_VOXELS))
    runs = []
    for _ in range(n_runs):
        order = rng.permutation(N_STIMULI)
        onsets = 4.0 + np.cumsum(rng.uniform(11, 15, N_STIMULI)) - 11
        run = Run(
            None, onsets, np.full(N_STIMULI, 2.0), np.array([f"s{i:02d}" for i in order]), TIMES, NUISANCE
        )
        signal = noise * rng.standard_normal((N_TIMES, N_VOXELS)) + rng.standard_normal((N_TIMES, 2)) @ loads
        for h in np.unique(hrf).tolist():
            signal[:, hrf == h] += run.trials(h) @ patterns[order][:, hrf == h]
        runs.append(replace(run, signal=np.ascontiguousarray(signal.T.astype(np.float32))))
    return runs, patterns


def planted_trials(run, patterns):
    return patterns[[int(s[1:]) for s in run.stimulus_id]]


def test_planted_shapes_of_the_response_are_chosen_and_the_wrong_ones_cost_accuracy(rng):
    late = next(i for i, h in enumerate(glm_design.LIBRARY) if h.peak_s == 8.0)
    early = next(i for i, h in enumerate(glm_design.LIBRARY) if h.peak_s == 3.5)
    hrf = np.repeat([late, early], N_VOXELS // 2)
    hrf[:60] = np.repeat([late, early], 30)
    runs, patterns = make_runs(rng, hrf=hrf)
    config = GlmConfig(hrf="library", method="lsa")
    choices = glm_choices.choose(runs[:3], config)
    peak = np.array([h.peak_s for h in glm_design.LIBRARY])[choices.hrf[:60]]
    assert np.abs(peak - np.repeat([8.0, 3.5], 30)).max() <= 1.0
    held_out, planted = runs[3], planted_trials(runs[3], patterns)[:, :60]
    errors = [
        np.square(glm_choices.estimate(held_out, c, config).beta[:, :60] - planted).mean()
        for c in (choices, Choices.none(N_VOXELS))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_noise_components_are_those_planted_and_better_betas_come_of_them(rng):
    runs, patterns = make_runs(rng, noise=0.3, shared=1.0)
    config = GlmConfig(max_components=6, noise="ols")
    choices = glm_choices.choose(runs[:3], config)
    assert choices.n_components == 2
    assert choices.pool[60:].mean() > 0.6 and choices.pool[:60].mean() < 0.1
    planted = planted_trials(runs[3], patterns)
    with_them, without = (
        np.square(glm_choices.estimate(runs[3], c, config).beta - planted).mean()
        for c in (choices, Choices.none(N_VOXELS))
    )
    assert with_them < 0.5 * without


def test_no_component_is_taken_where_noise_is_not_shared(rng):
    runs, _ = make_runs(rng, noise=1.0)
    assert glm_choices.choose(runs, GlmConfig(max_components=5)).n_components <= 1


def test_shrunken_betas_are_ridge_regression_of_the_asked_length(rng):
    x, y = rng.standard_normal((60, 9)) @ rng.standard_normal((9, 9)), rng.standard_normal((60, 5))
    plain = np.linalg.lstsq(x, y, rcond=None)[0]
    fraction = np.array([1.0, 0.8, 0.5, 0.2, 0.05])
    found = glm.shrunken(np.linalg.svd(x, full_matrices=False), y, fraction)
    assert np.linalg.norm(found, axis=0) / np.linalg.norm(plain, axis=0) == pytest.approx(fraction, rel=0.01)
    assert found[:, 0] == pytest.approx(plain[:, 0], rel=1e-6)
    for v in range(1, 5):  # the penalty that least squares of (X'X + a) b = X'y implies is one number
        penalty = (x.T @ (y[:, v] - x @ found[:, v])) / found[:, v]
        assert penalty == pytest.approx(np.full(9, penalty[0]), rel=1e-6)
        assert penalty[0] > 0


def test_ridge_shrinks_noisy_voxels_and_brings_betas_nearer_to_the_planted_ones(rng):
    runs, patterns = make_runs(rng, noise=2.5)
    config = GlmConfig(method="lsa", ridge=True, noise="ols")
    choices = glm_choices.choose(runs[:3], config)
    assert choices.fraction[60:].mean() < choices.fraction[:60].mean() < 1.0
    planted = planted_trials(runs[3], patterns)[:, :60]
    shrunken, plain = (
        np.square(glm_choices.estimate(runs[3], c, config).beta[:, :60] - planted).mean()
        for c in (choices, Choices.none(N_VOXELS))
    )
    assert shrunken < 0.8 * plain


def test_a_run_that_is_not_given_changes_no_choice(rng):
    config = GlmConfig(method="lsa", hrf="library", max_components=3, ridge=True)
    runs, _ = make_runs(rng, n_runs=3, shared=0.5)
    a, b = glm_choices.choose(runs[:2], config), glm_choices.choose(runs[:2], config)
    assert all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("hrf", "fraction", "pool"))
    c = glm_choices.choose([runs[0], runs[2]], config)
    assert not np.array_equal(a.hrf, c.hrf)  # and one that is given does
    before = glm_choices.estimate(runs[0], a, config).beta
    assert np.array_equal(before, glm_choices.estimate(runs[0], b, config).beta)


def test_choices_that_need_repeats_say_so_where_there_are_none(rng):
    runs, _ = make_runs(rng, n_runs=2)
    other = replace(runs[1], stimulus_id=np.char.add(runs[1].stimulus_id, "x"))
    with pytest.raises(checks.ConfigError, match="no stimulus is shown in two training runs"):
        glm_choices.choose([runs[0], other], GlmConfig(max_components=2))
    with pytest.raises(checks.ConfigError, match="ridge needs method 'lsa'"):
        GlmConfig(ridge=True)


def showing(stimulus_id):
    n = len(stimulus_id)
    return Run(None, np.arange(float(n)), np.ones(n), stimulus_id, TIMES, NUISANCE)


def test_repeats_in_other_runs_are_averaged_whatever_their_number(rng):
    shown = [rng.choice([f"s{i}" for i in range(9)], 12) for _ in range(3)] + [np.array(["alone", "alone"])]
    average, rows = glm_choices._across_runs([showing(ids) for ids in shown])
    names, run = np.concatenate(shown), np.repeat(np.arange(4), [12, 12, 12, 2])
    expected = []
    for i in range(len(names)):
        others = [j for j in range(len(names)) if names[j] == names[i] and run[j] != run[i]]
        expected += [(i, others)] if others else []
    assert rows.tolist() == [i for i, _ in expected]
    for row, (_, others) in zip(average.toarray(), expected, strict=True):
        assert row == pytest.approx(np.isin(np.arange(len(names)), others) / len(others))
    many = [showing(np.arange(r, r + 500).astype(str)) for r in range(12)]
    start = time.process_time()
    glm_choices._across_runs(many)
    assert time.process_time() - start < 0.3  # 0.004 s; all pairs of 6,000 trials took 1.3 s and 0.5 GB
