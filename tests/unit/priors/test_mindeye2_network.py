"""MindEye2's prior network as a choice of the diffusion prior: gradients, order, sizes and its sampler."""

from __future__ import annotations

import math

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion
from braindec.priors._mindeye2_network import Block, _buckets, _turned, _widened
from braindec.priors._mindeye2_sampler import sample_as_published
from braindec.priors._noising import cosine_alphas_cumprod

SHAPES = [(1, 6), (4, 10)]


def prior_of(shape, **settings):
    settings = {"image_dropout": 0.3, "condition_dropout": 0.3} | settings
    with seeding.seeded(0, "prior"):
        config = diffusion.Config(network="mindeye2", width=8, depth=2, heads=2, **settings)
        return diffusion.build(shape, config)


def pairs(shape, n=60):
    draw = torch.Generator().manual_seed(3)
    image = torch.randn((n, *shape), generator=draw)
    return image + 0.1 * torch.randn((n, *shape), generator=draw), image


@pytest.mark.parametrize("time", ["sines", "table"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gradient_reaches_every_parameter(shape, time):
    prior = prior_of(shape, time=time).double().train()
    brain, image = (x.double() for x in pairs(shape))
    prior.start_(brain, image)
    prior.objective(brain, image, torch.Generator().manual_seed(1)).backward()
    assert [n for n, p in prior.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_without_hidden_images_no_token_stands_for_them():
    names = [name for name, _ in prior_of((4, 10), image_dropout=0.0).named_parameters()]
    assert "network.no_image" not in names
    assert "network.no_brain" in names


@torch.no_grad()
def test_the_trials_of_a_batch_do_not_mix_and_hidden_brains_do_not_matter():
    prior, (brain, image) = prior_of((4, 10)).eval(), pairs((4, 10), 3)
    step, keep = torch.tensor([3, 50, 99]), torch.tensor([True, False, True])
    together = prior.network(image, step, brain, keep)
    alone = torch.cat(
        [
            prior.network(image[i : i + 1], step[i : i + 1], brain[i : i + 1], keep[i : i + 1])
            for i in range(3)
        ]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    same = torch.isclose(prior.network(image, step, brain.flip(2), keep), together).flatten(1).all(1)
    assert same.tolist() == [False, True, False]


@torch.no_grad()
def test_the_step_and_the_order_of_tokens_matter():
    prior, (brain, image) = prior_of((4, 10)).eval(), pairs((4, 10), 3)
    keep = torch.ones(3, dtype=torch.bool)
    early, late = (prior.network(image, torch.full((3,), step), brain, keep) for step in (1, 90))
    assert not torch.allclose(early, late)
    flipped = prior.network(image.flip(1), torch.full((3,), 1), brain.flip(1), keep).flip(1)
    assert not torch.allclose(early, flipped)


def test_turned_queries_and_keys_know_only_their_distance(generator):
    turns = torch.arange(6)[:, None] * torch.tensor([1.0, 0.1])
    query, key = (torch.randn(5, generator=generator).expand(6, 5) for _ in range(2))
    score = _turned(query, turns) @ _turned(key, turns).T  # one query and key at six places
    for distance in range(-3, 4):
        diagonal = score.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=1e-5)
    assert float(score.std()) > 0.01


def test_the_buckets_of_relative_places_are_a_double_loop():
    found = _buckets(300, torch.device("cpu"))
    for query in (0, 1, 17, 40, 150, 299):
        for key in (0, 3, 20, 120, 299, 300):
            back = max(query - key, 0)
            expected = back if back < 16 else min(31, 16 + int(16 * math.log(back / 16) / math.log(8)))
            assert int(found[query, key]) == expected


def levels_of(n_steps, eta, seed=0, n_levels=100):
    """Levels that the sampler tells, and its last answer; the clean image is always the same."""
    asked = []

    def denoise(x, step):
        asked.append(int(step[0]))
        return torch.ones_like(x)

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 3, 4, generator=generator)
    left = cosine_alphas_cumprod(n_levels)
    return asked, sample_as_published(
        denoise, noise, generator, alphas_cumprod=left, n_steps=n_steps, eta=eta
    )


def test_the_published_sampler_makes_19_calls_from_level_94_to_4():
    asked, out = levels_of(20, eta=1.0)
    assert asked == list(range(94, 3, -5))
    assert torch.equal(out, torch.ones(2, 3, 4))


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_one_step_of_the_published_sampler_is_ddim_written_out(eta):
    left = cosine_alphas_cumprod(10).tolist()
    seen = []

    def denoise(x, step):
        seen.append(x.clone())
        return 0.3 * x

    noise = torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sample_as_published(
        denoise,
        noise,
        torch.Generator().manual_seed(2),
        alphas_cumprod=cosine_alphas_cumprod(10),
        n_steps=4,
        eta=eta,
    )  # levels 7, 4, 1, -1
    found = (noise - math.sqrt(left[7]) * 0.3 * noise) / math.sqrt(1 - left[7])
    now, later = left[6], left[3]  # one level early
    fresh = eta * math.sqrt((1 - now / later) * (1 - later) / (1 - now))
    drawn = torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = math.sqrt(later) * 0.3 * noise + fresh * drawn + math.sqrt(1 - later - fresh**2) * found
    torch.testing.assert_close(seen[1], expected)
    assert len(seen) == 3


@pytest.mark.parametrize("sampler", ["ddim", "as_published"])
def test_both_samplers_follow_their_generator(sampler, generator):
    prior = prior_of((4, 10), sampler=sampler, eta=1.0).eval()
    brain, image = pairs((4, 10))
    prior.start_(brain, image)
    first, same, other = (
        prior.sample(brain[:3], generator=torch.Generator().manual_seed(s), n_steps=5) for s in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_raw_embeddings_need_no_training_set():
    prior = prior_of((4, 10), standardise=False).eval()
    brain, image = pairs((4, 10))
    before = prior.sample(brain[:2], generator=torch.Generator().manual_seed(0), n_steps=2)
    prior.start_(100 * brain, 5 + image)
    assert torch.equal(prior.sample(brain[:2], generator=torch.Generator().manual_seed(0), n_steps=2), before)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"network": "unets"}, "network"),
        ({"network": "residual", "predicts": "noise", "schedule": "linear"}, "predicts"),
        ({"network": "unet", "predicts": "noise"}, "schedule"),
        ({"schedule": "linear", "sampler": "as_published"}, "schedule"),
        ({"widths": (8,)}, "widths"),
        ({"time_width": 7}, "time_width"),
        ({"image_dropout": 0.1}, "image_dropout"),
        ({"time": "table"}, "time"),
        ({"network": "mindeye2", "time": "clock"}, "time"),
        ({"network": "mindeye2", "guidance_hides": "brain_and_image_as_published"}, "image_dropout"),
        ({"sampler": "as_published", "n_sample_steps": 1}, "n_sample_steps"),
        ({"sampler": "published"}, "sampler"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, what):
    with pytest.raises(ValueError, match=what):
        diffusion.Config(**settings)


def test_an_odd_number_of_dims_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="residual"):
        prior_of((3, 5))


@torch.no_grad()
def test_a_block_for_the_last_tokens_alone_is_the_end_of_the_whole_one(generator):
    torch.manual_seed(0)
    block = Block(12, 20, 2, 0.0)
    x, bias = torch.randn(3, 9, 12, generator=generator), torch.randn(2, 9, 10, generator=generator)
    turns = torch.rand(9, 5, generator=generator)
    torch.testing.assert_close(block(x, bias, turns, 4), block(x, bias, turns)[:, -4:])


def test_heads_widened_by_zeros_attend_as_before(generator):
    query, key, value = (torch.randn(2, 3, 7, 13, generator=generator) for _ in range(3))
    wide = [_widened(part, "cuda") for part in (query, key, value)]
    assert {part.shape[3] for part in wide} == {16}
    attend = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(attend(*wide, scale=16.0)[..., :13], attend(query, key, value, scale=16.0))
    assert _widened(query, "cpu") is query
