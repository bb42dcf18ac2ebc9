"""Changes of geometry: planted ones are found, unrelated ones are at the null, and noise is no change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from braindec.evaluate import compare_learning as learning
from braindec.evaluate import learning_study, predictive_networks


def changing(rng, n_states=14, n_units=6):
    return rng.standard_normal((2, n_states, n_units))


def recorded(rng, latents, noise=0.5, n_runs=4):
    mixing = rng.standard_normal((latents.shape[-1], 30))
    clean = (latents @ mixing)[:, None]
    return clean + noise * rng.standard_normal((2, n_runs, *clean.shape[2:]))


def test_a_models_change_is_that_of_squared_distances_whatever_way_its_units_are_turned(rng):
    x = changing(rng)
    expected = (pdist(x[1], "sqeuclidean") - pdist(x[0], "sqeuclidean")) / 6
    np.testing.assert_allclose(learning.model_change(x).numpy(), expected, atol=1e-9)
    turned = x @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    np.testing.assert_allclose(learning.model_change(turned).numpy(), expected, atol=1e-9)


def test_a_planted_change_is_found_and_another_ones_is_at_the_null(rng):
    x, other = changing(rng), changing(rng)
    brain = learning.brain_change(*recorded(rng, x))
    ours, theirs = (learning.align_change(brain, learning.model_change(m), 14, n_null=99) for m in (x, other))
    assert ours.value > 0.75 and ours.p == 0.01
    assert ours.interval[0] < ours.value < ours.interval[1]
    assert abs(ours.null.mean()) < 0.1
    assert abs(theirs.value) < 0.4 and theirs.p > 0.02
    assert learning.most_alike({"ours": ours, "theirs": theirs}) == "ours"


def test_more_noise_after_learning_is_no_change(rng):
    x = changing(rng, n_states=40)
    x[1] = x[0]
    before, after = recorded(rng, x, noise=0.1)
    found = learning.brain_change(before, after + 3.0 * rng.standard_normal(after.shape))
    assert abs(float(found.mean())) < 0.15 * float(learning.recorded_distances(before).mean())


def test_a_course_is_that_of_scipy_and_of_dimensions_by_hand(rng):
    x, places = rng.standard_normal((3, 9, 4)), rng.standard_normal((9, 2))
    steps = squareform(pdist(places))
    found = learning.learning_course(x, steps)
    for value, one in zip(found.successor, x):
        assert value == pytest.approx(spearmanr(pdist(one), pdist(places))[0], abs=1e-9)
    variances = np.linalg.eigvalsh(np.cov(x[1].T))
    assert found.dimensions[1] == pytest.approx(variances.sum() ** 2 / np.square(variances).sum())
    assert found.moved[0] == pytest.approx(0, abs=1e-12) and found.moved[1:].min() > 0.2


def test_the_mean_change_weighs_networks_alike(rng):
    x, y = (learning.model_change(changing(rng)) for _ in range(2))
    both, loud = (learning.mean_change(torch.stack([x, k * y])) for k in (1, 100))
    torch.testing.assert_close(both, loud)


def test_pairs_of_other_states_are_refused(rng):
    change = learning.model_change(changing(rng))
    with pytest.raises(ValueError, match="pair"):
        learning.align_change(change, change, 13)
    with pytest.raises(ValueError, match="runs of before"):
        learning.brain_change(np.ones((1, 5, 3)), np.ones((2, 5, 3)))


def test_recordings_of_either_kind_are_named_and_of_silent_ones_nothing_is():
    quick = predictive_networks.Settings(checkpoints=(0, 150))
    told = {"n_networks": 5, "n_null": 9, "n_channels": 40, "networks": quick}
    found = {
        noise: learning_study.learning_study(learning_study.Settings(noise=noise, **told)).scores
        for noise in (0.5, 1000.0)
    }

    def of(noise, name):
        return [s for s in found[noise] if s.name == name and s.system == "braindec"]

    named = of(0.5, learning_study.NAMED)[0]
    assert named.n == 10 and named.value >= 0.8
    assert min(named.details[kind] for kind in learning_study.KINDS) >= 0.6
    assert min(s.value for s in of(0.5, learning_study.ALIGNED)) > 0.4
    assert max(abs(s.value) for s in of(1000.0, learning_study.ALIGNED)) < 0.15


def test_a_recorded_network_is_none_of_those_it_is_compared_with(rng):
    of = {kind: rng.standard_normal((4, 2, 9, 5)) for kind in learning_study.KINDS}
    other = {kind: own.copy() for kind, own in of.items()}
    for own in other.values():
        own[1] = rng.standard_normal((2, 9, 5))
    before, after = (learning_study._references(networks) for networks in (of, other))
    for name in (*learning_study.KINDS, learning_study.UNTRAINED):
        assert [torch.equal(x[name], y[name]) for x, y in zip(before, after)] == [False, True, False, False]
