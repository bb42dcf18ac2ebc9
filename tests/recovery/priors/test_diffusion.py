"""A diffusion prior learns a posterior that is known in closed form, and nothing from shuffled pairs."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion

NOISE = 0.7


def gaussian_world(n, seed):
    """Correlated Gaussian images and brains = images + noise: the posterior of an image is Gaussian too."""
    mixing = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)) / 2 + torch.eye(4)
    draw = torch.Generator().manual_seed(seed)
    image = torch.randn(n, 4, generator=draw) @ mixing.T
    brain = image + NOISE * torch.randn(n, 4, generator=draw)
    prior_cov = mixing @ mixing.T
    gain = prior_cov @ torch.linalg.inv(prior_cov + NOISE**2 * torch.eye(4))
    return brain.unsqueeze(1), image.unsqueeze(1), gain, prior_cov - gain @ prior_cov


def trained(brain, image, n_steps=500, **settings):
    with seeding.seeded(0, "prior"):
        prior = diffusion.build((1, 4), diffusion.Config(width=48, depth=1, heads=2, **settings))
    prior.start_(brain, image)
    draw = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(prior.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=n_steps)
    for _ in range(n_steps):
        rows = torch.randint(len(brain), (256,), generator=draw)
        optimiser.zero_grad()
        prior.objective(brain[rows], image[rows], draw).backward()
        optimiser.step()
        schedule.step()
    return prior.eval()


@pytest.fixture(scope="module")
def world():
    return gaussian_world(8000, seed=1)


@pytest.fixture(scope="module")
def prior(world):
    brain, image, _, _ = world
    return trained(brain, image)


@pytest.fixture(scope="module")
def samples(prior):
    """64 samples for each of 60 new trials, and the posterior means they should scatter around."""
    brain, _, gain, covariance = gaussian_world(60, seed=2)
    drawn = prior.sample(brain, generator=torch.Generator().manual_seed(3), n_steps=25, n_samples=64)
    return drawn[:, :, 0], brain[:, 0] @ gain.T, covariance


def test_samples_scatter_around_the_posterior_mean(samples):
    drawn, mean, covariance = samples
    error = (drawn.mean(0) - mean).square().mean().sqrt()
    assert error < 0.35 * covariance.diagonal().mean().sqrt()  # 64 samples alone leave 0.125


def test_samples_have_the_posterior_s_spread(samples):
    drawn, _, covariance = samples
    residual = (drawn - drawn.mean(0)).flatten(0, 1)
    found = residual.T @ residual / len(residual) * 64 / 63
    assert (found - covariance).norm() < 0.25 * covariance.norm()


def test_the_unconditional_spreads_as_the_images_do(prior, world):
    drawn = prior.unconditional(3000, generator=torch.Generator().manual_seed(4), n_steps=25)[:, 0].T.cov()
    true = world[1][:, 0].T.cov()
    assert (drawn * true).sum() > 0.97 * drawn.norm() * true.norm()  # the same directions
    assert (
        0.6 < drawn.trace() / true.trace() < 1.1
    )  # 25 steps shrink it to 0.91, one trial in ten to learn from


def test_from_shuffled_pairs_nothing_is_learnt_of_the_brain(world):
    brain, image, gain, _ = world
    prior = trained(brain, image.roll(1, 0), n_steps=150)
    new, _, _, _ = gaussian_world(300, seed=2)
    drawn = prior.sample(new, generator=torch.Generator().manual_seed(3), n_steps=10, n_samples=8).mean(0)[
        :, 0
    ]
    expected = new[:, 0] @ gain.T
    correlation = torch.corrcoef(torch.cat([drawn.T, expected.T]))[:4, 4:].diagonal().mean()
    assert abs(float(correlation)) < 0.25


def test_mindeye2s_network_learns_of_the_posterior_mean_what_its_norms_leave(world):
    """Its tokens are as wide as the embeddings and brains reach it normalised: of four values two are left."""
    brain, image, gain, _ = world
    new, _, _, _ = gaussian_world(60, seed=2)
    expected = new[:, 0] @ gain.T
    correlation = []
    for pairs in (image, image.roll(1, 0)):
        prior = trained(brain, pairs, n_steps=100, network="mindeye2", image_dropout=0.2)
        drawn = prior.sample(new, generator=torch.Generator().manual_seed(3), n_steps=10, n_samples=8)
        mean = drawn.mean(0)[:, 0]
        correlation.append(float(torch.corrcoef(torch.cat([mean.T, expected.T]))[:4, 4:].diagonal().mean()))
    assert correlation[0] > 0.5
    assert abs(correlation[1]) < 0.3
