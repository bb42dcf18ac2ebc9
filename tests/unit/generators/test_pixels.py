"""Pictures from pixels: the target's way, backwards."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.generators import pixels
from braindec.targets import pixels as target


@pytest.mark.parametrize("colour", ["gray", "rgb"])
def test_a_picture_embedded_and_shown_is_itself(rng, generator, colour):
    pictures = rng.integers(0, 256, (4, 6, 9, 3), dtype=np.uint8)
    pictures = pictures if colour == "rgb" else np.repeat(pictures[..., :1], 3, axis=3)
    made = target.build(target.Config(height=6, width=9, colour=colour))
    shown = pixels.build(pixels.Config(made.space)).generate(made.embed_images(pictures), generator=generator)
    np.testing.assert_array_equal(shown, pictures)


def test_what_is_darker_than_black_or_brighter_than_white_is_clipped(generator):
    embedding = np.linspace(-1, 2, 4)[None, None]
    shown = pixels.build(pixels.Config("pixels/2x2/gray")).generate(embedding, generator=generator)
    assert shown[0, :, :, 0].tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize("space", ["openclip/ViT-L-14", "pixels/28x28", "pixels/0x/gray"])
def test_another_space_is_refused(space):
    with pytest.raises(checks.ConfigError, match="space"):
        pixels.Config(space)
