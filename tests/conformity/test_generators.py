"""What every generator promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from braindec import checks, registry
from braindec.generators import Generator

DIM, SIDE = 128, 64  # of the shipped image embedding and its pictures; a gallery takes any
NAMES = registry.names("generators")


def unit(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, 1, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=2, keepdims=True)


def gallery() -> dict:
    images = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    return {"embeddings": unit(9, seed=1), "images": images, "space": "a space"}


NEEDS = {"nearest_image": gallery}  # what build takes beyond the Config
SIZES = {"pixels": (28 * 28, 28)}  # dim and side, where they are others
LENGTH_TELLS = {"pixels"}  # a longer embedding is a brighter picture


@pytest.fixture(scope="module", params=NAMES)
def made(request) -> Generator:
    module = registry.load("generators", request.param)
    return module.build(module.Config(), **NEEDS.get(request.param, dict)())


@pytest.fixture
def some(made) -> Callable[..., np.ndarray]:
    """Random embeddings of the generator's space, of unit length."""
    return partial(unit, dim=SIZES.get(made.name, (DIM, SIDE))[0])


def draw(made: Generator, embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    return made.generate(embeddings, generator=torch.Generator().manual_seed(seed), n_steps=2)


def test_it_is_a_generator_that_names_itself_and_its_space(made):
    assert isinstance(made, Generator)
    assert made.name in NAMES
    assert made.space


def test_pictures_are_bytes_one_for_each_embedding(made, some):
    pictures = draw(made, some(3))
    assert pictures.dtype == np.uint8
    side = SIZES.get(made.name, (DIM, SIDE))[1]
    assert pictures.shape == (3, side, side, 3)
    assert draw(made, some(3)[:0]).shape == (0, side, side, 3)


def test_equal_seeds_give_equal_bytes_and_leave_the_global_generator_alone(
    made, some, global_state_untouched
):
    np.testing.assert_array_equal(draw(made, some(3)), draw(made, some(3)))


def test_the_first_pictures_do_not_depend_on_how_many_follow(made, some):
    """Up to rounding: matrix products of other sizes add up in another order."""
    few, many = draw(made, some(2)).astype(int), draw(made, some(5))[:2].astype(int)
    assert np.abs(few - many).max() <= 2


def test_the_direction_of_an_embedding_matters_and_its_length_only_where_declared(made, some):
    difference = np.abs(draw(made, 3 * some(3)).astype(int) - draw(made, some(3))).max()
    assert (difference > 2) == (made.name in LENGTH_TELLS)
    assert (draw(made, some(3)) != draw(made, some(3, seed=5))).any()


def test_the_identity_is_json(made):
    assert json.loads(json.dumps(made.identity())) == made.identity()


def test_embeddings_of_another_shape_or_with_nan_are_refused(made, some):
    with pytest.raises(checks.SpaceMismatchError, match="target"):
        draw(made, some(2)[:, :, :-1])
    with pytest.raises(ValueError, match="NaN"):
        draw(made, some(2) * np.nan)
