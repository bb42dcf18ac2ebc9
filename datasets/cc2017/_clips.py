"""Films for the miniature: scenes that move, and what three groups of vertices know of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindec.data.simulated import scenes
from braindec.generators._frames import moved

N_FRAMES = 4  # a clip, at 2 Hz
SPEED_PX = 3  # a frame at most, along each axis
SIDE = 64
GROUPS = ("semantics", "structure", "motion")


def films(n_films: int, n_clips: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Clips, and what there is to know of each, unit variance.

    Parameters
    ----------
    n_films, n_clips : int
    rng : numpy Generator

    Returns
    -------
    clips : uint8 array, shape (n_films, n_clips, 4, 64, 64, 3)
        A scene on a lined background, which the camera passes at a speed of its own.
    known : dict of str to array, shape (n_films, n_clips, n_features)
        ``semantics``: shapes and colours of objects and background; ``structure``: how bright each of 4 x 4 parts of
        the middle frame is, in each colour; ``motion``: the speed. They depend on each other as they do in a scene,
        but the speed on nothing.
    """
    n = n_films * n_clips
    drawn = scenes.sample_unique_scenes(n, rng)
    pictures = scenes.render_all([scenes.Scene(s.objects, s.background, "lined") for s in drawn])
    speed = rng.integers(-SPEED_PX, SPEED_PX + 1, (n, 2)).astype(float)
    made = moved(pictures, np.broadcast_to(speed[:, :, None, None] / SIDE, (n, 2, 1, 1)).copy(), N_FRAMES)
    features, names = scenes.factor_features(drawn)
    wanted = [i for i, name in enumerate(names) if name.split("=")[0] in ("shape", "colour", "background")]
    parts = pictures.reshape(n, 4, 16, 4, 16, 3).mean((2, 4)).reshape(n, -1)
    known = {"semantics": features[:, wanted], "structure": parts, "motion": speed}
    scaled = {k: (v - v.mean(0)) / np.maximum(v.std(0), 1e-6) for k, v in known.items()}
    shape = (n_films, n_clips)
    return made.reshape(*shape, *made.shape[1:]), {k: v.reshape(*shape, -1) for k, v in scaled.items()}


def patterns(known: dict[str, np.ndarray], n_vertices: int, rng: np.random.Generator) -> np.ndarray:
    """Responses of unit variance, (n_films, n_clips, n_vertices): each third of the vertices knows one thing alone."""
    out = []
    for name, own in zip(GROUPS, np.array_split(np.arange(n_vertices), len(GROUPS)), strict=True):
        x = known[name] @ rng.standard_normal((known[name].shape[-1], len(own)))
        out.append(x / x.reshape(-1, len(own)).std(0))
    return np.concatenate(out, axis=-1)


def write(folder: Path, names: list[str], clips: np.ndarray) -> None:
    """Each film as a folder of PNGs in the order of their names."""
    from PIL import Image

    for name, film in zip(names, clips, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, frame in enumerate(film.reshape(-1, *film.shape[2:])):
            Image.fromarray(frame).save(folder / name / f"{i + 1:06d}.png", compress_level=1)
