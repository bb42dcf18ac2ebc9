"""Pictures that start from a draft of their embedding: one pass, no noise, and steps that change it by their share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data.simulated import rendering, scenes
from braindec.generators import Guides, embedded_unclip, guided
from braindec.targets import differentiable, tiny_openclip


@pytest.fixture(scope="module")
def told():
    drawn = scenes.sample_scenes(12, np.random.default_rng(5))
    pictures = rendering.render_all(drawn)
    return pictures, tiny_openclip.build(tiny_openclip.Config()).embed_images(pictures)


def made(embeddings, seed: int = 0, guides=None, n_steps=None, **settings):
    config = embedded_unclip.Config(guidance=1.0, **settings)
    more = {} if guides is None else {"guides": guides}
    return embedded_unclip.build(config).generate(
        embeddings, generator=torch.Generator().manual_seed(seed), n_steps=n_steps, **more
    )


def correlation(a, b) -> float:
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


def likeness(a, b) -> float:
    a, b = a[:, 0], b[:, 0]
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def test_a_draft_is_the_same_for_every_noise_and_number_of_steps_and_shows_its_scene(told):
    pictures, embeddings = told
    draft = made(embeddings, draft=True, strength=0.0)
    np.testing.assert_array_equal(draft, made(embeddings, seed=1, n_steps=3, draft=True, strength=0.0))
    assert correlation(draft, pictures) > 0.9
    assert correlation(draft, pictures[::-1]) < 0.6  # of other scenes


def test_steps_change_a_draft_by_their_share_and_a_told_picture_takes_its_place(told):
    pictures, embeddings = told
    draft = made(embeddings, draft=True, strength=0.0)
    found = [
        correlation(made(embeddings, n_steps=10, draft=True, strength=s), draft) for s in (0.2, 0.6, 1.0)
    ]
    assert found[0] > found[1] > found[2]
    other = made(embeddings, guides=Guides(low_level=pictures[::-1].copy()), draft=True, strength=0.0)
    assert correlation(other, pictures[::-1]) > 0.98  # the autoencoder alone
    with pytest.raises(ValueError, match="no whole step"):
        made(embeddings, n_steps=10, draft=True, strength=0.05)


def test_looking_at_the_last_steps_brings_a_draft_nearer_to_its_embedding(told):
    _, embeddings = told
    target = tiny_openclip.build(tiny_openclip.Config())
    base = embedded_unclip.build(embedded_unclip.Config(n_steps=20, guidance=1.0, draft=True, strength=0.15))
    looking = guided.build(guided.Config(through=False), base, differentiable(target))
    plain, looked = (
        likeness(
            target.embed_images(g.generate(embeddings, generator=torch.Generator().manual_seed(0))),
            embeddings,
        )
        for g in (base, looking)
    )
    assert looked > plain + 0.01
    assert looked > 0.97


def test_what_is_known_of_it_tells_a_draft_from_noise():
    plain, drafting = (
        embedded_unclip.build(embedded_unclip.Config(draft=draft)).identity() for draft in (False, True)
    )
    assert "draft" not in plain and "draft" not in plain["weights_sha256"]
    assert drafting["draft"] is True and len(drafting["weights_sha256"]["draft"]) == 64
