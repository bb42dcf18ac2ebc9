"""What single priors promise beyond the contract."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion, none, ridge


def pairs(n=200, noise=0.5):
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(n, 1, 6, generator=draw) * torch.tensor([1, 2, 3, 1, 1, 0.1]) + 4
    return image + noise * torch.randn(n, 1, 6, generator=draw), image


def diffusion_prior(**settings):
    with seeding.seeded(0, "prior"):
        prior = diffusion.build((1, 6), diffusion.Config(width=16, depth=1, heads=2, **settings))
    prior.start_(*pairs())
    return prior.eval()


def sample(prior, brain, seed=0, **settings):
    return prior.sample(brain, generator=torch.Generator().manual_seed(seed), n_steps=5, **settings)


def test_without_a_prior_the_brain_embedding_passes_unchanged():
    brain, image = pairs()
    prior = none.build((1, 6), none.Config())
    prior.start_(brain, image)
    assert torch.equal(sample(prior, brain)[0], brain)


@pytest.mark.parametrize("module", [none, ridge])
def test_the_unconditional_of_a_closed_form_prior_is_the_mean_image(module):
    brain, image = pairs()
    prior = module.build((1, 6), module.Config())
    prior.start_(brain, image)
    torch.testing.assert_close(prior.unconditional(2, generator=torch.Generator())[1], image.mean(0))


def test_ridge_shrinks_and_restandardised_ridge_does_not():
    brain, image = pairs(noise=3.0)
    spread = {}
    for restandardise in (False, True):
        prior = ridge.build((1, 6), ridge.Config(restandardise=restandardise))
        prior.start_(brain, image)
        spread[restandardise] = sample(prior, brain)[0].std(0) / image.std(0)
    assert spread[False].max() < 0.8
    torch.testing.assert_close(spread[True], torch.ones(1, 6), atol=1e-3, rtol=1e-3)


def test_a_ridge_prior_of_too_many_values_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="diffusion prior"):
        ridge.build((256, 1664), ridge.Config())


def test_the_unconditional_ignores_the_brain_and_guidance_zero_is_the_same():
    prior, brain = diffusion_prior(guidance=0.0), pairs()[0][:5]
    expected = prior.unconditional(5, generator=torch.Generator().manual_seed(0), n_steps=5)
    torch.testing.assert_close(sample(prior, brain)[0], expected)
    torch.testing.assert_close(sample(prior, brain + 1)[0], expected)


def test_guidance_moves_samples_away_from_the_unconditional():
    brain = pairs()[0][:50]
    apart = []
    for guidance in (0.0, 0.5, 1.0, 2.0):
        prior = diffusion_prior(guidance=guidance)
        nothing = prior.unconditional(50, generator=torch.Generator().manual_seed(0), n_steps=5)
        apart.append(float((sample(prior, brain)[0] - nothing).norm()))
    assert apart[0] < 1e-4
    assert apart[0] + 0.1 < apart[1] < apart[2] < apart[3]


def test_noise_while_sampling_comes_from_the_generator():
    prior, brain = diffusion_prior(eta=1.0), pairs()[0][:5]
    assert torch.equal(sample(prior, brain), sample(prior, brain))
    calm = diffusion_prior(eta=0.0)
    assert not torch.allclose(sample(prior, brain), sample(calm, brain))


def test_a_trial_whose_brain_is_always_hidden_teaches_nothing_about_brains():
    """With nearly all conditions dropped the brain's layers get far less gradient than with none dropped."""
    gradient = []
    for dropout in (0.0, 0.99):
        prior = diffusion_prior(condition_dropout=dropout).train()
        prior.objective(*pairs(), torch.Generator().manual_seed(1)).backward()
        gradient.append(float(prior.network.brain_in.weight.grad.norm()))
    assert gradient[1] < 0.2 * gradient[0]


def test_a_value_that_never_varies_comes_back_as_it_was():
    brain, image = pairs()
    image[:, :, 2] = 7.0
    prior = diffusion_prior()
    prior.start_(brain, image)
    assert torch.isfinite(sample(prior, brain)).all()
    assert float((sample(prior, brain)[..., 2].mean() - 7).abs()) < 1


@pytest.mark.parametrize("n_steps", [0, 30, 101])
def test_a_number_of_steps_that_misses_noise_levels_is_refused(n_steps):
    brain, _ = pairs()
    with pytest.raises(ValueError, match="n_steps"):
        diffusion_prior().sample(brain, generator=torch.Generator(), n_steps=n_steps)
    with pytest.raises(ValueError, match="n_sample_steps"):
        diffusion.Config(n_sample_steps=n_steps)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width"):
        diffusion.Config(width=36, heads=4)
