"""Planted ERPs: each factor changes its own component, and age moves it in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data.simulated.factor_erps import FACTORS, P300_AT_S, factor_erps, row_of

SIZES = tuple(len(levels) for levels in FACTORS.values())


def test_means_of_people_are_the_planted_erps(rng):
    made = factor_erps(3600, rng, noise=1.0)
    number = row_of(made.factors, SIZES)
    assert torch.bincount(number).tolist() == [100] * 36
    for one in (0, 17, 35):
        left = made.values[number == one].mean(0) - made.truth[one]
        assert float(left.abs().mean()) < 0.15


@pytest.mark.parametrize("age", [0, 1, 2])
def test_the_p300_comes_as_late_as_age_says(age, rng):
    made = factor_erps(36, rng, noise=0.0)
    combination = torch.tensor([[0, 0, 1, age]])
    wave = made.truth[row_of(combination, SIZES)][0, -2]
    assert made.times_s[int(wave.argmax())] == pytest.approx(P300_AT_S[age], abs=1 / 64)


def test_no_sum_of_one_wave_a_level_says_how_age_moves_a_targets_p300(rng):
    made = factor_erps(36, rng, noise=0.0)
    every = torch.cartesian_prod(*(torch.arange(size) for size in SIZES))
    design = (
        torch.cat([torch.nn.functional.one_hot(c, s) for c, s in zip(every.T, SIZES)], 1).double().numpy()
    )
    truth = made.truth.flatten(1).double().numpy()
    left = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    assert 0.005 < left.var() / (truth - truth.mean(0)).var() < 0.3
