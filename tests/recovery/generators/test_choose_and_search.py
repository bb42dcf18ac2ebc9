"""Generators that ask a network of their own pictures: the best of several, and a search."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.generators import Generator, Guides, optimised, reranked


class Noise(Generator):
    """Pictures of nothing: all that a choice can know is in the choice."""

    name, space = "noise", "colour"

    def identity(self):
        return {"generator": self.name}

    def generate(self, image_embeddings, *, generator, guides=Guides(), n_steps=None, progress=False):  # noqa: B008
        shape = (len(image_embeddings), 4, 4, 3)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8).numpy()


def colours(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1, 3).mean(1)[:, None] / 255 - 0.5


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def wanted() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((200, 1, 3)).astype(np.float32)


def test_the_best_of_several_is_the_best_of_them_and_beats_one(wanted):
    made = reranked.build(reranked.Config(n_candidates=8), Noise(), colours)
    all_of_them = made.candidates(wanted, generator=seeded())
    near = np.stack([cosine(colours(p), wanted) for p in all_of_them])
    best = made.generate(wanted, generator=seeded())
    np.testing.assert_allclose(cosine(colours(best), wanted), near.max(0))
    assert near.max(0).mean() > near.mean() + 0.5


def test_choosing_for_other_rows_gains_nothing(wanted):
    made = reranked.build(reranked.Config(n_candidates=8), Noise(), colours)
    shuffled = np.roll(wanted, 1, axis=0)
    best = made.generate(shuffled, generator=seeded())
    assert abs(cosine(colours(best), wanted).mean()) < 0.15


def test_one_candidate_is_the_bases_own_picture(wanted):
    made = reranked.build(reranked.Config(n_candidates=1), Noise(), colours)
    (seed,) = torch.randint(reranked.SEEDS, (1,), generator=seeded()).tolist()
    one = Noise().generate(wanted, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(made.generate(wanted, generator=seeded()), one)


def squares(pictures: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(pictures, 4).flatten(1)[:, None]


@pytest.fixture
def shown() -> np.ndarray:
    """Pictures of four by four coloured squares."""
    coarse = np.random.default_rng(1).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(4, 1).repeat(4, 2)


def said_of(pictures: np.ndarray) -> np.ndarray:
    return squares(torch.as_tensor(pictures).permute(0, 3, 1, 2) / 255).numpy()


@pytest.mark.parametrize("of", ["pixels", "latents"])
def test_a_search_finds_pictures_of_which_the_network_says_what_was_wanted(shown, of):
    latents = None
    if of == "latents":  # a plain one: latents are half the pixels, about zero

        def decode(x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(x, scale_factor=2) + 0.5

        def encode(x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(x, 2) - 0.5

        latents = optimised.Latents((3, 8, 8), decode, encode)
    config = optimised.Config(likeness="squares", n_steps=150, smoothness=0.0)
    made = optimised.build(config, squares, "squares", (1, 48), (16, 16), latents=latents)
    found = made.generate(said_of(shown), generator=seeded())
    assert np.abs(said_of(found) - said_of(shown)).mean() < 0.01
    error = np.abs(found.astype(float) - shown).mean((1, 2, 3))
    other = np.abs(found.astype(float) - np.roll(shown, 1, axis=0)).mean((1, 2, 3))
    assert (error < 0.2 * other).all()


def test_a_search_does_not_depend_on_who_is_searched_for_beside(shown):
    config = optimised.Config(likeness="squares", n_steps=20)
    made = optimised.build(config, squares, "squares", (1, 48), (16, 16))
    all_of_them = made.generate(said_of(shown), generator=seeded()).astype(int)
    alone = made.generate(said_of(shown)[:1], generator=seeded()).astype(int)
    assert np.abs(alone - all_of_them[:1]).max() <= 1


def test_a_search_from_the_answer_stays_there(shown):
    config = optimised.Config(likeness="squares", n_steps=3, lr=0.001, smoothness=0.0)
    made = optimised.build(config, squares, "squares", (1, 48), (16, 16))
    found = made.generate(said_of(shown), generator=seeded(), guides=Guides(low_level=shown))
    assert np.abs(found.astype(int) - shown).max() <= 2
