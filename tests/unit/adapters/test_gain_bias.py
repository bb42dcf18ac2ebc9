"""Gain and bias of each channel: what they scale, and how they are found for a new subject."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.adapters import gain_bias
from braindec.backbones import linear as linear_backbone
from braindec.encoder import Encoder
from braindec.maths.folds import folds_by_count
from braindec.types import ArraySpace, SensorSpace, SignalInfo, SubjectSignal


def eeg(subject, n_channels, n_times=15):
    positions = np.random.default_rng(subject).normal(size=(n_channels, 3)) * 0.05
    space = SensorSpace(tuple(map(str, range(n_channels))), positions, ("eeg",) * n_channels)
    return SubjectSignal(subject, "eeg", (n_channels, n_times), space, 100.0, 0.0)


def fmri(subject, n):
    return SubjectSignal(subject, "fmri", (n,), ArraySpace(n))


def encoder(config, *signals):
    info = SignalInfo({s.key: s for s in signals})
    return Encoder.build(info, {"main": (1, 4)}, config, linear_backbone.Config(), seed=0).eval()


def test_a_channel_has_one_gain_and_bias_over_all_times(generator):
    adapter, x = gain_bias.build(eeg(1, 4), gain_bias.Config()), torch.randn(3, 4, 15, generator=generator)
    assert torch.equal(adapter(x), x)
    with torch.no_grad():
        adapter.gain[2], adapter.bias[1] = 3.0, 5.0
    expected = x.clone()
    expected[:, 2] *= 3
    expected[:, 1] += 5
    torch.testing.assert_close(adapter(x), expected)


def test_gains_of_a_new_subject_are_found_from_pairs(generator):
    adapter = gain_bias.build(fmri(1, 30), gain_bias.Config())
    x = torch.randn(200, 30, generator=generator)
    gain, bias = 1 + torch.rand(30, generator=generator), torch.randn(30, generator=generator)
    wanted = gain * x + bias + 0.01 * torch.randn(200, 30, generator=generator)
    assert adapter.start_from_pairs_(x, wanted, folds_by_count(200, 5, generator))
    torch.testing.assert_close(adapter.gain, gain, atol=0.02, rtol=0.02)
    torch.testing.assert_close(adapter.bias, bias, atol=0.02, rtol=0.02)


def test_where_few_noisy_trials_tell_little_all_channels_get_nearly_one_gain(generator):
    adapter = gain_bias.build(fmri(1, 300), gain_bias.Config())
    x = torch.randn(12, 300, generator=generator)
    wanted = 2 * x + 5 * torch.randn(12, 300, generator=generator)
    alone = torch.stack([torch.from_numpy(np.polyfit(x[:, v], wanted[:, v], 1))[0] for v in range(300)])
    adapter.start_from_pairs_(x, wanted, folds_by_count(12, 4, generator))
    assert (adapter.gain - 2).square().mean() < 0.2 * (alone - 2).square().mean()


@pytest.mark.parametrize("mapping", ["linear", "merger"])
def test_behind_a_common_mapping_a_new_subject_s_gains_are_found_too(mapping, generator):
    config = gain_bias.Config(mapping=mapping, shared_dim=6, n_frequencies=3)
    both = encoder(config, eeg(1, 8), eeg(2, 8))
    old, new = (both.adapter(key) for key in both.keys)
    own = dict(new.named_parameters())
    assert set(own) == {"gain", "bias"}
    with torch.no_grad():
        old.gain.copy_(1 + torch.rand(6, generator=generator))
        old.bias.copy_(torch.randn(6, generator=generator))
    x = torch.randn(50, 8, 15, generator=generator)
    if mapping == "merger":
        new.positions.copy_(old.positions)
    assert new.start_from_pairs_(x, old(x).detach(), folds_by_count(50, 5, generator))
    torch.testing.assert_close(new(x), old(x), atol=1e-3, rtol=1e-3)


def test_montages_may_differ_behind_a_merger_and_not_behind_one_matrix():
    mixed = encoder(gain_bias.Config(mapping="merger", shared_dim=6), eeg(1, 8), eeg(2, 5))
    assert mixed.shared_shape == (6, 15)
    with pytest.raises(ValueError, match="sub-02_eeg"):
        encoder(gain_bias.Config(mapping="linear"), eeg(1, 8), eeg(2, 5))
    with pytest.raises(ValueError, match="sub-02_fmri"):
        encoder(gain_bias.Config(), fmri(1, 8), fmri(2, 5))


def test_a_subject_added_later_starts_as_the_mean_of_the_others():
    both = encoder(gain_bias.Config(), fmri(1, 5), fmri(2, 5))
    with torch.no_grad():
        both.adapter("sub-01_fmri").gain.fill_(3.0)
    both.add_subject(fmri(3, 5))
    assert both.adapter("sub-03_fmri").gain.tolist() == [2.0] * 5
