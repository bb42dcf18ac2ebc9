"""ATM's network as a choice of the diffusion prior: its published sizes, what hides, and what reaches it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion

SMALL = replace(diffusion.ATM, widths=(16, 8, 4), time_width=8, n_train_steps=40, n_sample_steps=5)


def built(shape=(1, 6), config=SMALL, told=None):
    with seeding.seeded(0, "prior"):
        return diffusion.build(shape, config, told).eval()


def test_the_defaults_are_the_published_sizes():
    """Weights counted by hand: layers, layer norms, two time layers and one of the condition at each stage."""
    widths, wide = (1024, 512, 256, 128, 64), 1024
    with torch.device("meta"):
        network = diffusion.DiffusionPrior((1, wide), diffusion.ATM).network
    steps = [*pairwise(widths), *pairwise(widths[::-1])]
    expected = wide * 1024 + 3 * 1024 + (1024 * wide + wide)
    for here, there in steps:
        expected += (
            (512 * here + here) + (here * here + here) + (wide * here + here) + (here * there + 3 * there)
        )
    assert sum(p.numel() for p in network.parameters()) == expected
    assert (diffusion.ATM.n_train_steps, diffusion.ATM.n_sample_steps, diffusion.ATM.dropout) == (
        1000,
        50,
        0.1,
    )


def test_guidance_is_one_more_than_the_published_weight(generator):
    """ATM adds w (conditional - unconditional) to the conditional prediction, w = 5."""
    prior = built()
    noisy, brain = (torch.randn(3, 1, 6, generator=generator) for _ in range(2))
    step = torch.tensor([2, 20, 39])
    seen, unseen = (prior.denoise(noisy, step, brain, guidance=g) for g in (1.0, 0.0))
    torch.testing.assert_close(prior.denoise(noisy, step, brain), seen + 5 * (seen - unseen))


@torch.no_grad()
def test_a_hidden_brain_is_all_zeros_and_trials_do_not_mix(generator):
    prior = built()
    noisy, brain = (torch.randn(3, 1, 6, generator=generator) for _ in range(2))
    step, keep = torch.tensor([2, 20, 39]), torch.tensor([True, False, True])
    found = prior.network(noisy, step, brain, keep)
    torch.testing.assert_close(
        found[1:2], prior.network(noisy[1:2], step[1:2], torch.zeros(1, 1, 6), keep[:1])
    )
    torch.testing.assert_close(found[2:], prior.network(noisy[2:], step[2:], brain[2:], keep[2:]))


@pytest.mark.parametrize("told", [None, {"texts": (2, 5)}])
@pytest.mark.parametrize("shape", [(1, 6), (3, 4)])
def test_a_gradient_reaches_every_parameter(shape, told):
    prior = built(shape, told=told).double().train()
    draw = torch.Generator().manual_seed(3)
    brain, image = (torch.randn((60, *shape), generator=draw).double() for _ in range(2))
    known = {"texts": torch.randn(60, 2, 5, generator=draw).double()} if told else None
    prior.start_(brain, image, known)
    prior.objective(brain, image, torch.Generator().manual_seed(1), known).backward()
    assert [n for n, p in prior.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_predicting_the_noise_is_judged_by_the_noise():
    """A network that puts out zeros errs by the noise's variance, whatever the image is."""
    for predicts, expected in (("noise", 1.0), ("image", 100.0)):
        prior = built(config=replace(SMALL, predicts=predicts))
        for parameter in prior.network.leave.parameters():
            torch.nn.init.zeros_(parameter)
        loss = prior.objective(
            torch.zeros(4000, 1, 6), torch.full((4000, 1, 6), 10.0), torch.Generator().manual_seed(1)
        )
        assert float(loss.detach()) == pytest.approx(expected, rel=0.05)
