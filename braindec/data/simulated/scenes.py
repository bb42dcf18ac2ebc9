"""Scenes of the simulated world: what they hold, how they are drawn at random, put into words and into numbers.

A scene has one to three objects on a background. Every factor is a word of a small closed vocabulary, except the exact
position, which is continuous within its place. The pictures (`render`, `render_all`) are made in `rendering`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data.simulated.rendering import RADIUS_PX, render, render_all

__all__ = [
    "Scene", "SceneObject", "caption", "captions", "category", "factor_features", "factor_table", "from_dict",
    "render", "render_all", "sample_scenes", "sample_unique_scenes", "scenes_of", "to_dict",
]  # fmt: skip

FILE = "scenes.json"  # of a world's raw and prepared folders
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES = ("solid", "striped", "dotted", "checkered")
SIZES = ("small", "medium", "large")
PLACES = (
    "top left", "top", "top right",
    "left", "centre", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
BACKGROUNDS = ("black", "grey", "white", "brown", "navy", "olive")
PATTERNS = ("plain", "shaded", "lined")
FACTORS = {"shape": SHAPES, "colour": COLOURS, "texture": TEXTURES, "size": SIZES, "place": PLACES}
MAX_OBJECTS = 3
PLACE_CENTRES_PX = (14.0, 32.0, 50.0)
JITTER_PX = 2.0
MIN_SEPARATION = 0.9  # of the sum of radii: objects may touch but hide next to nothing of each other
VOCABULARY = (
    "a", "and", "at", "the", "on", "background", "one", "two", "three", "object", "objects",
    "left", "right", "top", "bottom", "centre",
    *SHAPES, *COLOURS, *TEXTURES, *SIZES, *BACKGROUNDS, *PATTERNS,
)  # fmt: skip


@dataclass(frozen=True)
class SceneObject:
    """One object: five named factors, and the exact centre in pixels from the top left corner."""

    shape: str
    colour: str
    texture: str
    size: str
    place: str
    x_px: float
    y_px: float

    def __post_init__(self) -> None:
        for name, allowed in FACTORS.items():
            checks.one_of(name, getattr(self, name), allowed)


@dataclass(frozen=True)
class Scene:
    """One to three objects, largest first and then in reading order, on a background."""

    objects: tuple[SceneObject, ...]
    background: str
    pattern: str
    key: tuple[Any, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.one_of("background", self.background, BACKGROUNDS)
        checks.one_of("pattern", self.pattern, PATTERNS)
        checks.in_range("number of objects", len(self.objects), 1, MAX_OBJECTS)
        named = tuple(tuple(getattr(o, name) for name in FACTORS) for o in self.objects)
        object.__setattr__(self, "key", (named, self.background, self.pattern))


def sample_scenes(n: int, generator: np.random.Generator) -> list[Scene]:
    """Draw `n` scenes independently; the first k of n are the k that the same seed alone would give.

    Parameters
    ----------
    n : int
        Number of scenes, >= 0.
    generator : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    list of Scene
        Two of them may be equal; see `sample_unique_scenes`.
    """
    return [_sample_scene(generator) for _ in range(n)]


def sample_unique_scenes(
    n: int, generator: np.random.Generator, *, exclude: Sequence[Scene] = ()
) -> list[Scene]:
    """Draw `n` scenes of which no two share all their named factors, with each other or with `exclude`.

    Exact positions do not make scenes distinct, so that their captions differ as well.
    """
    seen = {scene.key for scene in exclude}
    scenes: list[Scene] = []
    while len(scenes) < n:
        scene = _sample_scene(generator)
        if scene.key not in seen:
            seen.add(scene.key)
            scenes.append(scene)
    return scenes


def caption(scene: Scene) -> str:
    """Full description, e.g. "a large striped red circle at the top left on a plain grey background"."""
    return f"{_list_objects(scene.objects)} on a {scene.pattern} {scene.background} background"


def captions(scene: Scene, n: int, generator: np.random.Generator) -> list[str]:
    """`n` true descriptions that reorder the objects and leave some things out.

    Parameters
    ----------
    scene : Scene
        What is described.
    n : int
        Number of captions, >= 0.
    generator : numpy.random.Generator
        Decides what is left out and in which order objects come.

    Returns
    -------
    list of str
        Words of `VOCABULARY` only.
    """
    return [_partial_caption(scene, generator) for _ in range(n)]


def category(scene: Scene) -> str:
    """Shape of the largest object (the first in reading order among equals)."""
    return scene.objects[0].shape


def factor_table(scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """Every factor of some scenes as the columns of a table.

    Parameters
    ----------
    scenes : sequence of Scene
        The rows.

    Returns
    -------
    dict of ndarray, shape (n_scenes,)
        "n_objects" (int), "background", "pattern", "category" (text); for object 1 to 3 "object_1_shape", "_colour",
        "_texture", "_size", "_place" (text, empty where there is no such object), "_x_px" and "_y_px" (float, NaN
        where there is none).
    """
    table = {
        "n_objects": np.array([len(s.objects) for s in scenes], np.int64),
        "background": np.array([s.background for s in scenes], np.str_),
        "pattern": np.array([s.pattern for s in scenes], np.str_),
        "category": np.array([category(s) for s in scenes], np.str_),
    }
    for i in range(MAX_OBJECTS):
        present = [s.objects[i] if i < len(s.objects) else None for s in scenes]
        for name in FACTORS:
            words = [getattr(o, name) if o else "" for o in present]
            table[f"object_{i + 1}_{name}"] = np.array(words, np.str_)
        for name in ("x_px", "y_px"):
            values = [getattr(o, name) if o else np.nan for o in present]
            table[f"object_{i + 1}_{name}"] = np.array(values, np.float64)
    return table


def factor_features(scenes: Sequence[Scene]) -> tuple[np.ndarray, list[str]]:
    """Real-valued design of all factors, for brains that know what is in a scene and where.

    Parameters
    ----------
    scenes : sequence of Scene
        The rows.

    Returns
    -------
    features : ndarray of float32, shape (n_scenes, n_factors)
        Background and pattern one-hot and the number of objects; for every value of shape, colour, texture, size and
        place, and for every place x shape, place x colour and colour x shape, the area of the objects that have it,
        as a share of a large object's area. In [0, 3].
    names : list of str, length n_factors
        E.g. "background=grey", "shape=star", "place=top left & colour=red".
    """
    pairs = (("place", "shape"), ("place", "colour"), ("colour", "shape"))
    names = [f"background={w}" for w in BACKGROUNDS] + [f"pattern={w}" for w in PATTERNS] + ["n_objects"]
    names += [f"{f}={w}" for f, words in FACTORS.items() for w in words]
    names += [f"{f}={v} & {g}={w}" for f, g in pairs for v in FACTORS[f] for w in FACTORS[g]]
    column = {name: i for i, name in enumerate(names)}
    features = np.zeros((len(scenes), len(names)), np.float32)
    for row, scene in zip(features, scenes, strict=True):
        row[column[f"background={scene.background}"]] = 1
        row[column[f"pattern={scene.pattern}"]] = 1
        row[column["n_objects"]] = len(scene.objects)
        for o in scene.objects:
            area = (RADIUS_PX[o.size] / RADIUS_PX["large"]) ** 2
            value = {f: f"{f}={getattr(o, f)}" for f in FACTORS}
            hits = [*value.values(), *(f"{value[f]} & {value[g]}" for f, g in pairs)]
            row[[column[name] for name in hits]] += area
    return features, names


def to_dict(scene: Scene) -> dict[str, Any]:
    """JSON-able dictionary that `from_dict` turns back into an equal scene."""
    return {
        "objects": [asdict(o) for o in scene.objects],
        "background": scene.background,
        "pattern": scene.pattern,
    }


def from_dict(record: dict[str, Any]) -> Scene:
    """Scene of a dictionary made by `to_dict`; an unknown word is refused."""
    objects = tuple(SceneObject(**o) for o in record["objects"])
    return Scene(objects, record["background"], record["pattern"])


def scenes_of(folder: str | Path) -> list[Scene]:
    """The scenes of a simulated world, in the order of its stimulus ids.

    Parameters
    ----------
    folder : path
        Of the raw or of the prepared dataset, with ``scenes.json``.
    """
    records = store.read_json(Path(folder) / FILE, "Prepare the simulated dataset again.")
    return [from_dict(record) for record in records]


def _sample_scene(generator: np.random.Generator) -> Scene:
    while True:
        n_objects = 1 + int(generator.integers(MAX_OBJECTS))
        cells = generator.choice(len(PLACES), size=n_objects, replace=False)
        words = generator.integers(0, (len(SHAPES), len(COLOURS), len(TEXTURES), len(SIZES)), (n_objects, 4))
        jitter = generator.uniform(-JITTER_PX, JITTER_PX, (n_objects, 2))
        ground, pattern = generator.integers(0, (len(BACKGROUNDS), len(PATTERNS)))
        if not _crowded(words[:, 3], cells, jitter):
            break
    objects = [_object(w, c, j) for w, c, j in zip(words, cells, jitter, strict=True)]
    objects.sort(key=lambda o: (-RADIUS_PX[o.size], PLACES.index(o.place)))
    return Scene(tuple(objects), BACKGROUNDS[ground], PATTERNS[pattern])


def _object(words: np.ndarray, cell: int, jitter: np.ndarray) -> SceneObject:
    shape, colour, texture, size = (int(w) for w in words)
    x, y = PLACE_CENTRES_PX[cell % 3] + jitter[0], PLACE_CENTRES_PX[cell // 3] + jitter[1]
    # Two decimals survive JSON and HDF5 unchanged and are far below what a pixel can show.
    return SceneObject(
        SHAPES[shape], COLOURS[colour], TEXTURES[texture], SIZES[size], PLACES[cell],
        round(float(x), 2), round(float(y), 2),
    )  # fmt: skip


def _crowded(sizes: np.ndarray, cells: np.ndarray, jitter: np.ndarray) -> bool:
    centres = np.asarray(PLACE_CENTRES_PX)[np.stack([cells % 3, cells // 3], 1)] + jitter
    radii = np.array([RADIUS_PX[SIZES[s]] for s in sizes])
    for i in range(len(cells)):
        for j in range(i):
            if np.hypot(*(centres[i] - centres[j])) < MIN_SEPARATION * (radii[i] + radii[j]):
                return True
    return False


def _list_objects(objects: Sequence[SceneObject]) -> str:
    return " and ".join(f"a {o.size} {o.texture} {o.colour} {o.shape} at the {o.place}" for o in objects)


def _partial_caption(scene: Scene, generator: np.random.Generator) -> str:
    order = generator.permutation(len(scene.objects))
    kept = generator.random((len(order), 3)) < 0.8
    parts = []
    for i, (with_size, with_texture, with_place) in zip(order, kept, strict=True):
        o = scene.objects[i]
        words = [o.size] * bool(with_size) + [o.texture] * bool(with_texture) + [o.colour, o.shape]
        parts.append("a " + " ".join(words) + f" at the {o.place}" * bool(with_place))
    text = " and ".join(parts)
    if generator.random() < 0.8:
        text += f" on a {scene.pattern} {scene.background} background"
    return text
