"""Who sees which picture when: sessions, runs, repeats, onsets, and head motion that knows nothing of the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks

MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")  # as fMRIPrep names them
MOTION_STEP_MM = 0.01


@dataclass(frozen=True, eq=False)
class Schedule:
    """One subject's presentations in order of acquisition.

    Parameters
    ----------
    stimulus : ndarray of int, shape (n_trials,)
        Index of the picture.
    session, run, trial : ndarray of int, shape (n_trials,)
        0-based; runs count within their session, trials within their run.
    repeat : ndarray of int, shape (n_trials,)
        0 for the first presentation.
    onset_s : ndarray of float, shape (n_trials,)
        Seconds in the run.
    """

    stimulus: np.ndarray
    session: np.ndarray
    run: np.ndarray
    trial: np.ndarray
    repeat: np.ndarray
    onset_s: np.ndarray

    @property
    def n_trials(self) -> int:
        """Number of presentations."""
        return len(self.stimulus)

    @property
    def position(self) -> np.ndarray:
        """Place of each trial in its session, 0-based, int (n_trials,)."""
        return places_in(self.session)


def places_in(session: np.ndarray) -> np.ndarray:
    """For each trial how many of the same session came before, int (n_trials,)."""
    place = np.empty(len(session), np.int64)
    for s in np.unique(session):
        rows = np.flatnonzero(session == s)
        place[rows] = np.arange(len(rows))
    return place


def draw_schedule(
    counts: dict[int, int],
    *,
    n_sessions: int,
    n_runs: int,
    spacing_s: float,
    start_s: float,
    jitter_s: float = 0.0,
    generator: np.random.Generator,
) -> Schedule:
    """A random order in which no picture follows itself.

    Parameters
    ----------
    counts : dict of int to int
        Presentations of each picture.
    n_sessions, n_runs : int
        Sessions, and runs of each; all have as nearly as possible the same number of trials.
    spacing_s, start_s : float
        Seconds between onsets, and before the first one of a run.
    jitter_s : float
        Onsets are delayed by up to this much, uniformly.
    generator : numpy.random.Generator

    Returns
    -------
    Schedule
    """
    order = generator.permutation(np.repeat(list(counts), list(counts.values())))
    n = len(order)
    checks.at_least("number of trials", n, n_sessions * n_runs)
    for _ in range(100):  # neighbours that are equal swap with a random trial; a few rounds suffice
        equal = np.flatnonzero(order[1:] == order[:-1])
        if not len(equal):
            break
        for i in equal:
            j = int(generator.integers(n))
            order[i], order[j] = order[j], order[i]
    block = np.arange(n) * (n_sessions * n_runs) // n
    trial = places_in(block)
    jitter = generator.uniform(0, jitter_s, n) if jitter_s else np.zeros(n)
    return Schedule(
        stimulus=order,
        session=block // n_runs,
        run=block % n_runs,
        trial=trial,
        repeat=places_in(order),
        onset_s=np.round(start_s + spacing_s * trial + jitter, 3),
    )


def draw_motion(n_volumes: int, generator: np.random.Generator) -> np.ndarray:
    """Head position in one run: a random walk, float64 (n_volumes, 6) in mm and rad (of a 50 mm sphere)."""
    steps = MOTION_STEP_MM * generator.standard_normal((n_volumes, 6))
    return np.cumsum(steps, 0) / np.array([1, 1, 1, 50, 50, 50])
