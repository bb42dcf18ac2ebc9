"""SoftCLIP's schedule, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from braindec.losses import soft_clip


def test_the_temperature_goes_from_start_to_end_by_half_a_cosine():
    config = soft_clip.Config(mixco_fraction=0.2, temperature_start=0.004, temperature_end=0.008)
    loss = soft_clip.build(config)
    found = [loss.temperature(progress) for progress in (0.2, 0.6, 1.0)]
    assert found == pytest.approx([0.004, 0.006, 0.008])


def test_progress_outside_of_training_is_refused(generator):
    with pytest.raises(ValueError, match="progress"):
        soft_clip.build(soft_clip.Config()).draw_mix(4, 1.5, generator)


def test_a_perfect_prediction_is_a_minimum(generator):
    target = torch.nn.functional.normalize(torch.randn(8, 1, 16, generator=generator), dim=2)
    loss, ids = soft_clip.build(soft_clip.Config()), torch.arange(8)
    prediction = target.clone().requires_grad_()
    loss(prediction, target, ids, 0.9, None).backward()
    assert float(prediction.grad.abs().max()) < 1e-5
