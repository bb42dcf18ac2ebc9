"""Targets as functions of tensors: equal to what they embed, and with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.targets import differentiable, efficientnet_lite0, pixels, tiny_openclip


@pytest.mark.parametrize(
    "target",
    [
        tiny_openclip.build(tiny_openclip.Config()),
        efficientnet_lite0.build(efficientnet_lite0.Config(size=64)),
    ],
    ids=lambda t: t.name,
)
@pytest.mark.parametrize("side", [64, 48])
def test_features_of_tensors_are_the_embeddings_of_the_same_pictures(target, side, rng):
    coarse = rng.integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
    images = coarse.repeat(side // 6 + 1, 1).repeat(side // 6 + 1, 2)[:, :side, :side].copy()
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).requires_grad_(True)
    features = differentiable(target)(x)
    expected = target.embed_images(list(images)).reshape(2, -1)
    # Resized bytes are rounded on the way of the image library; of equal size nothing is.
    close = 1e-4 if side == 64 else 0.05
    assert np.abs(features.detach().numpy() - expected).max() < close * np.abs(expected).max()
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert gradient.abs().amax((1, 2, 3)).min() > 0


def test_what_is_not_known_to_be_differentiable_or_square_is_refused():
    with pytest.raises(checks.ConfigError, match="gradients flow"):
        differentiable(pixels.build(pixels.Config()))
    read = differentiable(tiny_openclip.build(tiny_openclip.Config()))
    with pytest.raises(ValueError, match="square"):
        read(torch.zeros(1, 3, 64, 32))
