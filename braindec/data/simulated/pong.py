"""Films of a ball that bounces and goes behind an occluder, and planted brains that follow it there or do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks

N_TIMES = 20
RADIUS = 0.06  # of the ball; the field is 1 wide and 1 high
FARTHEST = 0.96  # where the ball ends: the paddle's side
STEEPEST = 1.1  # fields that a ball rises or falls in a film: it bounces once at most, or twice
BACKGROUND_RGB, BALL_RGB, OCCLUDER_RGB = (225, 225, 215), (205, 30, 30), (70, 110, 165)
AGENTS = ("simulates", "holds")


@dataclass(frozen=True, eq=False)
class Films:
    """Where the ball is, and when it cannot be seen.

    Parameters
    ----------
    place : float array, shape (n_films, n_times, 2)
        Horizontal and vertical place of its centre, in [0, 1].
    path : float array, shape (n_films, n_times)
        Height without walls; `place` folds it into the field.
    hidden : bool array, shape (n_films, n_times)
    occluder : float array, shape (n_films, 2)
        Its left and right edge.
    """

    place: np.ndarray
    path: np.ndarray
    hidden: np.ndarray
    occluder: np.ndarray

    def __len__(self) -> int:
        return len(self.place)


def draw_films(
    n: int, generator: np.random.Generator, *, reappears: bool = False, n_times: int = N_TIMES
) -> Films:
    """Balls that cross the field from left to right at their own angle and speed.

    Parameters
    ----------
    n : int
    generator : numpy Generator
    reappears : bool
        The occluder ends somewhere in the field, as in films that a network learns from; else it reaches to the
        paddle's side, and the ball is never seen again.
    n_times : int
        Frames of each film.
    """
    checks.at_least("n_times", n_times, 6)
    share = np.arange(n_times) / (n_times - 1)
    start = generator.uniform(0.04, 0.3, (n, 1))
    x = start + (FARTHEST - start) * share
    path = generator.uniform(0.1, 0.9, (n, 1)) + generator.uniform(-STEEPEST, STEEPEST, (n, 1)) * share
    if reappears:
        left = generator.uniform(0.3, 0.6, n)
        right = np.minimum(left + generator.uniform(0.15, 0.45, n), 1.0)
    else:
        left, right = generator.uniform(0.45, 0.7, n), np.ones(n)
    hidden = (x >= left[:, None]) & (x <= right[:, None])
    return Films(np.stack([x, folded(path)], -1), path, hidden, np.stack([left, right], 1))


def folded(path: np.ndarray) -> np.ndarray:
    """Heights in the field of a path without walls: the ball bounces off top and bottom."""
    span = 1 - 2 * RADIUS
    rest = np.mod(path - RADIUS, 2 * span)
    return RADIUS + np.minimum(rest, 2 * span - rest)


def render(films: Films, size: int = 32) -> np.ndarray:
    """Frames of all films, uint8 (n_films, n_times, size, size, 3): the ball, and the occluder before it."""
    centres = (np.arange(size) + 0.5) / size
    dx = centres - films.place[..., 0, None]  # (film, time, column)
    dy = centres - films.place[..., 1, None]
    distance = np.sqrt(dy[..., :, None] ** 2 + dx[..., None, :] ** 2)
    ball = np.clip(0.5 + (RADIUS - distance) * size, 0.0, 1.0)[..., None]
    left, right = films.occluder.T[..., None]
    behind = np.clip(0.5 + np.minimum(centres - left, right - centres) * size, 0.0, 1.0)[
        :, None, None, :, None
    ]
    picture = (1 - ball) * np.array(BACKGROUND_RGB) + ball * np.array(BALL_RGB)
    return np.rint((1 - behind) * picture + behind * np.array(OCCLUDER_RGB)).astype(np.uint8)


def last_seen(films: Films) -> np.ndarray:
    """Where the ball was when it was last seen, at each time, (n_films, n_times, 2)."""
    times = np.where(films.hidden, 0, np.arange(films.hidden.shape[1]))
    latest = np.maximum.accumulate(times, 1)
    return np.take_along_axis(films.place, latest[..., None], 1)


def beliefs(
    films: Films,
    agent: str,
    generator: np.random.Generator,
    *,
    n_particles: int = 64,
    velocity_noise: float = 0.02,
    slowing: float = 0.15,
) -> np.ndarray:
    """Where an agent takes the ball to be, as equally likely places (n_films, n_times, n_particles, 2).

    Parameters
    ----------
    films : Films
    agent : str
        ``"simulates"``: while the ball is hidden, every place moves on at the speed last seen, with an error of its own
        that grows with time, and bounces. ``"holds"``: it stays where it was last seen.
    generator : numpy Generator
    n_particles : int
    velocity_noise : float
        SD of the error of the speed, in field heights a frame.
    slowing : float
        Share by which a simulation is slower than the film: an error that all simulating agents make.
    """
    checks.one_of("agent", agent, AGENTS)
    n, n_times = films.hidden.shape
    seen = np.repeat(last_seen(films)[:, :, None], n_particles, 2)
    if agent == "holds":
        return seen
    times = np.arange(n_times)
    latest = np.maximum.accumulate(np.where(films.hidden, 0, times), 1)
    since = (times - latest)[..., None]  # frames since it was last seen, (film, time, 1)
    error = velocity_noise * generator.standard_normal((n, 1, n_particles, 2))
    anchor = np.take_along_axis(films.path, latest, 1)[..., None]
    moved = (1 - slowing) * (films.path[..., None] - anchor)
    ahead = (1 - slowing) * (films.place[..., :1] - seen[..., 0])
    y = folded(anchor + moved + error[..., 0] * since)
    return np.stack([np.minimum(seen[..., 0] + ahead + error[..., 1] / 2 * since, 1.0), y], -1)


def tuned(belief: np.ndarray, centres: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Mean response to believed places of units with Gaussian fields, (n_films, n_times, n_units).

    Parameters
    ----------
    belief : float array, shape (n_films, n_times, n_particles, 2)
    centres : float array, shape (n_units, 2)
    width : float or array, shape (n_units,)
        SD of the fields.
    """
    total = np.zeros((*belief.shape[:2], len(centres)))
    for particle in range(belief.shape[2]):
        squares = np.square(belief[:, :, particle, None] - centres).sum(-1)
        total += np.exp(-squares / (2 * np.square(width)))
    return total / belief.shape[2]


def population(
    belief: np.ndarray,
    generator: np.random.Generator,
    *,
    n_units: int = 60,
    n_repeats: int = 4,
    noise: float = 1.0,
    memory: float = 0.4,
) -> np.ndarray:
    """Responses of planted units to what an agent believes, float32 (n_repeats, n_films, n_times, n_units).

    Parameters
    ----------
    belief : float array, shape (n_films, n_times, n_particles, 2)
    generator : numpy Generator
        Fields of the units and noise of every repeat.
    n_units, n_repeats : int
    noise : float
        SD of a repeat's noise over that of a unit's mean responses.
    memory : float
        Share of its last response that a unit keeps from frame to frame, in [0, 1).
    """
    drive = tuned(belief, generator.uniform(0, 1, (n_units, 2)), generator.uniform(0.12, 0.3, n_units))
    found = drive.copy()
    for t in range(1, drive.shape[1]):
        found[:, t] = memory * found[:, t - 1] + (1 - memory) * drive[:, t]
    found = (found - found.mean((0, 1))) / found.std((0, 1))
    return (found + noise * generator.standard_normal((n_repeats, *found.shape))).astype(np.float32)


def interceptions(
    belief: np.ndarray, generator: np.random.Generator, *, n_repeats: int = 8, noise: float = 0.06
) -> np.ndarray:
    """Heights at which an agent puts its paddle at the end, (n_repeats, n_films): its mean belief, and motor noise."""
    aimed = belief[:, -1, :, 1].mean(-1)
    return aimed + noise * generator.standard_normal((n_repeats, len(aimed)))
