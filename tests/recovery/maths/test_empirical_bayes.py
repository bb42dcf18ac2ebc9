"""A planted population is recovered, a new brain's intervals cover, and shuffled stimuli tell nothing."""

from __future__ import annotations

import pytest
import torch

from braindec.maths import empirical_bayes as bayes

N_DIMS = 12


@pytest.fixture
def world(generator):
    """Covariance of weights that falls over two orders, of embeddings, and brains drawn from them."""
    turn = torch.linalg.qr(torch.randn(N_DIMS, N_DIMS, generator=generator, dtype=torch.float64)).Q
    prior = turn @ torch.logspace(0, -2, N_DIMS, dtype=torch.float64).diag() @ turn.T
    stimuli = torch.logspace(0.3, -0.3, N_DIMS, dtype=torch.float64).diag()
    return prior / (prior * stimuli).sum(), stimuli


def draw(size, covariance, generator):
    root = torch.linalg.cholesky(covariance)
    return torch.randn(size, len(covariance), generator=generator, dtype=torch.float64) @ root.T


def brain(world, n_channels, generator, noise=1.0):
    """Weights, and what responds: channels of different strength whose noise is shared by neighbours."""
    prior, _ = world
    power = torch.rand(n_channels, generator=generator, dtype=torch.float64) + 0.1
    weights = draw(n_channels, prior, generator).T * power.sqrt()
    along = torch.arange(n_channels, dtype=torch.float64)
    spread = noise * torch.exp(-(along[:, None] - along[None]).abs() / 2)

    def respond(embeddings):
        return embeddings @ weights + draw(len(embeddings), spread, generator) + 3.0

    return weights, respond


def population(world, generator, n_iterations=bayes.ITERATIONS):
    _, stimuli = world
    subjects = []
    for n_channels in (60, 80, 70):
        z = draw(400, stimuli, generator)
        subjects.append(bayes.pairs_of(brain(world, n_channels, generator)[1](z), z))
    return bayes.fit_population(subjects, stimuli, n_iterations)


def reader(known, respond, z, n_iterations=bayes.ITERATIONS):
    return bayes.invert(bayes.fit_channels(bayes.pairs_of(respond(z), z), known, n_iterations), known)


def test_the_planted_covariance_of_weights_is_recovered_from_other_subjects(world, generator):
    found = population(world, generator).covariance
    error = (found - world[0]).norm() / world[0].norm()
    assert error < 0.25
    assert found.logdet() == pytest.approx(
        float(world[0].logdet()), abs=3.0
    )  # over two orders in 12 dimensions


# Of few stimuli without much noise, weights are in doubt more than responses are.
@pytest.mark.parametrize(("n_stimuli", "noise"), [(20, 0.05), (60, 0.5)])
def test_intervals_of_a_new_subject_cover_ninety_percent(world, generator, n_stimuli, noise):
    known, (_, stimuli) = population(world, generator), world
    within = []
    for _ in range(8):
        _, respond = brain(world, 40, generator, noise=noise)
        found = reader(known, respond, draw(n_stimuli, stimuli, generator))
        z = draw(200, stimuli, generator)
        left = z - respond(z) @ found.weight.T - found.bias
        within.append((left.abs() < 1.645 * found.error.diagonal().sqrt()).double().mean())
    assert float(torch.stack(within).mean()) == pytest.approx(0.90, abs=0.03)


def test_the_prior_of_others_beats_one_without_a_shape(world, generator):
    known, (_, stimuli) = population(world, generator), world
    flat = known._replace(covariance=torch.eye(N_DIMS, dtype=torch.float64) / stimuli.trace())
    wins = []
    for _ in range(6):
        _, respond = brain(world, 40, generator)
        seen, z = draw(20, stimuli, generator), draw(200, stimuli, generator)
        responses, answers = respond(seen), respond(z)
        errors = []
        for prior in (known, flat):
            found = bayes.invert(bayes.fit_channels(bayes.pairs_of(responses, seen), prior), prior)
            errors.append((z - answers @ found.weight.T - found.bias).square().mean())
        wins.append(float(errors[1] - errors[0]))
    assert min(wins) > 0


def test_shuffled_stimuli_are_read_at_chance(world, generator):
    known, (_, stimuli) = population(world, generator), world
    hits = {"paired": 0.0, "shuffled": 0.0}
    for _ in range(5):
        _, respond = brain(world, 40, generator)
        seen, z = draw(60, stimuli, generator), draw(100, stimuli, generator)
        responses = respond(seen)
        order = torch.randperm(60, generator=generator)
        for name, told in (("paired", seen), ("shuffled", seen[order])):
            found = bayes.invert(bayes.fit_channels(bayes.pairs_of(responses, told), known), known)
            read = respond(z) @ found.weight.T + found.bias
            hits[name] += float((torch.cdist(read, z).argmin(1) == torch.arange(100)).double().mean()) / 5
    assert hits["paired"] > 0.15
    assert hits["shuffled"] < 0.01 + 3 * (0.01 * 0.99 / 500) ** 0.5


def test_channels_that_carry_the_embedding_are_chosen(world, generator):
    known, (_, stimuli) = population(world, generator, 2), world
    z = draw(100, stimuli, generator)
    _, respond = brain(world, 20, generator, noise=0.3)
    silent = torch.randn(100, 60, generator=generator, dtype=torch.float64)
    chosen = bayes.most_telling(bayes.pairs_of(torch.cat([silent, respond(z)], 1), z), known, 20)
    assert (chosen >= 60).double().mean() > 0.85
