"""What every loss promises."""

from __future__ import annotations

import pytest
import torch

from braindec import registry
from braindec.losses import Mix

NAMES = registry.names("losses")
N = 12


@pytest.fixture(params=NAMES)
def loss(request):
    module = registry.load("losses", request.param)
    return module.build(module.Config())


@pytest.fixture
def target() -> torch.Tensor:
    """Distributions over classes, mostly on one class each: distinct directions, so that every loss takes them.

    No two trials lie to the others alike: losses that compare geometries could not tell one-hot rows apart.
    """
    draw = torch.randn(N, N, generator=torch.Generator().manual_seed(3)) + 4 * torch.eye(N)
    return draw.softmax(1).unsqueeze(1)


def prediction_of(target, noise=0.1):
    return target + noise * torch.randn(
        target.shape, generator=torch.Generator().manual_seed(4), dtype=target.dtype
    )


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_it_is_a_finite_scalar_whose_gradient_reaches_the_prediction(loss, target, progress, unreached):
    prediction = prediction_of(target).double().requires_grad_()
    value = loss.double()(prediction, target.double(), torch.arange(N), progress, None)
    assert value.shape == ()
    assert torch.isfinite(value)
    assert unreached(loss, value) == set()
    assert float(prediction.grad.abs().sum()) > 0


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_true_pairing_costs_less_than_a_shuffled_one(loss, target, progress):
    ids, other = torch.arange(N), torch.arange(N).roll(1)
    right = loss(prediction_of(target), target, ids, progress, None)
    assert right < loss(prediction_of(target), target[other], ids[other], progress, None)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_order_of_trials_does_not_matter(loss, target, progress, generator):
    order, ids = torch.randperm(N, generator=generator), torch.arange(N) // 2
    value = loss(prediction_of(target), target[ids], ids, progress, None)
    again = loss(prediction_of(target)[order], target[ids][order], ids[order], progress, None)
    torch.testing.assert_close(value, again)


def test_its_gradient_is_that_of_its_value(loss, target):
    """By finite differences, of mixed and of plain trials, at the start and at the end of training."""
    few, ids, n = target[:5].double(), torch.tensor([0, 1, 2, 3, 3]), 5
    few = few[ids]
    mix = Mix(torch.arange(n).roll(1), torch.linspace(0.3, 0.8, n), torch.arange(n).roll(1))
    loss = loss.double()
    for progress, drawn in ((0.0, mix), (1.0, None)):

        def value(prediction, progress=progress, drawn=drawn):
            return loss(prediction, few, ids, progress, drawn)

        assert torch.autograd.gradcheck(value, prediction_of(few).requires_grad_(), atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_noise_makes_a_perfect_prediction_dearer(loss, target, progress, generator):
    perfect = target.log() if loss.own_space else target
    ids = torch.arange(N)
    cost = []
    for share in (0.0, 0.3, 1.0, 3.0):
        noise = share * perfect.std() * torch.randn(15, *target.shape, generator=generator)
        cost.append(torch.stack([loss(perfect + x, target, ids, progress, None) for x in noise]).mean())
    assert cost[0] <= cost[1] + 1e-6
    assert cost[0] < cost[2] < cost[3]


def test_a_prediction_that_knows_nothing_prefers_no_pairing(loss, target, generator):
    """The true pairing's rank among shuffled ones, over predictions of noise: one half on average."""
    ids, ranks = torch.arange(N), []
    for _ in range(16):
        noise = torch.randn(target.shape, generator=generator)
        orders = [torch.randperm(N, generator=generator) for _ in range(8)]
        true = loss(noise, target, ids, 1.0, None)
        ranks += [float(loss(noise, target[o], ids[o], 1.0, None) > true) for o in orders]
    assert sum(ranks) / len(ranks) == pytest.approx(0.5, abs=0.22)  # 3 SD of 16 uniform ranks


def test_single_precision_is_close_to_double(loss, target):
    ids = torch.arange(N)
    single = loss(prediction_of(target), target, ids, 0.7, None).double()
    double = loss.double()(prediction_of(target).double(), target.double(), ids, 0.7, None)
    torch.testing.assert_close(double, single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_the_mix_follows_its_generator(loss, progress, global_state_untouched):
    draws = [loss.draw_mix(50, progress, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    if draws[0] is None:
        assert draws == [None, None, None]
        return
    first, same, other = draws
    assert torch.equal(first.partner, same.partner) and torch.equal(first.weight, same.weight)
    assert not torch.equal(first.partner, other.partner)
    assert first.partner.min() >= 0 and first.partner.max() < 50
    assert first.weight.min() >= 0 and first.weight.max() <= 1


def test_a_mix_of_nothing_changes_nothing(loss, target):
    ids = torch.arange(N)
    nothing = Mix(ids, torch.ones(N))
    for progress in (0.0, 1.0):
        plain = loss(prediction_of(target), target, ids, progress, None)
        torch.testing.assert_close(loss(prediction_of(target), target, ids, progress, nothing), plain)


def test_mixed_predictions_cost_least_under_their_own_mix(loss, target, generator):
    """A prediction that is exactly the mixed target should be cheaper with the right weights than with swapped ones."""
    partner, weight = torch.arange(N).roll(1), torch.full((N,), 0.8)
    mix = Mix(partner, weight)
    for progress in (0.0, 1.0):
        right = loss(mix.apply(target), target, torch.arange(N), progress, mix)
        assert right < loss(mix.apply(target), target, torch.arange(N), progress, Mix(partner, 1 - weight))


def test_shapes_that_do_not_match_are_refused(loss, target):
    with pytest.raises(ValueError, match="must match"):
        loss(target, target[:, :, :-1], torch.arange(N), 0.0, None)
    with pytest.raises(ValueError, match="must match"):
        loss(target, target, torch.arange(N - 1), 0.0, None)
