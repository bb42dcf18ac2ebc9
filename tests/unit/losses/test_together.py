"""Several losses at once: regression beside contrast, and one trial told from others in image and text together."""

from __future__ import annotations

import pytest
import torch

from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import clip, mse, regression_contrastive, siglip
from braindec.types import ArraySpace, SignalInfo, SubjectSignal


def pairs(generator, n=9, d=5):
    target = torch.randn(n, 2, d, generator=generator)
    return target + torch.randn(n, 2, d, generator=generator), target, torch.arange(n)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_regression_and_contrast_are_a_weighted_mean(generator, share):
    prediction, target, ids = pairs(generator)
    build = regression_contrastive.build(
        regression_contrastive.Config(share, temperature=0.1, direction="to_target")
    )
    contrast = clip.build(clip.Config(0.1, direction="to_target"))(prediction, target, ids, 0.0, None)
    error = mse.build(mse.Config())(prediction, target, ids, 0.0, None)
    torch.testing.assert_close(
        build(prediction, target, ids, 0.0, None), share * contrast + (1 - share) * error
    )


def test_its_contrast_refuses_what_clip_refuses():
    with pytest.raises(ValueError, match="temperature"):
        regression_contrastive.Config(temperature=0.001, learned=True)
    with pytest.raises(ValueError, match="contrast"):
        regression_contrastive.Config(contrast=1.5)


def test_a_contrast_to_image_and_text_is_two_outputs_with_weights(generator):
    """ATM weighs images 0.99 and texts 0.01: each output has its own target, loss and weight; the trunk learns both."""
    signal = SubjectSignal(1, "eeg", (12,), ArraySpace(12))
    encoder = Encoder.build(
        SignalInfo({signal.key: signal}),
        {"image": (1, 6), "text": (1, 4)},
        linear.Config(8),
        mlp.Config(8, 1),
        0,
    )
    weights = {"image": 0.99, "text": 0.01}
    trainee = Trainee(encoder, {name: clip.build(clip.Config()) for name in weights}, weights).train()
    batch = {"keys": [signal.key], f"stimuli/{signal.key}": torch.arange(7)}
    batch[f"signals/{signal.key}"] = torch.randn(7, 12, generator=generator)
    for name, n_dims in (("image", 6), ("text", 4)):
        batch[f"{name}/{signal.key}"] = torch.randn(7, 1, n_dims, generator=generator)
    torch.manual_seed(0)  # dropout
    found = objective(trainee, batch, 0.0, generator)
    torch.manual_seed(0)
    predictions = encoder({signal.key: batch[f"signals/{signal.key}"]})[signal.key]
    for name, weight in weights.items():
        own = clip.build(clip.Config())(
            predictions[name], batch[f"{name}/{signal.key}"], torch.arange(7), 0.0, None
        )
        torch.testing.assert_close(found[name], weight * own)
    gradients = []
    for name in weights:
        trainee.zero_grad()
        found[name].backward(retain_graph=True)
        gradients.append(encoder.adapter(signal.key).linear.weight.grad.clone())
        reached = {n for n, p in trainee.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        other = "text" if name == "image" else "image"
        assert any(name in n for n in reached) and not any(f".{other}." in n for n in reached)
    assert all(float(g.norm()) > 0 for g in gradients)


@pytest.mark.parametrize("module", [clip, siglip, regression_contrastive])
def test_what_is_learned_has_the_gradient_of_the_value(module, generator):
    prediction, target, ids = (x.double() if x.is_floating_point() else x for x in pairs(generator))
    config = {"learned": True} | ({"threshold": 2.0} if module is siglip else {})
    loss = module.build(module.Config(**config)).double()
    step = 1e-6
    for name, parameter in loss.named_parameters():
        loss.zero_grad()
        loss(prediction, target, ids, 0.0, None).backward()
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step
                values.append(float(loss(prediction, target, ids, 0.0, None)))
                parameter -= sign * step
        assert float(parameter.grad) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5), name
