"""What every adapter promises, for every kind of signal that it takes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from braindec import registry, seeding
from braindec.backbones import linear as linear_backbone
from braindec.encoder import Encoder
from braindec.maths.folds import folds_by_count
from braindec.types import SignalInfo

NAMES = registry.names("adapters")


class Alone(nn.Module):
    """An adapter together with what it shares, as an encoder holds them."""

    def __init__(self, adapter, shared):
        super().__init__()
        self.adapter, self.shared = adapter, shared
        if shared is not None:
            adapter.attach(shared)

    def forward(self, signal):
        return self.adapter(signal)

    @property
    def inert(self):
        return {f"adapter.{name}" for name in self.adapter.inert}


def build(name, signal, seed=0):
    module = registry.load("adapters", name)
    with seeding.seeded(seed, "adapter", signal.key):
        adapter = module.build(signal, module.Config())
    with seeding.seeded(seed, "shared"):
        shared = module.build_shared([signal], module.Config()) if hasattr(module, "build_shared") else None
    return Alone(adapter, shared)


def accepted(name, signals):
    """(signal, adapter) for the signals that this adapter takes; a refusal must name the signal."""
    pairs = []
    for signal in signals.values():
        try:
            pairs.append((signal, build(name, signal)))
        except (ValueError, TypeError) as error:
            assert signal.key in str(error)
    assert pairs, f"{name} takes no signal at all"
    return pairs


def some(signal, n=4, dtype=torch.float32):
    return torch.randn((n, *signal.shape), generator=torch.Generator().manual_seed(2), dtype=dtype)


def encoder_of(name, *signals):
    """An encoder with this adapter and a linear backbone."""
    module = registry.load("adapters", name)
    info = SignalInfo({signal.key: signal for signal in signals})
    return Encoder.build(info, {"main": (1, 8)}, module.Config(), linear_backbone.Config(), seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_output_has_the_declared_shape(name, signals):
    for signal, alone in accepted(name, signals):
        assert alone.adapter.signal_shape == signal.shape
        assert alone.adapter.accepts(signal.shape)
        assert alone(some(signal)).shape == (4, *alone.adapter.shared_shape)
        assert alone(some(signal)[:0]).shape == (0, *alone.adapter.shared_shape)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_every_parameter_that_is_not_declared_inert(name, signals, randomised_, unreached):
    for signal, alone in accepted(name, signals):
        out = randomised_(alone.double().train())(some(signal, dtype=torch.float64).requires_grad_())
        assert unreached(alone, out.square().sum()) == alone.inert


@pytest.mark.parametrize("name", NAMES)
def test_eval_is_deterministic_and_blind_to_the_other_trials(name, signals):
    for signal, alone in accepted(name, signals):
        alone.eval()
        x = some(signal)
        assert torch.equal(alone(x), alone(x))
        torch.testing.assert_close(alone(x)[1:2], alone(x[1:2]))


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_is_bit_equal(name, signals, randomised_, saved_into):
    for signal, alone in accepted(name, signals):
        other = saved_into(randomised_(alone), build(name, signal, seed=5))
        assert torch.equal(other.eval()(some(signal)), alone.eval()(some(signal)))


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_close_to_double(name, signals):
    for signal, alone in accepted(name, signals):
        single = alone.eval()(some(signal)).double()
        torch.testing.assert_close(alone.double()(some(signal).double()), single, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_follow_from_the_seed_alone(name, signals, global_state_untouched):
    for signal, alone in accepted(name, signals):
        again, other = build(name, signal).state_dict(), build(name, signal, seed=1).state_dict()
        assert all(torch.equal(again[key], value) for key, value in alone.state_dict().items())
        if any(
            parameter.ndim > 1 for parameter in alone.parameters()
        ):  # gains of 1 and biases of 0 are not drawn
            assert any(not torch.equal(other[key], value) for key, value in alone.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_starting_map_is_computed_or_declined_without_a_trace(name, signals):
    for signal, alone in accepted(name, signals):
        alone.eval()
        x, before = some(signal), alone(some(signal))
        weight, bias = torch.randn(3, x[0].numel()), torch.randn(3)
        if alone.adapter.start_from_(weight, bias):
            assert alone.adapter.takes_map
            started = alone(x).flatten(1)
            torch.testing.assert_close(started[:, :3], x.flatten(1) @ weight.T + bias, atol=1e-4, rtol=1e-4)
            if not alone.adapter.coupled:
                assert torch.equal(started[:, 3:], before.flatten(1)[:, 3:])
        else:
            assert torch.equal(alone(x), before)


@pytest.mark.parametrize("name", NAMES)
def test_a_start_from_pairs_comes_closer_to_them_and_leaves_what_is_shared(name, signals, randomised_):
    """What another such adapter, with the same shared part, makes of the same signals is what is wanted."""
    for signal, alone in accepted(name, signals):
        x, wanted = some(signal, n=60), build(name, signal, seed=3)
        if alone.shared is not None:
            wanted.adapter.attach(alone.shared)
        randomised_(wanted.adapter)
        values = wanted.eval()(x).detach()
        before, kept = alone.eval()(x).detach(), copy.deepcopy(alone.state_dict())
        folds = folds_by_count(60, 5, torch.Generator().manual_seed(0))
        if alone.adapter.start_from_pairs_(x, values, folds):
            after = alone(x).detach()
            assert (after - values).square().mean() < 0.5 * (before - values).square().mean()
        else:
            assert torch.equal(alone(x), before)
        assert all(torch.equal(alone.state_dict()[k], v) for k, v in kept.items() if k.startswith("shared."))


@pytest.mark.parametrize("name", NAMES)
def test_a_subject_added_later_leaves_every_weight_bit_equal(name, signals):
    for signal, _ in accepted(name, signals):
        encoder = encoder_of(name, signal)
        before = copy.deepcopy(encoder.state_dict())
        new = encoder.add_subject(replace(signal, subject=90))
        after = encoder.state_dict()
        assert all(torch.equal(after[key], value) for key, value in before.items())
        added = set(after) - set(before)
        assert added and all(key.startswith(new) for key in added)


@pytest.mark.parametrize("name", NAMES)
def test_subjects_share_one_part_in_copies_and_on_disk_too(name, signals, saved_into):
    signal, _ = accepted(name, signals)[0]
    encoder = encoder_of(name, signal, replace(signal, subject=90))
    copied = copy.deepcopy(encoder)
    x = {key: some(signal) for key in encoder.keys}
    expected = encoder.eval()(x)
    for parameter in encoder.parameters():
        parameter.data.zero_()  # the copy must not notice
    whole = saved_into(copied, encoder_of(name, signal, replace(signal, subject=90))).eval()(x)
    for key, outputs in copied.eval()(x).items():
        assert torch.equal(outputs["main"], expected[key]["main"])
        assert torch.equal(whole[key]["main"], expected[key]["main"])
