"""Caption-guided refinement: a picture follows what is said of it, and what is written sees no truth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data.simulated import rendering, scenes
from braindec.evaluate.refinement import Refinement, refinement
from braindec.generators import Guides, embedded_unclip, in_words, nearest_image, refined
from braindec.maths.gap import Gap
from braindec.targets import tiny_openclip

N = 8


@pytest.fixture(scope="module")
def world() -> SimpleNamespace:
    """Scenes with captions and embeddings of both, and the gap between these."""
    drawn = scenes.sample_scenes(40, np.random.default_rng(3))
    pictures, captions = rendering.render_all(drawn), [scenes.caption(s) for s in drawn]
    target = tiny_openclip.build(tiny_openclip.Config())
    seen, said = target.embed_images(pictures), target.embed_text(captions)[:, None]
    return SimpleNamespace(
        pictures=pictures, captions=captions, target=target, seen=seen, said=said, gap=Gap.between(said, seen)
    )


def cosines(a: np.ndarray, b: np.ndarray, mean: np.ndarray) -> np.ndarray:
    a, b = (x - mean for x in (a, b))
    return (a * b).sum((1, 2)) / np.linalg.norm(a, axis=(1, 2)) / np.linalg.norm(b, axis=(1, 2))


def test_texts_that_lie_apart_from_their_pictures_by_a_shift_and_a_length_come_to_lie_on_them(rng):
    pictures = rng.standard_normal((40, 1, 8))
    pictures /= np.linalg.norm(pictures - pictures.mean(0), axis=2, keepdims=True)
    centred = pictures - pictures.mean(0)
    pictures = centred / np.linalg.norm(centred, axis=2, keepdims=True)
    texts = 0.3 * (pictures - pictures.mean(0)) + 5.0
    gap = Gap.between(texts, pictures)
    moved = gap.as_pictures(texts)
    assert cosines(moved, pictures, pictures.mean(0)).min() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(moved - gap.picture, axis=2), gap.length, rtol=1e-5)


def test_a_picture_refined_by_its_own_caption_comes_nearer_and_by_another_ones_it_does_not(world):
    blurred = 0.5 * world.seen[:N] + 0.5 * world.seen.mean(0)
    first = embedded_unclip.build(embedded_unclip.Config(n_steps=4, guidance=1.0))
    words = in_words.build(in_words.Config(share=1.0), world.target.embed_text, world.gap)
    twice = refined.Refined(first, words)

    def passes(captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        told = Guides(texts=tuple(captions))
        both = twice.passes(blurred, generator=torch.Generator().manual_seed(0), guides=told, n_steps=4)
        return tuple(
            cosines(world.target.embed_images(one), world.seen[:N], world.seen.mean(0)).mean() for one in both
        )

    before, own = passes(world.captions[:N])
    same, other = passes(world.captions[1 : N + 1])
    assert before == same
    assert own > before + 0.05 > other + 0.1


def test_words_that_are_moved_another_way_are_another_generator(world):
    ways = [world.gap, Gap(world.gap.text, world.gap.picture, 2 * world.gap.length)]
    one, again, other = (
        in_words.build(in_words.Config(), world.target.embed_text, way).identity() for way in (ways[0], *ways)
    )
    assert one == again != other


class Fake:
    """Writes which embedding is the largest."""

    space = "a space"

    def identity(self) -> dict[str, str]:
        return {"captioner": "fake"}

    def caption(self, embeddings: np.ndarray, *, generator: torch.Generator) -> tuple[str, ...]:
        return tuple("a" if one > 0 else "b" for one in embeddings[:, 0, 0])


def test_what_is_written_of_a_decoded_embedding_goes_into_a_published_pipeline(tiny_pipelines, tmp_path, rng):
    tiny_pipelines.stable_diffusion(tmp_path)
    images = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    gallery = rng.standard_normal((9, 1, 8)).astype(np.float32)
    first = nearest_image.build(nearest_image.Config(), gallery, images, "a space")
    twice = Refinement(Fake(), refined.build(refined.Config(folder=str(tmp_path), n_steps=4), first))
    told = gallery[:4] * np.sign(gallery[:4, :, :1]) * np.array([1, 1, -1, 1])[:, None, None]
    texts, before, after = twice.passes(told.astype(np.float32), 0)
    assert texts == ("a", "a", "b", "a")
    assert after.shape == before.shape == (4, 16, 16, 3)
    rest, _, again = twice.passes(np.abs(told).astype(np.float32), 0)
    assert rest == ("a",) * 4
    assert (again[2] != after[2]).any()
    assert set(twice.identity()) == {"captioner", "refined by"}


def test_a_second_generator_that_takes_no_captions_or_has_another_space_is_refused(world):
    first = embedded_unclip.build(embedded_unclip.Config())
    with pytest.raises(checks.ConfigError, match="texts"):
        refined.Refined(first, first)
    other = nearest_image.build(nearest_image.Config(), world.seen, world.pictures, "another space")
    words = in_words.build(in_words.Config(), world.target.embed_text, world.gap)
    with pytest.raises(checks.SpaceMismatchError, match="another space"):
        refined.Refined(other, words)


def test_without_captions_nothing_is_refined(planted):
    recipe = SimpleNamespace(build_generator=lambda: None, seed=0)
    bare = SimpleNamespace(split=planted.dataset.split, stimuli=SimpleNamespace(captions={}))
    from braindec.captioners import prefix

    with pytest.raises(ValueError, match="caption"):
        refinement(recipe, bare, planted.embeddings, prefix.Config(), in_words.Config())
