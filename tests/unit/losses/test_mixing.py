"""Who is mixed with whom: within one subject only, as the generator says, and only while it is time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.losses import Mix, join, soft_clip


def test_partners_stay_within_their_subject_when_subjects_are_joined(generator):
    loss = soft_clip.build(soft_clip.Config(mixco_probability=1.0))
    counts = (5, 7, 4)
    joined = join([loss.draw_mix(n, 0.0, generator) for n in counts])
    subject = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    assert torch.equal(subject[joined.partner], subject)


def test_a_joined_mix_mixes_as_the_parts_do(generator):
    parts = [torch.randn(n, 2, generator=generator) for n in (3, 4)]
    mixes = [soft_clip.draw_mixco(n, 0.5, 1.0, generator) for n in (3, 4)]
    apart = torch.cat([mix.apply(part) for mix, part in zip(mixes, parts, strict=True)])
    assert torch.equal(join(mixes).apply(torch.cat(parts)), apart)


def test_mixing_is_a_double_loop(generator):
    x, mix = torch.randn(6, 2, 3, generator=generator), soft_clip.draw_mixco(6, 0.5, 0.7, generator)
    expected = torch.stack(
        [float(mix.weight[i]) * x[i] + (1 - float(mix.weight[i])) * x[int(mix.partner[i])] for i in range(6)]
    )
    torch.testing.assert_close(mix.apply(x), expected)


def test_mixing_keeps_the_dtype_of_what_is_mixed():
    mix = Mix(torch.tensor([1, 0]), torch.tensor([0.25, 0.5]))
    assert mix.apply(torch.ones(2, 3, dtype=torch.float64)).dtype == torch.float64
    assert mix.apply(torch.ones(2, 3, dtype=torch.float16)).dtype == torch.float16


def test_weights_are_beta_distributed(generator):
    weight = soft_clip.draw_mixco(40_000, 0.15, 1.0, generator).weight
    drawn = np.random.default_rng(0).beta(0.15, 0.15, 200_000)
    quantiles = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(
        np.quantile(weight.numpy(), quantiles), np.quantile(drawn, quantiles), atol=0.02
    )


def test_a_coin_decides_which_rows_are_mixed_and_the_others_are_left_alone(generator):
    mix, x = soft_clip.draw_mixco(10_000, 0.15, 0.3, generator), torch.randn(10_000, 1, generator=generator)
    alone = mix.partner == torch.arange(10_000)
    assert float(alone.float().mean()) == pytest.approx(0.7, abs=0.02)
    assert torch.equal(mix.apply(x)[alone], x[alone])


def test_trials_are_mixed_in_the_first_part_of_training_alone(generator):
    loss = soft_clip.build(soft_clip.Config(mixco_fraction=0.3))
    drawn = [loss.draw_mix(4, progress, generator) is not None for progress in (0.0, 0.29, 0.3, 1.0)]
    assert drawn == [True, True, False, False]


def test_without_a_mixing_phase_nothing_is_mixed(generator):
    loss = soft_clip.build(soft_clip.Config(mixco_fraction=0.0))
    assert loss.draw_mix(4, 0.0, generator) is None
