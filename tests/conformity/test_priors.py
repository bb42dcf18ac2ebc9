"""What every prior promises."""

from __future__ import annotations

import pytest
import torch

from braindec import registry, seeding

NAMES = registry.names("priors")
SHAPES = ((1, 6), (3, 4))
CASES = [(name, shape) for name in NAMES for shape in SHAPES]
TOLD = {"texts": (2, 5), "low_level": (1, 3)}
TOLD_NAMES = [name for name in NAMES if name != "none"]


def build(name, shape, seed=0, told=None):
    module = registry.load("priors", name)
    with seeding.seeded(seed, "prior"):
        return module.build(shape, module.Config(), told)


def further(n, seed=4):
    """Further outputs that a prior is told."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn((n, *shape), generator=draw) for name, shape in TOLD.items()}


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
    else:  # generators draw other numbers in double precision: samples that begin at one point are compared
        at = torch.zeros(5)
        single = prior.sample(brain, generator=seeded(), n_steps=4, spread=at).double()
        double = prior.double().sample(brain.double(), generator=seeded(), n_steps=4, spread=at.double())
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


@pytest.mark.parametrize("name", TOLD_NAMES)
def test_a_prior_told_more_takes_exactly_that_and_follows_it(name, randomised_, saved_into):
    (brain, image), told = pairs((3, 4)), further(40)
    prior = build(name, (3, 4), told=TOLD)
    with pytest.raises(ValueError, match="told"):
        prior.start_(brain, image)
    prior.start_(brain, image, told)
    other = saved_into(randomised_(prior.eval()), build(name, (3, 4), seed=5, told=TOLD)).eval()
    some = {key: values[:5] for key, values in told.items()}
    first, same, moved = (
        p.sample(brain[:5], generator=seeded(), n_steps=4, told=t)
        for p, t in ((prior, some), (other, some), (prior, further(5, seed=9)))
    )
    assert torch.equal(first, same)
    assert not torch.allclose(first, moved)
    assert prior.unconditional(2, generator=seeded(), n_steps=4).shape == (2, 3, 4)
    for wrong in (None, {"texts": some["texts"]}, some | {"more": brain}, some | {"low_level": brain}):
        with pytest.raises(ValueError, match="told"):
            prior.sample(brain[:5], generator=seeded(), n_steps=4, told=wrong)


@pytest.mark.parametrize("name", TOLD_NAMES)
def test_a_gradient_reaches_what_takes_in_all_that_is_told(name, randomised_, unreached):
    (brain, image), told = pairs((3, 4), n=200), further(200)
    prior = build(name, (3, 4), told=TOLD)
    prior.start_(brain, image, told)
    if prior.closed_form:
        return
    randomised_(prior.double().train())
    loss = prior.objective(brain.double(), image.double(), seeded(), {k: v.double() for k, v in told.items()})
    assert unreached(prior, loss) == set()


def test_calibrated_samples_lie_as_far_apart_as_they_lie_from_the_truth(case):
    """Untrained priors err in their own way, and their samples are stretched to it."""
    prior, _, shape = case
    if prior.closed_form:
        prior.calibrate_(*pairs(shape), seeded())  # has nothing to set
        return
    brain, image = pairs(shape)
    prior.calibrate_(brain, image, seeded(1))
    drawn = prior.sample(brain, generator=seeded(2), n_samples=8)
    error = (image - drawn.mean(0)).square().mean() - drawn.var(0).mean() / 8
    assert float(error / drawn.var(0).mean()) == pytest.approx(1, rel=0.3)
