"""What every prior promises."""

from __future__ import annotations

import pytest
import torch

from braindec import registry, seeding

NAMES = registry.names("priors")
SHAPES = ((1, 6), (3, 4))
CASES = [(name, shape) for name in NAMES for shape in SHAPES]


def build(name, shape, seed=0):
    module = registry.load("priors", name)
    with seeding.seeded(seed, "prior"):
        return module.build(shape, module.Config())


def pairs(shape, n=40):
    """Brain embeddings that are noisy, shifted and stretched image embeddings."""
    draw = torch.Generator().manual_seed(3)
    image = torch.randn((n, *shape), generator=draw) * 0.1 + 0.5
    return 3 * image + 0.1 * torch.randn((n, *shape), generator=draw) - 1, image


@pytest.fixture(params=CASES, ids=[f"{name}-{shape}" for name, shape in CASES])
def case(request):
    """(a started prior in eval mode, its name, its shape)."""
    name, shape = request.param
    prior = build(name, shape)
    prior.start_(*pairs(shape))
    return prior.eval(), name, shape


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_samples_have_the_declared_shape(case):
    prior, _, shape = case
    brain = pairs(shape)[0][:5]
    assert prior.sample(brain, generator=seeded()).shape == (1, 5, *shape)
    assert prior.sample(brain, generator=seeded(), n_steps=2, n_samples=3).shape == (3, 5, *shape)
    assert prior.unconditional(4, generator=seeded(), n_steps=2).shape == (4, *shape)


def test_samples_follow_their_generator_and_no_other(case, global_state_untouched):
    prior, _, shape = case
    brain = pairs(shape)[0][:5]
    first, same, other = (prior.sample(brain, generator=seeded(s), n_steps=2, n_samples=2) for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == prior.closed_form
    assert torch.equal(first[0], first[1]) == prior.closed_form
    alone = (prior.unconditional(3, generator=seeded(s), n_steps=2) for s in (1, 1))
    assert torch.equal(*alone)


def test_the_objective_follows_its_generator(case, global_state_untouched):
    prior, _, shape = case
    first, same = (prior.objective(*pairs(shape), seeded(1)) for _ in range(2))
    assert first.shape == ()
    assert torch.equal(first, same)


def test_a_gradient_reaches_every_parameter(case, randomised_, unreached):
    prior, _, shape = case
    if prior.closed_form:
        assert list(prior.parameters()) == []
        return
    brain, image = pairs(shape, n=200)
    randomised_(prior.double().train())
    assert unreached(prior, prior.objective(brain.double(), image.double(), seeded())) == set()


def test_saving_and_loading_is_bit_equal(case, randomised_, saved_into):
    prior, name, shape = case
    other = saved_into(randomised_(prior), build(name, shape, seed=5)).eval()
    brain = pairs(shape)[0][:5]
    for copy in (prior, other):
        copy.result = (
            copy.sample(brain, generator=seeded(), n_steps=4),
            copy.unconditional(2, generator=seeded()),
        )
    assert all(torch.equal(a, b) for a, b in zip(prior.result, other.result, strict=True))


def test_single_precision_is_close_to_double(case):
    prior, _, shape = case
    brain = pairs(shape)[0][:5]
    if prior.closed_form:
        single = prior.sample(brain, generator=seeded()).double()
        double = prior.double().sample(brain.double(), generator=seeded())
    else:  # generators draw other numbers in double precision, so the network is compared on one input
        step, keep = torch.arange(5) * 20, torch.ones(5, dtype=torch.bool)
        single = prior._denoise(brain, step, brain, keep).double()
        double = prior.double()._denoise(brain.double(), step, brain.double(), keep)
    torch.testing.assert_close(double, single, atol=1e-4, rtol=1e-4)


def test_the_trials_of_a_batch_do_not_mix(case):
    prior, _, shape = case
    brain = pairs(shape)[0][:4]
    changed = brain.clone()
    changed[3] += 1
    first, second = (prior.sample(x, generator=seeded(), n_steps=2)[0] for x in (brain, changed))
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3])


def test_the_scale_of_training_data_does_not_matter(case):
    """A prior of images in other units gives the same samples in those units."""
    prior, name, shape = case
    if name == "none":
        return  # it gives back what it gets
    brain, image = pairs(shape)
    other = build(name, shape)
    other.start_(brain, 100 * image - 7)
    expected = 100 * prior.sample(brain[:5], generator=seeded(), n_steps=5) - 7
    torch.testing.assert_close(
        other.eval().sample(brain[:5], generator=seeded(), n_steps=5), expected, atol=0.05, rtol=0.01
    )


def test_what_is_no_pair_of_its_shape_is_refused(case):
    prior, name, shape = case
    brain, image = pairs(shape)
    with pytest.raises(ValueError, match="must match"):
        prior.start_(brain[:-1], image)
    with pytest.raises(ValueError, match="shape"):
        prior.sample(brain[:, :, :-1], generator=seeded())
    with pytest.raises(ValueError, match="n_samples"):
        prior.sample(brain, generator=seeded(), n_samples=0)
    with pytest.raises(ValueError, match="start_"):
        build(name, shape).unconditional(2, generator=seeded())
