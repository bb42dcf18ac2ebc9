"""Networks that foretell films look at no frame to come, and learn what comes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.evaluate import future_networks as future

SMALL = future.Settings(n_hidden=24, ahead=(1, 3), n_steps=150, batch_size=16, lr=1e-2)


@pytest.fixture(scope="module")
def films():
    """Bumps that move along a ring at speeds of their own: what comes is not what is."""
    rng = np.random.default_rng(0)
    start, speed = rng.uniform(0, 2 * np.pi, (60, 1)), rng.choice([-0.6, 0.6], (60, 1))
    angle = start + speed * np.arange(10)
    return torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], -1)).float()


def test_states_do_not_depend_on_frames_to_come(films):
    model = future.Foreteller(films, SMALL)
    other = films.clone()
    other[:, 6:] = 9.0
    before, after = (future.film_states(model, x) for x in (films, other))
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_training_foretells_new_films_better_than_the_frame_before_and_not_shuffled_ones(films):
    known, new = films[:40], films[40:]
    model = future.train_foreteller(known, SMALL)
    with torch.inference_mode():
        found = float(model.loss(new))
        wrong = float(model.loss(new[:, torch.randperm(10, generator=torch.Generator().manual_seed(0))]))
        scaled = (new - model.mean) / model.scale
    stays = float(
        torch.stack([(scaled[:, step:] - scaled[:, :-step]).square().mean() for step in (1, 3)]).mean()
    )
    assert found < 0.2 < stays
    assert wrong > 0.8


def test_the_loss_compares_each_horizon_with_the_frames_it_names(films):
    model = future.Foreteller(films, SMALL)
    with torch.inference_mode():
        made, truth = model(films), (films - model.mean) / model.scale
        expected = np.mean(
            [
                np.mean(
                    [(made[:, t, k] - truth[:, t + step]).square().mean().item() for t in range(10 - step)]
                )
                for k, step in enumerate((1, 3))
            ]
        )
        assert float(model.loss(films)) == pytest.approx(expected, rel=1e-5)


def test_equal_seeds_give_equal_networks_and_films_that_are_too_short_are_refused(films):
    few = future.Settings(n_hidden=8, ahead=(1,), n_steps=3)
    first, second = (future.film_states(future.train_foreteller(films, few), films) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    with pytest.raises(ValueError, match="n_times of inputs"):
        future.train_foreteller(films[:, :3], SMALL)
