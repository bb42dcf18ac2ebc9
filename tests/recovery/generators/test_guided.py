"""The embedded generator, bent by the embedding of its own pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data.simulated import scenes
from braindec.generators import embedded_unclip, guided
from braindec.targets import differentiable, tiny_openclip


@pytest.fixture(scope="module")
def world():
    target = tiny_openclip.build(tiny_openclip.Config())
    shown = scenes.render_all(scenes.sample_scenes(12, np.random.default_rng(5)))
    base = embedded_unclip.build(embedded_unclip.Config(n_steps=6, guidance=1.0, batch_size=5))
    return target, differentiable(target), base, target.embed_images(shown)


def drawn(generator, embeddings):
    return generator.generate(embeddings, generator=torch.Generator().manual_seed(0))


def nearness(target, pictures, embeddings):
    own = target.embed_images(pictures)[:, 0]
    return (
        (own * embeddings[:, 0]).sum(1)
        / np.linalg.norm(own, axis=1)
        / np.linalg.norm(embeddings[:, 0], axis=1)
    )


def test_bent_pictures_embed_nearer_than_the_bases_and_not_near_other_rows(world):
    target, features, base, embeddings = world
    made = drawn(guided.build(guided.Config(), base, features), embeddings)
    plain = nearness(target, drawn(base, embeddings), embeddings)
    assert nearness(target, made, embeddings).mean() > plain.mean() + 0.04
    assert nearness(target, made, np.roll(embeddings, 1, 0)).mean() < plain.mean() - 0.3


def test_strength_nothing_gives_the_bases_own_pictures(world):
    _, features, base, embeddings = world
    made = drawn(guided.build(guided.Config(strength=0.0), base, features), embeddings)
    assert np.abs(made.astype(int) - drawn(base, embeddings)).max() <= 1


def test_each_row_is_held_to_its_own_embedding_whatever_the_batch(world):
    _, features, base, embeddings = world
    whole = embedded_unclip.build(embedded_unclip.Config(n_steps=6, guidance=1.0, batch_size=12))
    made = drawn(guided.build(guided.Config(), base, features), embeddings)
    np.testing.assert_allclose(
        made, drawn(guided.build(guided.Config(), whole, features), embeddings), atol=2
    )


def test_looking_at_the_last_half_alone_and_at_what_is_expected_alone_still_brings_pictures_nearer(world):
    target, features, base, embeddings = world
    plain = nearness(target, drawn(base, embeddings), embeddings).mean()
    near = {}
    for share, through in ((0.0, True), (0.5, True), (0.5, False), (1.0, True)):
        made = drawn(guided.build(guided.Config(share=share, through=through), base, features), embeddings)
        near[share, through] = nearness(target, made, embeddings).mean()
    assert near[0.0, True] == pytest.approx(plain, abs=1e-3)
    assert plain + 0.02 < near[0.5, False] <= near[0.5, True] + 0.02 < near[1.0, True] + 0.03
