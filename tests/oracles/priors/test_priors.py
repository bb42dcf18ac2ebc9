"""The priors against a published system's noising, diffusers, scikit-learn and a sampler written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from braindec import seeding
from braindec.priors import diffusion, ridge
from braindec.priors._noising import cosine_alphas_cumprod, q_sample


@pytest.fixture(scope="module")
def published(parity):
    return load_file(parity / "mindeye2_public_io.safetensors")


def test_the_noise_schedule_is_the_published_one(published):
    expected = published["alphas_cumprod"]
    found = cosine_alphas_cumprod(len(expected)).float()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_noising_is_the_published_one(published):
    x, schedule = published["prior_noisy"], cosine_alphas_cumprod(len(published["alphas_cumprod"]))
    found = q_sample(x, published["prior_t"], torch.ones_like(x), schedule)
    torch.testing.assert_close(found, published["q_sample"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_steps", [1, 10, 1000])
def test_the_noise_schedule_is_diffusers_cosine_schedule(n_steps):
    from braindec._compat import ensure_torchvision

    ensure_torchvision()
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(num_train_timesteps=n_steps, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    torch.testing.assert_close(cosine_alphas_cumprod(n_steps).float(), theirs, atol=1e-6, rtol=1e-3)


@pytest.fixture
def prior(generator):
    with seeding.seeded(0, "prior"):
        built = diffusion.build((2, 6), diffusion.Config(width=16, depth=1, heads=2, guidance=1.7))
    built.start_(torch.randn(30, 2, 6, generator=generator), 3 + torch.randn(30, 2, 6, generator=generator))
    return built.eval()


@torch.no_grad()
def test_sampling_is_ddim_written_out(prior, generator):
    """Song et al. 2021, equation 12 without noise, from the last level down, with guidance by hand."""
    brain, n_steps = torch.randn(4, 2, 6, generator=generator), 5
    schedule = cosine_alphas_cumprod(100)
    condition = (brain - prior.brain_mean) / prior.brain_scale
    x = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(9))
    for level in (99, 79, 59, 39, 19):
        now, before = schedule[level], schedule[level - 20] if level >= 20 else torch.tensor(1.0)
        step, left = torch.full((4,), level), now.float().expand(4, 1, 1)
        seen, unseen = (
            prior.network(x, step, left, condition, torch.full((4,), keep)) for keep in (True, False)
        )
        clean = unseen + 1.7 * (seen - unseen)
        noise = (x - now.sqrt() * clean) / (1 - now).sqrt()
        x = (before.sqrt() * clean + (1 - before).sqrt() * noise).float()
    expected = prior.image_mean + prior.image_scale * x
    found = prior.sample(brain, generator=torch.Generator().manual_seed(9), n_steps=n_steps)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_ridge_prior_is_scikit_learns(rng):
    from sklearn.linear_model import RidgeCV

    brain = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    image = brain @ rng.normal(size=(6, 6)) + rng.normal(size=(50, 6)) + 2
    unit = ((brain - brain.mean(0)) ** 2).sum() / 6
    config = ridge.Config(alphas=(0.001, 0.1, 1.0, 10.0))
    theirs = RidgeCV(alphas=[alpha * unit for alpha in config.alphas]).fit(brain, image)
    prior = ridge.build((2, 3), config).double()
    prior.start_(*(torch.from_numpy(x).reshape(50, 2, 3) for x in (brain, image)))
    found = prior.sample(torch.from_numpy(brain).reshape(50, 2, 3), generator=torch.Generator())[0].reshape(
        50, 6
    )
    np.testing.assert_allclose(found.numpy(), theirs.predict(brain), atol=1e-6)
