"""Trials that are consecutive clips of films, as continuous runs beside features of what was played."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import image_files
from braindec.data.cifti import runs_of
from braindec.data.damage import reading
from braindec.types import Continuous, Embeddings, Trials

VIDEO = (".mp4", ".m4v", ".avi", ".mov")


def continuous(
    trials: Trials, features: Embeddings, *, lag_s: float, runs: Iterable[str] | None = None
) -> Continuous:
    """Runs of responses beside the features of their clips.

    Parameters
    ----------
    trials : Trials
        One a clip, equally long: (n_clips, n_features) of each run in order of `onset_s`.
    features : Embeddings
        Of the clips, averaged over tokens.
    lag_s : float
        Seconds by which the trials' responses follow their clips, as dataset.json says (``hrf_lag_s``).
    runs : iterable of str, optional
        Only these; None takes all.

    Returns
    -------
    Continuous
        `offset_s` is minus the lag: a run's first response was measured that long after its first clip began.

    Raises
    ------
    ValueError
        If clips of a run are not equally spaced.
    """
    rows = runs_of(trials)
    chosen = list(rows) if runs is None else [checks.one_of("run", name, list(rows)) for name in runs]
    onsets = [trials.table["onset_s"][rows[name]] for name in chosen]
    steps = np.unique(np.round(np.concatenate([np.diff(o) for o in onsets]), 6))
    if len(steps) != 1 or steps[0] <= 0:
        raise ValueError(
            f"clips of a run must follow each other at one distance, got {steps.tolist()[:5]} s."
        )
    sfreq = 1.0 / float(steps[0])
    ids = trials.table["stimulus_id"]
    return Continuous(
        runs={name: np.asarray(trials.responses[rows[name]]) for name in chosen},
        features={name: features.of(ids[rows[name]].tolist()).mean(1) for name in chosen},
        sfreq=sfreq,
        feature_sfreq=sfreq,
        offset_s=dict.fromkeys(chosen, -float(lag_s)),
        space=trials.space,
    )


def clip_frames(film: Path, n_clips: int, clip_s: float, side: int, n_frames: int) -> Iterator[np.ndarray]:
    """Each clip of a film, uint8 (1, n_frames, side, side, 3) one after the other: frames at equal steps.

    Parameters
    ----------
    film, n_clips, clip_s, side
        As of `middle_frames`.
    n_frames : int
        Of each clip, >= 2.

    Raises
    ------
    DataFileError
        As of `middle_frames`.
    """
    checks.at_least("n_frames", n_frames, 2)
    times = (np.arange(n_clips * n_frames) + 0.5) * clip_s / n_frames
    frames = _frames_at(film, times, n_clips, clip_s, side)
    for _ in range(n_clips):
        yield np.concatenate([next(frames) for _ in range(n_frames)])[None]


def middle_frames(film: Path, n_clips: int, clip_s: float, side: int) -> Iterator[np.ndarray]:
    """The middle frame of each clip of a film, uint8 (1, side, side, 3) one after the other.

    Parameters
    ----------
    film : path
        A video (needs PyAV), or a folder of its frames in the order of their names, equally spaced over the clips.
    n_clips : int
    clip_s : float
        Seconds.
    side : int
        Pixels.

    Raises
    ------
    DataFileError
        If the film is damaged or shorter than its clips.
    """
    yield from _frames_at(film, (np.arange(n_clips) + 0.5) * clip_s, n_clips, clip_s, side)


def _frames_at(film: Path, times: np.ndarray, n_clips: int, clip_s: float, side: int) -> Iterator[np.ndarray]:
    """The frames at some times, in order, uint8 (1, side, side, 3)."""
    if not film.is_dir():
        yield from _decoded(film, times, side)
        return
    frames = [p for p in sorted(film.iterdir()) if p.suffix.lower() in image_files.SUFFIXES]
    if len(frames) < len(times):
        found = f"holds {len(frames)} frames, expected {len(times)} or more for {n_clips} clips"
        raise checks.DataFileError(film, found, "Extract the frames again.")
    for time in times:
        yield image_files.read_square(frames[int(time / (n_clips * clip_s) * len(frames))], side)[None]


def find_films(folder: Path, names: Sequence[str]) -> list[Path] | None:
    """Video or folder of frames of each film; None where there is none.

    Raises
    ------
    DataFileError
        If there are some but not all.
    """
    found = {
        n: next((p for p in (folder / n, *(folder / f"{n}{s}" for s in VIDEO)) if p.exists()), None)
        for n in names
    }
    there = [path for path in found.values() if path is not None]
    if not there:
        return None
    if len(there) < len(names):
        first = next(n for n, path in found.items() if path is None)
        said = f"holds {len(there)} of {len(names)} films; {first!r} is missing"
        raise checks.DataFileError(
            folder, said, "Complete the folder, or move it away to prepare without pictures."
        )
    return there


def _decoded(film: Path, times: np.ndarray, side: int) -> Iterator[np.ndarray]:
    try:
        import av
    except ImportError as error:
        raise checks.needs_package(
            "av", "video", "reading video files (or give folders of frames)"
        ) from error
    wanted, last = 0, -np.inf
    # A playlist under a film's name could have other files read, or addresses asked: the container is said.
    container = "avi" if film.suffix.lower() == ".avi" else "mov"
    alone = {"protocol_whitelist": "file"}
    with reading(film, av.FFmpegError), av.open(str(film), format=container, options=alone) as opened:
        for frame in opened.decode(video=0):
            last = -np.inf if frame.time is None else float(frame.time)
            while wanted < len(times) and last >= times[wanted] - 1e-3:
                yield image_files.square(frame.to_image(), side)[None]
                wanted += 1
            if wanted == len(times):
                return
    found = f"ends at {last:.1f} s, before the middle of its clip at {times[wanted]:.1f} s"
    raise checks.DataFileError(film, found, "Get the film again.")
