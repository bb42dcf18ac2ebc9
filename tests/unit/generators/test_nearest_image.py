"""The nearest picture: what a double loop over the gallery finds."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.generators import nearest_image


@pytest.fixture
def gallery(rng) -> tuple[np.ndarray, np.ndarray]:
    embeddings = rng.standard_normal((30, 2, 6)) * rng.uniform(0.2, 5, (30, 1, 1))
    return embeddings, rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_it_returns_the_picture_a_double_loop_finds(gallery, similarity, rng, generator):
    embeddings, images = gallery
    queries = rng.standard_normal((20, 2, 6))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        if similarity == "cosine":
            a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        return float(np.linalg.norm(a - b))

    expected = [min(range(30), key=lambda i: distance(q, embeddings[i])) for q in queries]
    made = nearest_image.build(nearest_image.Config(similarity), embeddings, images, "space")
    np.testing.assert_array_equal(made.nearest(queries), expected)
    np.testing.assert_array_equal(made.generate(queries, generator=generator), images[expected])


def test_the_two_similarities_differ_for_unequal_lengths(gallery, rng):
    queries = rng.standard_normal((50, 2, 6))
    found = [
        nearest_image.build(nearest_image.Config(s), *gallery, "space").nearest(queries)
        for s in ("cosine", "euclidean")
    ]
    assert (found[0] != found[1]).any()


def test_another_shape_nan_and_unequal_lengths_are_refused(gallery):
    embeddings, images = gallery
    made = nearest_image.build(nearest_image.Config(), embeddings, images, "space")
    with pytest.raises(checks.SpaceMismatchError, match="same target"):
        made.nearest(np.zeros((1, 1, 6)))
    with pytest.raises(ValueError, match="axis 'stimulus'"):
        nearest_image.build(nearest_image.Config(), embeddings[:-1], images, "space")
    with pytest.raises(ValueError, match="NaN"):
        nearest_image.build(nearest_image.Config(), embeddings * np.nan, images, "space")


def test_the_identity_changes_with_the_gallery(gallery):
    embeddings, images = gallery
    one, other = (
        nearest_image.build(nearest_image.Config(), embeddings, x, "space") for x in (images, 255 - images)
    )
    assert one.identity() != other.identity()


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_an_embedding_of_the_gallery_is_nearest_to_itself_whatever_all_have_in_common(rng, offset):
    embeddings = (offset + 0.01 * rng.standard_normal((50, 1, 512))).astype(np.float32)
    pictures = np.zeros((50, 2, 2, 3), np.uint8)
    member = nearest_image.build(nearest_image.Config("euclidean"), embeddings, pictures, "planted")
    np.testing.assert_array_equal(member.nearest(embeddings), np.arange(50))
