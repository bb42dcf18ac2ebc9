"""Samplers of the diffusion prior against formulas written out; the generator against the global seed."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion
from braindec.priors._noising import cosine_alphas_cumprod, linear_alphas_cumprod
from braindec.priors._sampling import sample

LEFT = cosine_alphas_cumprod(100)


def denoise(x, step):
    """Some smooth function of place and level."""
    return torch.tanh(0.7 * x + 0.01 * step[:, None, None])


def noise(seed=0):
    return torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(seed)).double()


def run(sampler, n_steps, seed=1, eta=0.0, left=LEFT):
    return sample(
        denoise, noise(), torch.Generator().manual_seed(seed), sampler=sampler, alphas_cumprod=left,
        n_steps=n_steps, eta=eta,
    )  # fmt: skip


@pytest.mark.parametrize("schedule", [cosine_alphas_cumprod, linear_alphas_cumprod])
def test_ddpm_is_the_posterior_of_the_noising_written_out(schedule):
    """Ho et al. 2020, equations 6 and 7, over the levels 99, 79, 59, 39, 19."""
    left, draw, x = schedule(100), torch.Generator().manual_seed(1), noise()
    for level in (99, 79, 59, 39, 19):
        now, before = left[level], left[level - 20] if level >= 20 else torch.tensor(1.0).double()
        kept = now / before
        clean = denoise(x, torch.full((4,), level))
        mean = before.sqrt() * (1 - kept) / (1 - now) * clean + kept.sqrt() * (1 - before) / (1 - now) * x
        x = mean
        if level > 19:
            sd = ((1 - before) / (1 - now) * (1 - kept)).clamp_min(1e-20).sqrt()
            x = mean + sd * torch.randn(x.shape, generator=draw, dtype=x.dtype)
    torch.testing.assert_close(run("ddpm", 5, left=left), x, atol=1e-5, rtol=1e-5)


def test_dpm_solver_is_its_second_order_multistep_written_out():
    """Lu et al. 2022, arXiv:2211.01095, algorithm 2: first and last step of first order."""
    x, old, last_h = noise(), None, None
    levels = [99, 89, 79, 69, 59, 49, 39, 29, 19, 9]
    for number, level in enumerate(levels):
        now = LEFT[level]
        clean = denoise(x, torch.full((4,), level))
        if level == levels[-1]:
            x = clean  # the last step ends where nothing of the noise is left
            break
        after = LEFT[levels[number + 1]]
        half_log = [0.5 * (share / (1 - share)).log() for share in (now, after)]
        h = half_log[1] - half_log[0]
        direction = clean
        if old is not None:
            direction = clean + h / (2 * last_h) * (clean - old)
        x = ((1 - after) / (1 - now)).sqrt() * x - after.sqrt() * ((-h).exp() - 1) * direction
        old, last_h = clean, h
    torch.testing.assert_close(run("dpm", 10), x, atol=1e-4, rtol=1e-4)


def test_all_samplers_agree_where_steps_are_many_and_nothing_is_drawn():
    torch.testing.assert_close(run("dpm", 50), run("ddim", 100), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("settings", [{"sampler": "ddpm"}, {"eta": 1.0}, {"sampler": "dpm"}, {"eta": 0.0}])
def test_only_the_generator_decides_whatever_the_global_seed(settings):
    with seeding.seeded(0, "prior"):
        prior = diffusion.build((1, 6), diffusion.Config(width=16, depth=1, heads=2, **settings)).eval()
    brain = torch.randn(20, 1, 6, generator=torch.Generator().manual_seed(0))
    prior.start_(brain, brain)
    found = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        drawn = prior.sample(brain[:3], generator=torch.Generator().manual_seed(seed), n_steps=5)
        found.append(drawn.numpy().tobytes())
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm"])
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_the_generator_is_honoured_on_a_gpu(sampler, where):
    with seeding.seeded(0, "prior"):
        config = diffusion.Config(width=16, depth=1, heads=2, sampler=sampler)
        prior = diffusion.build((1, 6), config).eval().cuda()
    brain = torch.randn(20, 1, 6, generator=torch.Generator().manual_seed(0)).cuda()
    prior.start_(brain, brain)
    draws = [
        prior.sample(brain, generator=torch.Generator(where).manual_seed(seed), n_steps=5)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.allclose(draws[0], draws[2])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_spread_that_would_be_forgotten_is_refused(sampler):
    config = diffusion.Config(width=16, depth=1, heads=2, sampler=sampler, eta=1.0)
    prior = diffusion.build((1, 6), config)
    brain = torch.randn(20, 1, 6, generator=torch.Generator().manual_seed(0))
    prior.start_(brain, brain)
    with pytest.raises(ValueError, match="spread"):
        prior.sample(brain, generator=torch.Generator(), spread=torch.ones(20))
    prior.calibrate_(brain, brain, torch.Generator())
    assert float(prior.spread) == 1.0
