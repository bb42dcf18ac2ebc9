"""Voxels in context lie between ridge and Bayes: other people teach a prior, and shuffled pairs teach nothing."""

from __future__ import annotations

import pytest
import torch

from braindec import checks, encoding
from braindec.encoding import in_context as module
from braindec.encoding.in_context import Config, InContext, Voxels, in_context, meta_train
from braindec.encoding.population import from_population
from braindec.maths.empirical_bayes import fit_population, pairs_of

N, DIM, NOISE = 60, 8, 4.0
SPREAD = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02])
MEAN = torch.tensor([0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0])
SMALL = Config(n_steps=150, n_blocks=2, width=16, n_heads=2, examples=(5, 30), n_queries=20)


def person(seed: int, n_voxels: int = 200) -> tuple[Voxels, torch.Tensor]:
    """Responses of voxels whose weights come from one distribution, and the weights."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(N, DIM, generator=draw)
    weights = MEAN[:, None] + SPREAD.sqrt()[:, None] * torch.randn(DIM, n_voxels, generator=draw)
    return Voxels(x, x @ weights + NOISE**0.5 * torch.randn(N, n_voxels, generator=draw)), weights


@pytest.fixture(scope="module")
def taught():
    """A transformer of two people, and one of the same people with pairs shuffled."""
    people = [person(seed)[0] for seed in (1, 2)]
    draw = torch.Generator().manual_seed(5)
    wrong = [Voxels(p.features, p.responses[torch.randperm(N, generator=draw)]) for p in people]
    return meta_train(people, SMALL), meta_train(wrong, SMALL)


@pytest.fixture
def untaught():
    """A transformer of random weights, those that begin as zeros included."""
    model, draw = InContext(DIM, SMALL), torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    model.unit.copy_(torch.rand(DIM, generator=draw) + 0.5)
    return model.eval()


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean squared error of a voxel's weights, summed over features."""
    return float((found - truth).square().sum(0).mean())


def bayes(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Posterior mean under the true prior and noise: nothing that reads the same examples has a smaller error."""
    covariance = torch.linalg.inv(torch.diag(1 / SPREAD) + x.T @ x / NOISE)
    return MEAN[:, None] + covariance @ (x.T @ (y - (x @ MEAN)[:, None])) / NOISE


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 12])
def test_a_new_persons_weights_lie_between_ridge_and_the_best_there_is(taught, n):
    model, null = taught
    new, truth = person(3)
    x, y = new.features[:n], new.responses[:n]
    found = error(in_context(model, x, y).weights, truth)
    nothing = error(torch.zeros_like(truth), truth)
    assert error(bayes(x, y), truth) < found
    assert found < 0.9 * error(encoding.fit(x, y, folds=3).weights, truth)
    assert found < 0.9 * error(MEAN[:, None].expand_as(truth), truth)  # more than what all voxels share
    assert error(in_context(null, x, y).weights, truth) > 0.9 * nothing
    shuffled = in_context(model, x, y[torch.randperm(n, generator=torch.Generator().manual_seed(0))])
    assert error(shuffled.weights, truth) > nothing


def test_the_closed_form_of_the_same_question_is_near_the_best_there_is():
    people = [person(seed)[0] for seed in (1, 2)]
    new, truth = person(3)
    stimuli = torch.cov(torch.cat([p.features for p in people]).T.double())
    population = fit_population([pairs_of(p.responses, p.features) for p in people], stimuli)
    x, y = new.features[:12], new.responses[:12]
    model = from_population(population, x, y)
    assert error(model.weights, truth) < 1.4 * error(bayes(x, y), truth)
    assert error(model.weights, truth) < error(encoding.fit(x, y, folds=3).weights, truth)
    # Predictions go through the means of the examples, as a model with an intercept does.
    torch.testing.assert_close(model.predict(x.mean(0, keepdim=True))[0], y.mean(0), atol=1e-4, rtol=1e-4)


def test_the_order_of_examples_is_nothing_and_scale_and_mean_of_a_voxel_pass_through(untaught):
    model = untaught
    new, _ = person(4, 5)
    x, y = new.features[:9], new.responses[:9]
    found = in_context(model, x, y)
    order = torch.tensor([3, 1, 8, 0, 2, 7, 5, 6, 4])
    torch.testing.assert_close(
        in_context(model, x[order], y[order]).weights, found.weights, atol=1e-5, rtol=1e-4
    )
    scaled = in_context(model, x, 3 * y + 5)
    torch.testing.assert_close(scaled.predict(x), 3 * found.predict(x) + 5, atol=1e-4, rtol=1e-4)
    flat = in_context(model, x, torch.full_like(y, 2.0))
    assert (flat.weights == 0).all()
    assert (flat.intercept == 2).all()


def test_voxels_are_read_alone_so_that_pieces_of_them_change_nothing(untaught, monkeypatch):
    new, _ = person(4, 7)
    x, y = new.features[:9], new.responses[:9]
    whole = in_context(untaught, x, y)
    monkeypatch.setattr(module, "AT_ONCE", 9 * SMALL.width * 2)
    torch.testing.assert_close(in_context(untaught, x, y).weights, whole.weights, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        in_context(untaught, x, y[:, 3:4]).weights, whole.weights[:, 3:4], atol=1e-5, rtol=1e-4
    )


def test_the_same_seed_teaches_the_same_and_what_does_not_fit_is_refused():
    people, one = [person(1, 20)[0]], Config(n_steps=2, n_blocks=1, width=8, n_heads=2, n_queries=20)
    first, second = (meta_train(people, one).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ValueError, match="stimuli of a subject"):
        meta_train([Voxels(people[0].features[:20], people[0].responses[:20])], one)
    with pytest.raises(checks.ConfigError, match="width 10 must be a multiple"):
        Config(width=10)
    with pytest.raises(ValueError, match="number of examples"):
        in_context(InContext(DIM, one), people[0].features[:1], people[0].responses[:1])


def test_features_and_responses_may_be_of_either_precision(untaught):
    x, y = person(7, 5)[0]
    torch.testing.assert_close(
        in_context(untaught, x.double(), y.double()).weights, in_context(untaught, x, y).weights
    )


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**-43], ids=["V", "T"])
def test_volts_and_teslas_are_read_and_taught_as_numbers_without_units_are(untaught, unit):
    """About 1e-6 and 1e-13, by powers of two: nothing is rounded."""
    new, _ = person(4, 5)
    x, y = new.features[:9], new.responses[:9]
    plain, small = in_context(untaught, x, y), in_context(untaught, x, unit * y)
    torch.testing.assert_close(small.weights / unit, plain.weights, atol=1e-5, rtol=1e-4)
    one = Config(n_steps=3, n_blocks=1, width=8, n_heads=2, examples=(5, 10), n_queries=20)
    taught = [meta_train([Voxels(new.features, k * new.responses)], one).state_dict() for k in (1.0, unit)]
    for name, value in taught[0].items():
        torch.testing.assert_close(taught[1][name], value, atol=1e-5, rtol=1e-3)
