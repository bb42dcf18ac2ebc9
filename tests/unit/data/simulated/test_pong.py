"""Films of a ball: it bounces as balls do, is hidden behind the occluder, and is believed where it should be."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated import pong


def test_the_ball_bounces_as_one_that_is_turned_back_step_by_step():
    height, step, walked = 0.5, 0.013, []
    for _ in range(300):
        walked.append(height)
        height += step
        if not pong.RADIUS <= height <= 1 - pong.RADIUS:
            step = -step
            height += 2 * (np.clip(height, pong.RADIUS, 1 - pong.RADIUS) - height)
    np.testing.assert_allclose(pong.folded(0.5 + 0.013 * np.arange(300)), walked, atol=1e-9)


def test_frames_show_the_ball_where_it_is_and_not_at_all_where_it_is_hidden(rng):
    films = pong.draw_films(6, rng)
    frames = pong.render(films, 48).astype(float)
    red = np.clip(
        frames[..., 0] - frames[..., 2] - 12, 0, None
    )  # the ground and the occluder are no redder than that
    x, y = ((red * at).sum((2, 3)) / red.sum((2, 3)).clip(1e-9) for at in _centres(48))
    left = films.occluder[:, :1]
    clear = films.place[..., 0] < left - 2 * pong.RADIUS
    np.testing.assert_allclose(np.stack([x, y], -1)[clear], films.place[clear], atol=0.01)
    inside = films.place[..., 0] > left + 1.5 * pong.RADIUS
    assert red.sum((2, 3))[inside].max() == 0
    assert clear.sum() > 20 and inside.sum() > 20


def _centres(size):
    at = (np.arange(size) + 0.5) / size
    return at[None, :], at[:, None]


def test_balls_of_training_films_are_seen_again_and_others_never(rng):
    again, never = (pong.draw_films(40, rng, reappears=r).hidden for r in (True, False))
    assert not again[:, -1].all()
    assert never[:, -1].all() and (np.diff(never.astype(int), axis=1) >= 0).all()


def test_a_faultless_simulation_is_the_truth_and_errors_grow_with_time(rng):
    films = pong.draw_films(30, rng)
    exact = pong.beliefs(films, "simulates", rng, n_particles=1, velocity_noise=0.0, slowing=0.0)
    np.testing.assert_allclose(exact[:, :, 0], films.place, atol=1e-9)
    found = pong.beliefs(films, "simulates", rng)
    spread = found[..., 1].std(-1)
    assert spread[~films.hidden].max() < 1e-12
    late = np.arange(films.hidden.shape[1])
    assert np.mean([np.corrcoef(s[h], late[h])[0, 1] for s, h in zip(spread, films.hidden)]) > 0.7


def test_who_holds_believes_what_was_last_seen(rng):
    films = pong.draw_films(10, rng)
    held = pong.beliefs(films, "holds", rng, n_particles=2)
    for film, hidden in enumerate(films.hidden):
        first = int(np.argmax(hidden))
        np.testing.assert_array_equal(
            held[film, first:, 0], films.place[film, [first - 1]].repeat((hidden).sum(), 0)
        )


def test_an_unknown_agent_is_refused(rng):
    with pytest.raises(ValueError, match="agent must be one of"):
        pong.beliefs(pong.draw_films(2, rng), "dreams", rng)
