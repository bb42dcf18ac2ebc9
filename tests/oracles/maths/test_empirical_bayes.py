"""The posterior of weights and of embeddings against dense Gaussian algebra in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.maths import empirical_bayes as bayes


@pytest.fixture
def problem(rng):
    n, n_dims, n_channels = 15, 4, 6

    def covariance(size):
        a = rng.standard_normal((size, size))
        return a @ a.T / size + 0.3 * np.eye(size)

    z, r = rng.standard_normal((n, n_dims)), rng.standard_normal((n, n_channels))
    return z - z.mean(0), r - r.mean(0), covariance(n_dims), covariance(n_channels), covariance(n_channels)


def test_the_posterior_of_all_weights_together_is_that_of_each_channel_in_the_right_frame(problem):
    z, r, prior, noise, signal = problem
    pairs = bayes.Pairs(
        torch.from_numpy(r),
        torch.from_numpy(z),
        torch.zeros(6, dtype=torch.float64),
        torch.zeros(4, dtype=torch.float64),
    )
    step = bayes._expect(pairs, (torch.from_numpy(noise), torch.from_numpy(signal)), torch.from_numpy(prior))
    # vec over (channel, dim): prior signal (x) S, likelihood with noise (x) I.
    precision = np.linalg.inv(np.kron(signal, prior)) + np.kron(np.linalg.inv(noise), z.T @ z)
    mean = np.linalg.solve(precision, (z.T @ r @ np.linalg.inv(noise)).T.ravel()).reshape(6, 4).T
    np.testing.assert_allclose(step.axes @ step.means @ step.back, mean, atol=1e-6)
    spread = np.linalg.inv(precision)
    along = np.einsum("aibi->ab", spread.reshape(6, 4, 6, 4))  # summed over embedding dims
    axes, back = step.axes.numpy(), step.back.numpy()
    found = back.T @ np.diag((step.variances.numpy() * (axes**2).sum(0)[:, None]).sum(0)) @ back
    np.testing.assert_allclose(found, along, atol=1e-6)


def test_a_reader_is_bayes_rule_for_a_linear_gaussian_model(problem):
    stimuli = problem[2]
    rng = np.random.default_rng(1)
    frame, weights = rng.standard_normal((6, 6)), rng.standard_normal((4, 6))
    known = bayes.Population(torch.zeros(4, dtype=torch.float64), torch.eye(4), torch.from_numpy(stimuli))
    fit = bayes.ChannelFit(
        torch.from_numpy(frame),
        torch.from_numpy(weights),
        torch.zeros(6, dtype=torch.float64),
        torch.zeros(6, dtype=torch.float64),
        torch.zeros(4, dtype=torch.float64),
        10**9,
    )
    found = bayes.invert(fit, known)
    joint = weights.T @ stimuli @ weights + np.eye(6)  # of responses in the frame
    gain = stimuli @ weights @ np.linalg.inv(joint)
    np.testing.assert_allclose(found.weight, gain @ frame.T, atol=1e-6)
    np.testing.assert_allclose(found.error, stimuli - gain @ weights.T @ stimuli, atol=1e-6)


def test_a_reader_of_the_mean_training_response_answers_the_mean_training_embedding(problem):
    z, r, prior, *_ = problem
    known = bayes.Population(
        torch.zeros(4, dtype=torch.float64), torch.from_numpy(prior), torch.eye(4, dtype=torch.float64)
    )
    pairs = bayes.pairs_of(torch.from_numpy(r + 5), torch.from_numpy(z))
    found = bayes.invert(bayes.fit_channels(pairs, known), known)
    answer = found.weight @ torch.full((6,), 5.0, dtype=torch.float64) + found.bias
    np.testing.assert_allclose(answer, 0, atol=1e-9)
