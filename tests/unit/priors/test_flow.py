"""What the flow prior promises beyond the contract."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.priors import flow


def pairs(n=400, noise=0.5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    image = torch.randn(n, 1, 6, generator=draw) * torch.tensor([1, 2, 3, 1, 1, 0.1]) + 4
    return image + noise * torch.randn(n, 1, 6, generator=draw), image


def flow_prior(**settings):
    with seeding.seeded(0, "prior"):
        prior = flow.build((1, 6), flow.Config(width=16, depth=1, heads=2, **settings))
    prior.start_(*pairs())
    return prior.eval()


def sample(prior, brain, seed=0, n_steps=4, **settings):
    return prior.sample(brain, generator=torch.Generator().manual_seed(seed), n_steps=n_steps, **settings)


@pytest.mark.parametrize("path", ["circle", "straight"])
@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_before_training_samples_are_draws_of_the_linear_guess(path, solver):
    """The posterior of independent Gaussian values, by hand; a straight path bends, so it takes more steps."""
    prior, brain = flow_prior(path=path, solver=solver), pairs(seed=1)[0][:40]
    n_steps = 1 if path == "circle" else 20
    drawn = sample(prior, brain, n_samples=200, n_steps=n_steps)[:, :, 0]
    variance = torch.tensor([1, 2, 3, 1, 1, 0.1]).square()
    gain = variance / (variance + 0.25)
    wanted = 4 + gain * (brain[:, 0] - 4)
    assert float((drawn.mean(0) - wanted).abs().mean()) < 0.1
    torch.testing.assert_close(drawn.var(0).mean(0), gain * 0.25, rtol=0.3, atol=0.02)


def test_the_unconditional_begins_at_the_images_own_gaussian():
    drawn = flow_prior().unconditional(4000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.std(0)[0], pairs()[1].std(0)[0], rtol=0.1, atol=0.05)


def test_guidance_zero_is_the_unconditional_and_more_goes_further():
    brain = pairs(seed=1)[0][:50]
    apart = []
    for guidance in (0.0, 0.5, 1.0, 3.0):
        prior = flow_prior(guidance=guidance)
        nothing = prior.unconditional(50, generator=torch.Generator().manual_seed(0), n_steps=4)
        apart.append(float((sample(prior, brain)[0] - nothing).norm()))
    assert apart[0] < 1e-4
    assert apart[0] + 0.1 < apart[1] < apart[2]
    narrow = [sample(flow_prior(guidance=g), brain, n_samples=64).var(0).mean() for g in (1.0, 3.0)]
    assert narrow[1] < narrow[0]


def test_a_guided_linear_guess_is_the_product_of_two_gaussians(generator):
    """log p(x) + g (log p(x | brain) - log p(x)), its mode found by solving for a vanishing gradient."""
    prior = flow_prior(guidance=2.5)
    features = torch.randn(3, 6, generator=generator)
    guess = prior.guess.double()
    mean, sd = guess.guided(features.double(), 2.5)
    share = guess.share.clamp_max(1.0)
    told = guess.mean(features.double()) @ guess.to_basis.T
    gradient = -mean - 2.5 * ((mean - told) / share - mean)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)
    torch.testing.assert_close(sd**-2, 1 + 2.5 * (1 / share - 1))


def test_the_linear_guess_is_wide_as_its_error_on_images_that_it_never_saw():
    """With few pairs and brains of noise alone, a regression fits its training rows and knows nothing of others."""
    draw = torch.Generator().manual_seed(0)
    brain, image = (torch.randn(60, 1, 30, generator=draw) for _ in range(2))
    with seeding.seeded(0, "prior"):
        prior = flow.build((1, 30), flow.Config(width=16, depth=1, heads=2))
    prior.start_(brain, image)
    assert 0.8 < float(prior.guess.share.mean()) < 1.3
    repeated = torch.randn(240, 1, 30, generator=draw)  # four brains of noise for each image
    prior.start_(repeated, image.repeat(4, 1, 1))
    assert 0.8 < float(prior.guess.share.mean()) < 1.3


def test_few_pairs_of_many_values_lose_nothing_that_was_predicted():
    """A regression on 30 pairs spans 30 of 200 directions; the predictions themselves are right in all of them."""
    draw = torch.Generator().manual_seed(0)
    image = 3 * torch.randn(230, 1, 200, generator=draw)
    brain = image + torch.randn(230, 1, 200, generator=draw)
    with seeding.seeded(0, "prior"):
        prior = flow.build((1, 200), flow.Config(width=16, depth=1, heads=2)).eval()
    prior.start_(brain[:30], image[:30])
    drawn = sample(prior, brain[30:], n_samples=64).mean(0)
    assert float((drawn - image[30:]).square().mean()) < 1.5  # of 9; the predictions err by 1


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"start": "data"}, "start"), ({"path": "bent"}, "path"), ({"solver": "rk4"}, "solver"), ({"width": 36}, "width"),
     ({"n_sample_steps": 0}, "n_sample_steps"), ({"times": "late"}, "times"), ({"guidance": -1.0}, "guidance")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        flow.Config(**settings)


def test_a_linear_start_of_too_many_values_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="start='noise'"):
        flow.build((256, 1664), flow.Config())


def test_samples_that_begin_at_pure_noise_work_too():
    prior, brain = flow_prior(start="noise", path="straight"), pairs(seed=1)[0][:5]
    assert sample(prior, brain, n_samples=2).shape == (2, 5, 1, 6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_the_generator_is_honoured_on_a_gpu(where):
    prior, brain = flow_prior().cuda(), pairs()[0][:5].cuda()
    draws = [prior.sample(brain, generator=torch.Generator(where).manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.allclose(draws[0], draws[2])
