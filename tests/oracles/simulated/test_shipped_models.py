"""The shipped models do on fresh scenes what they are shipped for, and what is shuffled is at chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data.simulated import network, scenes
from braindec.generators import embedded_unclip
from braindec.targets import tiny_openclip

N = 200


@pytest.fixture(scope="module")
def fresh() -> list[scenes.Scene]:
    """Scenes of a seed that was used for nothing else."""
    return scenes.sample_unique_scenes(N, np.random.default_rng(20_261_122))


@pytest.fixture(scope="module")
def pictures(fresh) -> np.ndarray:
    return scenes.render_all(fresh)


@pytest.fixture(scope="module")
def target():
    return tiny_openclip.build(tiny_openclip.Config())


@pytest.fixture(scope="module")
def image_embeddings(target, pictures) -> np.ndarray:
    return target.embed_images(pictures)


@pytest.fixture(scope="module")
def generator_room() -> embedded_unclip.EmbeddedUnclip:
    return embedded_unclip.build(embedded_unclip.Config(n_steps=10))


@pytest.fixture(scope="module")
def generated(generator_room, image_embeddings) -> np.ndarray:
    return generator_room.generate(image_embeddings[:50], generator=torch.Generator().manual_seed(1))


def top1(queries: np.ndarray, gallery: np.ndarray) -> float:
    return float((np.argmax(queries @ gallery.T, 1) == np.arange(len(queries))).mean())


def test_captions_find_their_pictures_and_pictures_their_captions(target, fresh, image_embeddings):
    texts = target.embed_text([scenes.caption(s) for s in fresh])
    images = image_embeddings[:, 0]
    assert top1(texts, images) > 0.9
    assert top1(images, texts) > 0.9
    assert top1(np.random.default_rng(0).permutation(texts), images) < 5 / N


def test_an_embedding_tells_colours_and_places_apart_linearly(fresh, image_embeddings):
    """Ridge from 150 scenes to the factors of 50 others, against the same with shuffled scenes."""
    features, names = scenes.factor_features(fresh)
    wanted = [i for i, n in enumerate(names) if n.split("=")[0] in ("colour", "place") and "&" not in n]
    x, y = image_embeddings[:, 0], features[:, wanted]

    def correlation(y: np.ndarray) -> float:
        centred = x - x[:150].mean(0)
        gram = centred[:150].T @ centred[:150] + 0.1 * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, centred[:150].T @ (y[:150] - y[:150].mean(0)))
        predicted = centred[150:] @ weights
        return float(np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, y[150:].T, strict=True)]))

    assert correlation(y) > 0.6
    assert abs(correlation(np.random.default_rng(0).permutation(y))) < 0.15


def test_the_network_of_the_brains_names_what_is_where(fresh, pictures):
    labels = network.cell_labels(fresh)
    with torch.inference_mode():
        logits = network.load_scene_network()(network.to_input(pictures))
    sizes = [network.N_CELLS * c for c in network.CELL_CLASSES.values()]
    parts = logits.split([*sizes, *network.GROUND_CLASSES.values()], 1)
    for name, part in zip(network.CELL_CLASSES, parts, strict=False):
        said = part.unflatten(1, (network.N_CELLS, -1)).argmax(-1)
        there = labels[name] > 0
        assert (said == labels[name])[there].float().mean() > 0.9
        shuffled = labels[name].roll(1, 0)
        assert (said == shuffled)[shuffled > 0].float().mean() < 0.3


def test_layer_features_have_one_row_a_picture_and_do_not_depend_on_batches(pictures):
    whole, parts = network.layer_features(pictures[:20]), network.layer_features(pictures[:20], batch_size=7)
    assert list(whole) == [*network.LAYERS, "hidden"]
    for name, values in whole.items():
        assert values.shape[0] == 20
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, parts[name], atol=1e-4)


def test_equal_seeds_draw_equal_bytes_and_other_seeds_other_ones(generator_room, image_embeddings, generated):
    again = generator_room.generate(image_embeddings[:50], generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(again, generated)
    other = generator_room.generate(image_embeddings[:50], generator=torch.Generator().manual_seed(2))
    assert (other != generated).any(axis=(1, 2, 3)).all()


def test_drawing_leaves_the_global_generator_alone(generator_room, image_embeddings):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    generator_room.generate(image_embeddings[:2], generator=torch.Generator().manual_seed(1), n_steps=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_picture_made_from_an_embedding_embeds_back_to_it_among_50(target, image_embeddings, generated):
    back = target.embed_images(generated)[:, 0]
    images = image_embeddings[:50, 0]
    assert top1(back, images) > 0.8
    assert top1(np.roll(back, 1, 0), images) < 0.1


def test_a_picture_made_from_an_embedding_resembles_its_own_scene_in_pixels(pictures, generated):
    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        pairs = zip(a.reshape(len(a), -1), b.reshape(len(b), -1), strict=True)
        return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs]))

    own, other = correlation(generated, pictures[:50]), correlation(np.roll(generated, 1, 0), pictures[:50])
    assert own > 0.7
    assert own > other + 0.4


def test_a_draft_shows_what_an_independent_network_names_and_drafts_of_other_scenes_do_not(
    fresh, pictures, image_embeddings
):
    """Shapes and textures of objects that are there, by the network of the brains, which took no part in training."""
    drafting = embedded_unclip.build(embedded_unclip.Config(draft=True, strength=0.0))
    drawn = drafting.generate(image_embeddings, generator=torch.Generator().manual_seed(1))
    labels = network.cell_labels(fresh)
    there = labels["shape"] > 0

    def right(shown: np.ndarray, factor: str) -> float:
        widths = [network.N_CELLS * c for c in network.CELL_CLASSES.values()]
        with torch.no_grad():
            said = network.load_scene_network()(network.to_input(shown))[:, : sum(widths)].split(widths, 1)
        named = dict(zip(network.CELL_CLASSES, said, strict=True))[factor].unflatten(1, (network.N_CELLS, -1))
        return float((1 + named[..., 1:].argmax(2) == labels[factor])[there].float().mean())

    for factor in ("shape", "texture"):
        assert right(drawn, factor) > right(pictures, factor) - 0.08
        assert right(drawn[::-1].copy(), factor) < 0.45
    own = np.corrcoef(drawn.ravel().astype(float), pictures.ravel().astype(float))[0, 1]
    assert own > 0.95
