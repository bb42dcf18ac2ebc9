"""Noise that was planted is named by distances that know it, and by none where means are all that counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from braindec.evaluate import compare_noise

QUICK = compare_noise.Settings(n_stimuli=15, n_repeats=12, n_dims=4, n_systems=4)


@pytest.fixture(scope="module")
def features():
    spread = torch.tensor([4.0, 3.0, 1.0, 1.0, 0.5, 0.5])
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * spread


def test_every_kind_of_system_has_the_same_means_and_as_much_noise(features):
    settings = dataclasses.replace(QUICK, n_repeats=4000, noise=0.5, n_systems=2, own_means=0.0)
    responses, kinds = compare_noise.made(features, settings)
    means = responses.mean(2)
    apart = torch.cdist(means, means)  # does not see how a system is turned
    assert kinds.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.allclose(apart, apart[:1].expand_as(apart), atol=0.15)
    assert torch.allclose(means.square().sum(2).mean(1), torch.tensor(4.0).double(), atol=0.05)
    spread = (responses - means[:, :, None]).square().sum(3).mean((1, 2))
    assert torch.allclose(spread, torch.tensor(0.5 * 4).double(), atol=0.05)


def test_the_kind_is_named_by_noise_and_not_by_means(features):
    report = compare_noise.noise_study(features, QUICK)
    both, means, noise = (s for s in report.scores if s.system == "braindec")
    assert both.value == noise.value == 1.0 and both.p == pytest.approx(1 / 200)
    assert means.interval[0] < means.chance and means.value < 0.7
    assert both.null == pytest.approx(both.chance, abs=0.06) and both.chance == pytest.approx(3 / 11)


def test_systems_without_a_difference_are_named_by_chance(features, monkeypatch):
    monkeypatch.setattr(
        compare_noise, "_roots", lambda means, generator: torch.eye(4).double().expand(3, 15, 4, 4)
    )
    shares = []
    for seed in range(2):
        responses, kinds = compare_noise.made(features, dataclasses.replace(QUICK, seed=seed))
        shares.append(compare_noise.named(compare_noise.distances(responses, 1.0), kinds).mean())
    assert np.mean(shares) == pytest.approx(3 / 11, abs=0.2)


def test_the_nearest_other_system_is_never_the_system_itself():
    between = np.array([[0.0, 2.0, 1.0], [2.0, 0.0, 3.0], [1.0, 3.0, 0.0]])
    assert compare_noise.named(between, np.array([0, 0, 1])).tolist() == [False, True, False]
