"""A decoder hands on what else a generator is told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from braindec import checks
from braindec.decoder import decoding
from braindec.generators import NOTHING, Guides, embedded_unclip, pixels

SPACE = "pixels/4x4/gray"


@pytest.fixture
def decoder():
    values = np.random.default_rng(0).random((2, 1, 16), dtype=np.float32)
    return SimpleNamespace(
        main="main", outputs={"main": SimpleNamespace(space=SPACE)},
        predict=lambda trials, repeats: SimpleNamespace(ids=("a", "b"), values=values),
        image_embedding=lambda prediction, seed: prediction.values,
    )  # fmt: skip


def drawn(decoder, generator, guides):
    return decoding.reconstruct(decoder, None, generator, "after", 0, None, guides)


def test_pictures_come_with_their_ids_and_guides_reach_the_generator(decoder):
    generator = pixels.build(pixels.Config(SPACE))
    ids, pictures = drawn(decoder, generator, NOTHING)
    assert ids == ("a", "b")
    assert pictures.shape == (2, 4, 4, 3)
    with pytest.raises(checks.ConfigError, match="texts"):
        drawn(decoder, generator, Guides(texts=("x", "y")))


def test_a_generator_of_another_space_is_refused(decoder):
    with pytest.raises(checks.SpaceMismatchError, match="generator of this space"):
        drawn(decoder, embedded_unclip.build(embedded_unclip.Config()), NOTHING)
