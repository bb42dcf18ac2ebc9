"""Ceilings equal what a model that knows the signal reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.maths.correlation import pearson
from braindec.stats import ceilings


def planted(generator, n_repeats, n_stimuli, ncsnr):
    signal = torch.as_tensor(ncsnr) * torch.randn(n_stimuli, len(ncsnr), generator=generator)
    return signal, signal + torch.randn(n_repeats, n_stimuli, len(ncsnr), generator=generator)


def test_noise_ceiling_is_the_r2_of_the_true_signal(rng):
    signal = 0.8 * rng.standard_normal(100_000)
    response = signal + rng.standard_normal((3, signal.size)).mean(0)
    expected = np.corrcoef(signal, response)[0, 1] ** 2
    assert ceilings.noise_ceiling(torch.tensor(0.8), 3) == pytest.approx(expected, abs=0.01)


def test_mixed_numbers_of_repeats_have_the_ceiling_of_their_mixture(rng):
    counts = np.repeat([1, 2, 3], 50_000)
    signal = 0.8 * rng.standard_normal(counts.size)
    response = signal + rng.standard_normal(signal.size) / np.sqrt(counts)
    expected = np.corrcoef(signal, response)[0, 1] ** 2
    assert ceilings.noise_ceiling(torch.tensor(0.8), counts.tolist()) == pytest.approx(expected, abs=0.01)


def test_the_planted_ncsnr_split_half_and_repeatability_agree(generator):
    ncsnr = torch.tensor([0.3, 0.7, 1.5])
    signal, responses = planted(generator, 4, 40_000, ncsnr)
    flat, stimulus = responses.reshape(-1, 3), np.tile(np.arange(40_000), 4)
    assert ceilings.estimate_ncsnr(flat, stimulus) == pytest.approx(ncsnr, rel=0.1)
    ceiling = ceilings.noise_ceiling(ncsnr, 4)
    assert ceilings.split_half_reliability(responses, generator) == pytest.approx(ceiling, abs=0.03)
    reached = pearson(signal, responses.mean(0), dim=0)
    assert ceilings.repeatability_ceiling(responses) == pytest.approx(reached, abs=0.03)


def test_three_repeats_are_lengthened_to_three_although_halves_hold_one(generator):
    _, responses = planted(generator, 3, 5000, torch.tensor([0.7]))
    expected = ceilings.noise_ceiling(torch.tensor([0.7]), 3)
    assert ceilings.split_half_reliability(responses, generator) == pytest.approx(expected, abs=0.03)


def test_noise_has_no_ceiling(generator):
    _, responses = planted(generator, 3, 2000, torch.zeros(50))
    stimulus = np.tile(np.arange(2000), 3)
    assert ceilings.estimate_ncsnr(responses.reshape(-1, 50), stimulus).square().mean() < 0.02
    assert ceilings.split_half_reliability(responses, generator).mean() == pytest.approx(0.0, abs=0.03)
    assert ceilings.repeatability_ceiling(responses).square().mean() < 0.03


def test_noise_free_responses_have_a_ceiling_of_one(generator):
    signal = torch.randn(1, 100, 2, generator=generator)
    responses = signal.expand(3, 100, 2)
    assert ceilings.repeatability_ceiling(responses) == pytest.approx(torch.ones(2))
    assert ceilings.split_half_reliability(responses, generator) == pytest.approx(torch.ones(2))
    endless = ceilings.estimate_ncsnr(responses.reshape(-1, 2), np.tile(np.arange(100), 3))
    assert ceilings.noise_ceiling(endless.clamp_max(1e6), 1) == pytest.approx(torch.ones(2))
