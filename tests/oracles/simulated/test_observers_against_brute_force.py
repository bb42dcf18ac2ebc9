"""Closed forms of the ideal observers against scipy's densities, a large regression and Bayes' rule written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import comb
from scipy.stats import multivariate_normal

from braindec.data.simulated import ceiling, linear_estimate, observers, trained_observer


def covariance(rng, n):
    a = rng.standard_normal((n, n + 3))
    return a @ a.T / n


def test_oracle_image_is_the_mixture_of_gaussian_densities(rng):
    n, m, trial = 4, 3, ceiling.Trial(gain_sd=0.3, lapse=0.1)
    noise, candidates = covariance(rng, n), rng.standard_normal((5, n))
    responses = rng.standard_normal((2, n))
    found = observers.oracle_image(
        responses, candidates, np.zeros(2, int), lambda q: noise, np.full(2, m), trial
    )
    for q in range(2):
        likelihood = np.zeros(5)
        for j, s in enumerate(candidates):
            for k in range(m + 1):
                weight = comb(m, k) * 0.9**k * 0.1 ** (m - k)
                spread = noise + k * 0.3**2 / m**2 * np.outer(s, s)
                likelihood[j] += weight * multivariate_normal.pdf(responses[q], k / m * s, spread)
        assert np.exp(found.scores[q]) == pytest.approx(likelihood / likelihood.sum(), rel=1e-8)


def test_oracle_linear_is_the_regression_on_endless_data(rng):
    n_scenes, n_features, dim = 3000, 6, 3
    z = rng.standard_normal((n_scenes, dim)) @ rng.standard_normal((dim, dim))
    s = np.tanh(z @ rng.standard_normal((dim, n_features))) + 0.7
    trial, noise = ceiling.Trial(gain_sd=0.2, lapse=0.1), 0.2 * covariance(rng, n_features)
    truth = ceiling.Truth(s, z, trial)
    seen = rng.integers(n_scenes, size=300_000)
    factor = (rng.random(len(seen)) >= 0.1) * (1 + 0.2 * rng.standard_normal(len(seen)))
    y = s[seen] * factor[:, None] + rng.multivariate_normal(np.zeros(n_features), noise, len(seen))
    design = np.column_stack([y, np.ones(len(y))])
    fitted, *_ = np.linalg.lstsq(design, z[seen], rcond=None)
    queries = y[:200]
    space = linear_estimate.Space.of(z)
    mean, cross, total = linear_estimate.moments(space, truth, noise, 1)
    estimate = (queries - mean) @ np.linalg.solve(total, cross.T) @ space.back + space.mean
    assert estimate == pytest.approx(design[:200] @ fitted, abs=0.05)
    found = observers.oracle_linear(queries, z, seen[:200], truth, noise, 1)
    cosine = linear_estimate.unit(estimate - z.mean(0)) @ linear_estimate.unit(z - z.mean(0)).T
    assert found.details["cosine"] == pytest.approx(ceiling.Ceiling("", cosine, seen[:200]).top1)


def test_posterior_of_the_response_map_is_bayes_rule_written_out(rng):
    n, dim, n_features, n_stimulus = 12, 3, 4, 5
    z, half = rng.standard_normal((n, dim)), rng.standard_normal((dim, n_stimulus))
    between, residual = covariance(rng, n_features), covariance(rng, n_features)
    y = rng.standard_normal((n, n_features))
    mean, unsure = trained_observer.kronecker(z, y, between, half, residual)
    prior = np.kron(between, half @ half.T)  # of A, row by row
    design = np.kron(np.eye(n_features), z)  # A's rows to y's columns
    spread = np.kron(residual, np.eye(n))
    gain = prior @ design.T @ np.linalg.inv(design @ prior @ design.T + spread)
    assert mean == pytest.approx((gain @ y.T.ravel()).reshape(n_features, dim), abs=1e-8)
    posterior = (prior - gain @ design @ prior).reshape(n_features, dim, n_features, dim)
    assert unsure == pytest.approx(np.einsum("adbd->ab", posterior), abs=1e-8)


def test_ceiling_counts_like_a_double_loop(rng):
    scores, target = rng.standard_normal((6, 6)).round(1), np.arange(6)
    found = ceiling.Ceiling("x", scores, target)
    for i in range(6):
        others = [scores[i, j] for j in range(6) if j != i]
        assert found.image_retrieval(2)[i] == pytest.approx(guessed(scores[i, i], others, 2))
        wins = sum((o < scores[i, i]) + 0.5 * (o == scores[i, i]) for o in others) / 5
        assert found.two_way()[i] == pytest.approx(wins)
        column = [scores[j, i] for j in range(6) if j != i]
        assert found.brain_retrieval()[i] == pytest.approx(guessed(scores[i, i], column, 1))


def guessed(own, others, k):
    """Share of the orders of equal scores in which the own one is among the k best."""
    above, equal = sum(o > own for o in others), sum(o == own for o in others)
    return np.mean([above + before < k for before in range(equal + 1)])


def test_pictures_that_a_brain_sees_alike_are_guessed_among():
    families = np.kron(np.eye(3), np.ones((2, 2)))  # of two scenes that differ in what is not seen
    found = ceiling.Ceiling("x", families, np.arange(6))
    assert found.top1 == found.brain_retrieval().mean() == 0.5 and found.image_retrieval(2).mean() == 1.0
    assert ceiling.Ceiling("x", np.zeros((6, 6)), np.arange(6)).top1 == pytest.approx(1 / 6)


def test_likelihood_score_is_the_log_ratio_of_posterior_and_prior_density(rng):
    error, z, estimate = covariance(rng, 4), rng.standard_normal((5, 4)), rng.standard_normal((3, 4))
    found = linear_estimate.log_ratio(estimate, error, z)
    expected = np.array([[multivariate_normal.logpdf(c, e, error) for c in z] for e in estimate])
    expected -= multivariate_normal.logpdf(z, np.zeros(4))
    assert found - found[0, 0] == pytest.approx(expected - expected[0, 0], abs=1e-9)
