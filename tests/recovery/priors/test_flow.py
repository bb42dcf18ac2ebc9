"""A flow prior finds a posterior that no linear guess can have, and nothing in shuffled pairs."""

from __future__ import annotations

import pytest
import torch

from braindec import seeding
from braindec.priors import flow


def two_sided_world(n, seed):
    """Brains tell how large a value is, hardly its sign: the posterior has two peaks at plus and minus it."""
    draw = torch.Generator().manual_seed(seed)
    size = 1 + 0.5 * torch.rand(n, 1, 1, generator=draw)
    sign = 2.0 * (torch.rand(n, 1, 1, generator=draw) < 0.5) - 1
    image = torch.cat([sign * size, size], dim=2)
    brain = torch.cat([0.2 * sign + torch.randn(n, 1, 1, generator=draw), size], dim=2)
    return brain, image


def trained(brain, image, n_steps=300):
    with seeding.seeded(0, "prior"):
        prior = flow.build((1, 2), flow.Config(width=32, depth=1, heads=2))
    prior.start_(brain, image)
    draw = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(prior.parameters(), lr=3e-3)
    for _ in range(n_steps):
        rows = torch.randint(len(brain), (128,), generator=draw)
        optimiser.zero_grad()
        prior.objective(brain[rows], image[rows], draw).backward()
        optimiser.step()
    return prior.eval()


@pytest.fixture(scope="module")
def world():
    return two_sided_world(4000, seed=1)


def between(samples):
    """Share of samples in the gap between the two peaks, where no image is."""
    return float((samples[..., 0].abs() < 0.6).float().mean())


def test_a_few_steps_part_what_the_linear_guess_lumps(world):
    brain, _ = two_sided_world(300, seed=2)
    guess = trained(*world, n_steps=0)
    prior = trained(*world)
    drawn = {
        name: p.sample(brain, generator=torch.Generator().manual_seed(3), n_steps=8, n_samples=8)
        for name, p in (("guess", guess), ("flow", prior))
    }
    assert between(drawn["guess"]) > 0.3
    assert between(drawn["flow"]) < 0.5 * between(drawn["guess"])
    size = drawn["flow"][..., 1].mean(0)[:, 0]
    assert float(torch.corrcoef(torch.stack([size, brain[:, 0, 1]]))[0, 1]) > 0.95


def test_from_shuffled_pairs_nothing_is_learnt_of_the_brain(world):
    brain, image = world
    prior = trained(brain, image.roll(1, 0), n_steps=100)
    new, _ = two_sided_world(300, seed=2)
    size = prior.sample(new, generator=torch.Generator().manual_seed(3), n_samples=16)[..., 1].mean(0)[:, 0]
    assert abs(float(torch.corrcoef(torch.stack([size, new[:, 0, 1]]))[0, 1])) < 0.3
