"""What every adapter promises, for every kind of signal that it takes."""

from __future__ import annotations

import pytest
import torch

from braindec import registry, seeding

NAMES = registry.names("adapters")


def build(name, signal, seed=0):
    module = registry.load("adapters", name)
    with seeding.seeded(seed, "adapter", signal.key):
        return module.build(signal, module.Config())


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


@pytest.mark.parametrize("name", NAMES)
def test_the_output_has_the_declared_shape(name, signals):
    for signal, adapter in accepted(name, signals):
        assert adapter.signal_shape == signal.shape
        assert adapter(some(signal)).shape == (4, *adapter.shared_shape)
        assert adapter(some(signal)[:0]).shape == (0, *adapter.shared_shape)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_every_parameter(name, signals, randomised_, unreached):
    for signal, adapter in accepted(name, signals):
        out = randomised_(adapter.double().train())(some(signal, dtype=torch.float64))
        assert unreached(adapter, out.square().sum()) == set()


@pytest.mark.parametrize("name", NAMES)
def test_eval_is_deterministic_and_blind_to_the_other_trials(name, signals):
    for signal, adapter in accepted(name, signals):
        adapter.eval()
        x = some(signal)
        assert torch.equal(adapter(x), adapter(x))
        torch.testing.assert_close(adapter(x)[1:2], adapter(x[1:2]))


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_is_bit_equal(name, signals, randomised_, saved_into):
    for signal, adapter in accepted(name, signals):
        other = saved_into(randomised_(adapter), build(name, signal, seed=5))
        assert torch.equal(other.eval()(some(signal)), adapter.eval()(some(signal)))


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_close_to_double(name, signals):
    for signal, adapter in accepted(name, signals):
        single = adapter.eval()(some(signal)).double()
        torch.testing.assert_close(adapter.double()(some(signal).double()), single, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_follow_from_the_seed_alone(name, signals, global_state_untouched):
    for signal, adapter in accepted(name, signals):
        again, other = build(name, signal).state_dict(), build(name, signal, seed=1).state_dict()
        assert all(torch.equal(again[key], value) for key, value in adapter.state_dict().items())
        assert any(not torch.equal(other[key], value) for key, value in adapter.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_starting_map_is_computed_or_declined_without_a_trace(name, signals):
    for signal, adapter in accepted(name, signals):
        adapter.eval()
        x, before = some(signal), adapter(some(signal))
        weight, bias = torch.randn(3, x[0].numel()), torch.randn(3)
        if adapter.start_from_(weight, bias):
            started = adapter(x).flatten(1)
            torch.testing.assert_close(started[:, :3], x.flatten(1) @ weight.T + bias, atol=1e-4, rtol=1e-4)
            assert torch.equal(started[:, 3:], before.flatten(1)[:, 3:])
        else:
            assert torch.equal(adapter(x), before)
