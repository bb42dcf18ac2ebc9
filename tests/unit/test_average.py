"""Weights averaged as they are trained: equal to the recursion, to the bit after a kill, absent when not asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import checkpoints, train
from braindec.checks import ConfigError
from braindec.maths.order import Order


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()]).double()


def run(folder=None, seen=None, validate=None, stop_after=None, **changes):
    """A noisy regression with dropout; `seen` gathers the weights before each step."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 8, generator=generator), torch.randn(64, 3, generator=generator)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 3))
    module[0].bias.requires_grad_(False)
    order = Order(64, 16, 0)

    def batch(step):
        if seen is not None and len(seen) == step:
            seen.append(flat(module))
        if step == stop_after:
            raise KeyboardInterrupt
        rows = order.rows(step)
        return {"x": x[rows], "y": y[rows]}

    def objective(module, batch, progress, generator):
        return {"mse": (module(batch["x"]) - batch["y"]).square().mean()}

    told = {"n_steps": 40, "lr": 1e-2, "device": "cpu", "validate_every": 10, **changes}
    look = None if validate is None else lambda m: validate(flat(m))
    train.fit(
        module, batch, objective, train.Config(**told), seed=3, folder=folder, validate=look, progress=False
    )
    return module


def recursion(weights, decay):
    average = weights[0]
    for t, after in enumerate(weights[1:], start=1):
        d = min(decay, (1 + t) / (10 + t))
        average = d * average + (1 - d) * after
    return average


@pytest.mark.parametrize("decay", [0.0, 0.7, 0.95])
def test_what_is_kept_is_the_recursion_over_the_weights_of_all_steps(decay):
    seen: list[torch.Tensor] = []
    averaged = flat(run(seen=seen, ema=decay))
    seen.append(flat(run()))  # the weights after the last step: training itself is the same
    assert len(seen) == 41
    torch.testing.assert_close(averaged, recursion(seen, decay), rtol=0, atol=1e-6)
    assert decay == 0.0 or not torch.equal(averaged, seen[-1])


def test_without_it_training_is_what_it_was_and_with_it_the_steps_are_the_same():
    plain: list[torch.Tensor] = []
    averaged: list[torch.Tensor] = []
    run(seen=plain)
    run(seen=averaged, ema=0.9)
    assert all(torch.equal(a, b) for a, b in zip(plain, averaged, strict=True))


def test_validation_sees_the_average_and_the_best_average_is_kept():
    looked, seen = [], []

    def validate(weights):
        looked.append(weights)
        return float(len(looked) == 3)  # after 20 steps

    kept = flat(run(seen=seen, validate=validate, ema=0.9))
    torch.testing.assert_close(looked[2], recursion(seen[:21], 0.9), rtol=0, atol=1e-6)
    assert torch.equal(kept, looked[2])
    assert torch.equal(looked[0], seen[0])


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    whole = flat(run(ema=0.9, checkpoint_every=7))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=25, ema=0.9, checkpoint_every=7)
    assert [int(p.stem[-8:]) for p in checkpoints.files(tmp_path, "train")][-1] == 21
    assert torch.equal(flat(run(tmp_path, ema=0.9, checkpoint_every=7)), whole)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises((ConfigError, ValueError), match=r"train\.ema"):
        train.Config(ema=decay)
