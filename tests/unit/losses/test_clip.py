"""InfoNCE where a batch shows a stimulus more than once, and its temperature."""

from __future__ import annotations

import math

import pytest
import torch

from braindec.losses import clip


def embeddings(n, generator):
    return torch.randn(n, 1, 8, generator=generator)


def test_two_views_of_the_same_stimulus_do_not_push_each_other_away(generator):
    """Halfway between two views of one stimulus there is nothing left to gain, unless they are taken for two."""
    views = torch.nn.functional.normalize(embeddings(2, generator), dim=2)
    loss, gradients = clip.build(clip.Config()), []
    for ids in (torch.zeros(2, dtype=torch.int64), torch.arange(2)):
        prediction = views.mean(0, keepdim=True).repeat(2, 1, 1).requires_grad_()
        value = loss(prediction, views, ids, 0.0, None)
        value.backward()
        assert value.item() == pytest.approx(math.log(2))
        gradients.append(float(prediction.grad.norm()))
    assert gradients[0] < 1e-5 < gradients[1]


def test_a_repeat_with_the_same_target_is_no_negative(generator):
    """A batch of one stimulus has nothing to tell apart: no gradient is left."""
    target = embeddings(1, generator).expand(4, 1, 8)
    prediction = (target + 0.1 * embeddings(1, generator)).detach().requires_grad_()
    clip.build(clip.Config())(prediction, target, torch.zeros(4, dtype=torch.int64), 0.0, None).backward()
    assert float(prediction.grad.abs().max()) < 1e-5


def test_the_length_of_embeddings_does_not_matter(generator):
    prediction, target = embeddings(5, generator), embeddings(5, generator)
    loss, ids = clip.build(clip.Config()), torch.arange(5)
    value = loss(prediction, target, ids, 0.0, None)
    torch.testing.assert_close(loss(7 * prediction, 0.1 * target, ids, 0.0, None), value)


def test_a_learned_temperature_is_a_parameter_and_stays_above_the_coldest(generator):
    fixed, learned = clip.build(clip.Config()), clip.build(clip.Config(learned=True))
    assert list(fixed.parameters()) == []
    (scale,) = learned.parameters()
    scale.requires_grad_(False)
    prediction, target, ids = embeddings(5, generator), embeddings(5, generator), torch.arange(5)
    assert learned(prediction, target, ids, 0.0, None) == fixed(prediction, target, ids, 0.0, None)
    coldest = clip.build(clip.Config(temperature=clip.COLDEST))(prediction, target, ids, 0.0, None)
    with torch.no_grad():
        scale += 10
    assert float(learned(prediction, target, ids, 0.0, None)) == pytest.approx(float(coldest), rel=1e-5)
