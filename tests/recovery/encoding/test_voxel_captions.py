"""Voxels are named by what they prefer, and voxels that prefer nothing are named by chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from braindec import encoding
from braindec.data.simulated import scenes
from braindec.data.simulated.features import FACTOR_WORDS, factor_features
from braindec.targets import tiny_openclip

COLOURS = scenes.COLOURS
N_EACH = 4  # voxels of a preference


@pytest.fixture(scope="module")
def world():
    """Pictures' embeddings, colours' text embeddings, responses of voxels that count objects of one colour."""
    drawn = scenes.sample_scenes(500, np.random.default_rng(0))
    target = tiny_openclip.build(tiny_openclip.Config())
    pictures = torch.from_numpy(target.embed_images(scenes.render_all(drawn))[:, 0])
    said = [[f"a {colour} {shape}" for shape in scenes.SHAPES] for colour in COLOURS]
    texts = torch.stack([torch.from_numpy(target.embed_text(prompts)).mean(0) for prompts in said])
    columns = [FACTOR_WORDS.index(colour) for colour in COLOURS] * N_EACH
    signal = torch.from_numpy(factor_features(drawn)[:, columns])
    signal = (signal - signal.mean(0)) / signal.std(0)
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))
    return pictures, texts, 0.6 * signal + noise


def captions_of(responses, pictures, texts, **more):
    model = encoding.fit(pictures, responses, alphas=[10**k for k in range(-3, 4)])
    return encoding.caption_voxels(model.weights, pictures, texts, COLOURS, temperature=20, **more)


def test_voxels_of_the_simulated_world_are_named_by_the_colour_they_count(world, rng, generator):
    pictures, texts, responses = world
    null = encoding.random_directions(pictures, 300, generator)
    found = captions_of(responses, pictures, texts, null_weights=null)
    score = encoding.score_names(found, COLOURS * N_EACH, 199, rng)
    assert score.n == 32 and score.accuracy > 0.85
    assert score.interval[0] > 0.6 > 2 * score.null
    assert score.p == pytest.approx(1 / 200)
    assert (found.p < 0.05).float().mean() > 0.7


def test_voxels_fitted_to_permuted_responses_are_named_by_chance(world, rng, generator):
    pictures, texts, responses = world
    shuffled = responses[torch.randperm(len(responses), generator=generator)]
    null = encoding.random_directions(pictures, 300, generator)
    found = captions_of(shuffled, pictures, texts, null_weights=null)
    score = encoding.score_names(found, COLOURS * N_EACH, 199, rng)
    assert score.accuracy < 0.35 and score.p > 0.01
    assert (found.p < 0.05).float().mean() < 0.3


def test_random_directions_have_p_values_that_are_uniform(world, generator):
    pictures, texts, _ = world
    one, other = (encoding.random_directions(pictures, 400, generator) for _ in range(2))
    found = encoding.caption_voxels(one, pictures, texts, COLOURS, null_weights=other)
    assert 0.02 < float((found.p <= 0.05).float().mean()) < 0.09
    assert 0.4 < float(found.p.mean()) < 0.6


def test_concepts_of_real_text_embeddings_are_found_among_1203_names(real_data, rng, generator):
    folder = real_data / "clip_text_lvis"
    texts = torch.from_numpy(np.load(folder / "lvis_v1_clip_a+cname.npy").astype(np.float32))
    names = [c["name"] for c in json.loads((folder / "lvis_v1_train_cat_info.json").read_text())]
    texts = torch.nn.functional.normalize(texts, dim=1)
    # Stand-ins for pictures: two of every concept, off the cone of texts and noisy.
    noise = 0.03 * torch.randn(2 * len(texts), texts.shape[1], generator=generator)
    gap = torch.randn(texts.shape[1], generator=generator) / texts.shape[1] ** 0.5
    pictures = texts.repeat(2, 1) + gap + noise
    chosen = torch.randperm(len(names), generator=generator)[:60]
    weights = (texts[chosen] - texts.mean(0)).T
    weights = weights + 0.5 * weights.norm(dim=0) * torch.randn(weights.shape, generator=generator) / 512**0.5
    found = encoding.caption_voxels(weights, pictures, texts, names)
    score = encoding.score_names(found, [names[i] for i in chosen], 99, rng)
    assert score.accuracy > 0.7 and score.null < 0.05
