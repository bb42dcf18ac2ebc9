"""Losses that compare sets of trials (CCA, CKA, transport) against scikit-learn, scipy and definitions by loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog, minimize

from braindec.losses import Mix, cca, cka, sinkhorn
from braindec.losses._transport import differentiable, transport
from braindec.maths.cca import canonical_correlations, whitened
from braindec.maths.cka import linear_cka


def pairs(generator, n=14, d=5, noise=1.0):
    """Predictions and targets (n, 1, d), float64, in generic position."""
    target = torch.randn(n, 1, d, generator=generator, dtype=torch.float64) * torch.arange(1.0, d + 1)
    return target + noise * torch.randn(n, 1, d, generator=generator, dtype=torch.float64), target


def value(module, prediction, target, mix=None, **settings):
    return module.build(module.Config(**settings))(prediction, target, torch.arange(len(target)), 0.5, mix)


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_is_one_minus_that_of_the_maths(generator, debiased):
    prediction, target = pairs(generator)
    expected = 1 - linear_cka(prediction[:, 0], target[:, 0], debiased=debiased)
    torch.testing.assert_close(value(cka, prediction, target, debiased=debiased), expected)


def test_debiased_cka_of_unrelated_batches_costs_one_and_the_biased_far_less(generator):
    cost = {True: [], False: []}
    for _ in range(200):
        x, y = (torch.randn(8, 1, 50, generator=generator, dtype=torch.float64) for _ in range(2))
        for debiased, found in cost.items():
            found.append(float(value(cka, x, y, debiased=debiased)))
    assert np.mean(cost[True]) == pytest.approx(1, abs=3 * np.std(cost[True]) / np.sqrt(200))
    assert np.mean(cost[False]) < 0.3


def test_cka_does_not_see_rotation_and_scale(generator):
    prediction, target = pairs(generator)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))[0]
    torch.testing.assert_close(value(cka, 3 * prediction @ turn + 1, target), value(cka, prediction, target))


@pytest.mark.parametrize(("n", "d"), [(14, 5), (6, 30)])
@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_cca_sums_the_squared_canonical_correlations_of_the_maths(generator, n, d, ridge):
    prediction, target = pairs(generator, n, d)
    x, y = (whitened(v[:, 0], ridge=ridge) for v in (prediction, target))
    shared, own_x, own_y = (canonical_correlations(a, b).square().sum() for a, b in ((x, y), (x, x), (y, y)))
    torch.testing.assert_close(
        value(cca, prediction, target, ridge=ridge, debiased=False), 1 - shared / (own_x * own_y).sqrt()
    )


def test_cca_with_a_vanishing_penalty_is_scikit_learns(generator):
    from sklearn.cross_decomposition import CCA

    prediction, target = pairs(generator, 60, 3, noise=3.0)
    theirs = CCA(3, max_iter=5000, tol=1e-12).fit(prediction[:, 0].numpy(), target[:, 0].numpy())
    x, y = theirs.transform(prediction[:, 0].numpy(), target[:, 0].numpy())
    squares = sum(np.corrcoef(x[:, i], y[:, i])[0, 1] ** 2 for i in range(3))
    assert float(value(cca, prediction, target, ridge=1e-9, debiased=False)) == pytest.approx(
        1 - squares / 3, abs=1e-5
    )


def test_cca_does_not_see_linear_maps_where_its_penalty_is_small(generator):
    prediction, target = pairs(generator)
    twisted = prediction @ torch.randn(5, 5, generator=generator, dtype=torch.float64)
    found, expected = (value(cca, x, target, ridge=1e-8) for x in (twisted, prediction))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_noise_of_as_many_values_as_trials_costs_debiased_cca_what_it_is_worth(generator):
    cost = {True: [], False: []}
    for _ in range(100):
        noise, target = (torch.randn(14, 1, 40, generator=generator, dtype=torch.float64) for _ in range(2))
        for debiased, found in cost.items():
            found.append(float(value(cca, noise, target, debiased=debiased)))
            assert float(value(cca, target, target, debiased=debiased)) < 1e-9
    assert np.mean(cost[True]) == pytest.approx(1, abs=3 * np.std(cost[True]) / 10)
    assert np.mean(cost[False]) < 0.05


def cost_of(generator, n, m):
    return torch.rand(n, m, generator=generator, dtype=torch.float64)


def marginals(generator, *sizes):
    return [(x := torch.rand(n, generator=generator, dtype=torch.float64) + 0.1) / x.sum() for n in sizes]


def test_transport_with_little_entropy_is_the_linear_programme(generator):
    cost = cost_of(generator, 5, 7)
    a, b = marginals(generator, 5, 7)
    sums = [np.kron(np.eye(5), np.ones(7)), np.kron(np.ones(5), np.eye(7))]
    theirs = linprog(cost.flatten().numpy(), A_eq=np.vstack(sums), b_eq=torch.cat([a, b]).numpy())
    found = transport(cost, a, b, epsilon=1e-3, n_iterations=20_000)
    assert float((found.plan * cost).sum()) == pytest.approx(theirs.fun, abs=2e-3)
    torch.testing.assert_close(found.plan.sum(1), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.plan.sum(0), b, atol=1e-9, rtol=0)


def test_transport_of_even_clouds_is_the_best_assignment(generator):
    cost, even = cost_of(generator, 8, 8), torch.full((8,), 1 / 8, dtype=torch.float64)
    rows, columns = linear_sum_assignment(cost.numpy())
    found = transport(cost, even, even, epsilon=2e-3, n_iterations=20_000)
    assert found.plan.argmax(1).tolist() == columns.tolist()
    assert float(found.value) == pytest.approx(float(cost[rows, columns].mean()), abs=0.01)


def test_transport_is_the_maximum_of_its_dual(generator):
    """Entropic transport by a general optimiser of the concave dual, which knows no alternating updates."""
    cost, epsilon = cost_of(generator, 4, 6), 0.3
    a, b = marginals(generator, 4, 6)

    def dual(potentials):
        f, g = potentials[:4], potentials[4:]
        mass = np.outer(a, b) * np.exp((f[:, None] + g - cost.numpy()) / epsilon)
        slope = np.concatenate([a.numpy() - mass.sum(1), b.numpy() - mass.sum(0)])
        return -(f @ a.numpy() + g @ b.numpy() - epsilon * (mass.sum() - 1)), -slope

    theirs = minimize(dual, np.zeros(10), jac=True, method="BFGS", options={"gtol": 1e-10})
    found = transport(cost, a, b, epsilon=epsilon, n_iterations=1000).value
    assert float(found) == pytest.approx(-theirs.fun, abs=1e-8)


def test_the_gradient_of_transport_by_its_cost_is_the_plan(generator):
    cost = cost_of(generator, 4, 6)
    a, b = marginals(generator, 4, 6)

    def minimum(x):
        return differentiable(transport(x, a, b, epsilon=0.2, n_iterations=5000), x)

    assert torch.autograd.gradcheck(minimum, cost.requires_grad_())


def test_pairs_are_the_divergence_of_the_plan_from_the_known_one(generator):
    prediction, target = pairs(generator)
    found = value(sinkhorn, prediction, target, epsilon=0.2, n_iterations=5000)
    unit = [torch.nn.functional.normalize(x[:, 0], dim=1) for x in (prediction, target)]
    even = torch.full((14,), 1 / 14, dtype=torch.float64)
    plan = transport(1 - unit[0] @ unit[1].T, even, even, epsilon=0.2, n_iterations=5000).plan
    torch.testing.assert_close(found, (even * (even / plan.diagonal()).log()).sum())


def test_pairs_after_half_a_step_are_one_direction_of_info_nce(generator):
    """The row potential of an even start is the log sum of InfoNCE's softmax."""
    from braindec.losses import clip

    prediction, target = pairs(generator)
    unit = [torch.nn.functional.normalize(x[:, 0], dim=1) for x in (prediction, target)]
    logits = (unit[0] @ unit[1].T - 1) / 0.1
    rows = -(logits.diagonal() - logits.logsumexp(1)).mean()
    torch.testing.assert_close(rows, value(clip, prediction, target, temperature=0.1, direction="to_target"))
    # Normalising columns as well can only take surprise away from pairs that nobody else wants.
    assert value(sinkhorn, prediction, target, epsilon=0.1) < rows


@pytest.mark.parametrize("normalise", [True, False])
def test_clouds_cost_nothing_where_they_are_equal_whatever_their_order(generator, normalise):
    prediction, target = pairs(generator)
    epsilon = 0.2 if normalise else 2.0
    settings = {"align": "clouds", "normalise": normalise, "epsilon": epsilon, "n_iterations": 5000}
    order = torch.randperm(14, generator=generator)
    assert float(value(sinkhorn, target[order], target, **settings)) == pytest.approx(0, abs=1e-9)
    moved = target[order].clone().requires_grad_()
    value(sinkhorn, moved, target, **settings).backward()
    assert float(moved.grad.abs().max()) < 1e-8
    cost = value(sinkhorn, prediction, target, **settings)
    assert cost > 0.01
    torch.testing.assert_close(value(sinkhorn, prediction[order], target, **settings), cost)


def test_the_clouds_of_two_points_are_apart_by_their_distance():
    """One point each: the plan is certain, and the cost half the mean squared difference."""
    x, y = torch.zeros(2, 1, 3), torch.full((2, 1, 3), 2.0)
    assert float(value(sinkhorn, x, y, align="clouds", normalise=False)) == pytest.approx(2.0)


def test_clouds_are_followed_down_to_their_targets(generator):
    """A cloud that starts elsewhere moves onto the other one, without knowing any pair."""
    target = torch.randn(12, 1, 2, generator=generator)
    cloud = (3 + torch.randn(12, 1, 2, generator=generator)).requires_grad_()
    loss = sinkhorn.build(sinkhorn.Config(align="clouds", normalise=False, epsilon=0.05, n_iterations=20))
    optimizer = torch.optim.Adam([cloud], lr=0.4)
    before = float(loss(cloud, target, torch.arange(12), 0.0, None).detach())
    for _ in range(40):
        optimizer.zero_grad()
        loss(cloud, target, torch.arange(12), 0.0, None).backward()
        optimizer.step()
    after = loss(cloud, target, torch.arange(12), 0.0, None)
    assert float(after.detach()) < 0.02 * before
    nearest = torch.cdist(cloud[:, 0].detach(), target[:, 0]).min(1).values
    assert float(nearest.median()) < 0.3


def test_a_mixed_trial_belongs_to_both_its_stimuli_in_the_known_plan(generator):
    _, target = pairs(generator)
    mix = Mix(torch.arange(14).roll(1), torch.linspace(0, 1, 14))
    right = value(sinkhorn, mix.apply(target), target, mix, epsilon=0.1)
    for other in (None, Mix(mix.partner, 1 - mix.weight)):
        assert right < value(sinkhorn, mix.apply(target), target, other, epsilon=0.1)


@pytest.mark.parametrize("module", [cka, cca])
def test_a_batch_too_small_to_have_a_geometry_is_refused(module):
    x = torch.randn(3, 1, 5)
    with pytest.raises(ValueError, match="batch"):
        value(module, x, x)


@pytest.mark.parametrize("module", [cka, cca])
def test_a_prediction_that_never_changes_is_the_worst_and_breaks_nothing(module, generator):
    _, target = pairs(generator)
    still = torch.ones_like(target).requires_grad_()
    found = value(module, still, target)
    found.backward()
    assert torch.isfinite(found) and torch.isfinite(still.grad).all()
    assert float(found.detach()) >= 0.99
