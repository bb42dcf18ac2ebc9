"""Scenes of a simulated world, the pictures of them, and the features that drive its brains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data.simulated import features as banks
from braindec.data.simulated.network import layer_features
from braindec.data.simulated.rendering import render_all
from braindec.data.simulated.scenes import FACTORS, Scene, sample_scenes, sample_unique_scenes
from braindec.data.simulated.world import World

# Training scenes that galleries avoid: more than anybody sees, so that worlds of fewer subjects share a gallery.
SET_ASIDE = 5000
MOST_TRIES = 1000  # draws for each look-alike of a family
# What a brain that does not see a factor sees in its place. Each is drawn independently of all other factors, so that
# nothing in such a brain tells of it.
ALIKE = {"shape": "circle", "colour": "red", "texture": "solid", "background": "grey", "pattern": "plain"}


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Scenes of a world and what brains see in them.

    Parameters
    ----------
    scenes : list of Scene
        Gallery first, then each subject's own.
    images : ndarray of uint8, shape (n, 64, 64, 3)
    map : FeatureMap
    features : ndarray of float32, shape (n, n_features)
    reference : ndarray of float32, shape (n_reference, n_features)
    """

    scenes: list[Scene]
    images: np.ndarray
    map: banks.FeatureMap
    features: np.ndarray
    reference: np.ndarray


def draw_stimuli(
    world: World, *, embed: Callable[[np.ndarray], np.ndarray] | None = None, progress: bool = False
) -> Stimuli:
    """The world's scenes, their pictures and the features that drive its brains.

    Parameters
    ----------
    world : World
    embed : callable, optional
        ``embed(images) -> (n, dim)``: the decoding target; needed by an inverse-crime world, refused by any other.
    progress : bool
        Whether to show a progress bar.
    """
    if world.inverse_crime != (embed is not None):
        raise checks.ConfigError(
            f"inverse_crime is {world.inverse_crime}, but embed is {'given' if embed else 'not given'}; "
            "an inverse-crime world, and no other, is built from the decoding target's embedding."
        )
    reference = sample_scenes(world.n_reference, seeding.numpy_generator(world.seed, "reference"))
    development, training, gallery = draw_scenes(world, exclude=reference)
    see = partial(as_seen, unseen=world.unseen)
    images, raw, layers = _seen(development + training, see, embed, progress)
    if (
        world.gallery_seed
    ):  # the layers' scale stays that of the development gallery: training features must not change
        own_images, own, _ = _seen(gallery, see, embed, progress, layers)
        images = np.concatenate([own_images, images[len(gallery) :]])
        raw = {name: np.concatenate([own[name], values[len(gallery) :]]) for name, values in raw.items()}
    _, reference_raw, _ = _seen(reference, see, embed, progress)
    fitted = banks.fit_feature_map(reference_raw)
    return Stimuli(gallery + training, images, fitted, fitted(raw), fitted(reference_raw))


def draw_scenes(world: World, exclude: list[Scene]) -> tuple[list[Scene], list[Scene], list[Scene]]:
    """Scenes of the development gallery, of training and of the gallery in use, which may be the first.

    No two of them agree in all their factors, with each other or with `exclude`. Training scenes avoid the development
    gallery whatever the gallery in use, so that they do not depend on its seed; any other gallery avoids both.
    """
    development = draw_gallery(replace(world, gallery_seed=0), exclude)
    n_others, taken = world.n_stimuli - world.n_gallery, exclude + development
    generator = seeding.numpy_generator(world.seed, "scenes")
    if not world.gallery_seed:
        return development, sample_unique_scenes(n_others, generator, exclude=taken), development
    others = sample_unique_scenes(max(n_others, SET_ASIDE), generator, exclude=taken)
    return development, others[:n_others], draw_gallery(world, taken + others)


def draw_gallery(world: World, exclude: list[Scene]) -> list[Scene]:
    """The test scenes: families of look-alikes, next to each other; no two scenes agree in all their factors."""
    purpose = ("gallery", world.gallery_seed) if world.gallery_seed else ("gallery",)
    generator = seeding.numpy_generator(world.seed, *purpose)
    firsts = sample_unique_scenes(world.n_gallery // world.n_alike, generator, exclude=exclude)
    taken = {scene.key for scene in (*exclude, *firsts)}
    gallery: list[Scene] = []
    for first in firsts:
        family, n_tries = [first], 0
        while len(family) < world.n_alike:
            other = look_alike(first, world.n_changes, generator)
            n_tries += 1
            if other.key not in taken:
                taken.add(other.key)
                family.append(other)
            elif n_tries > MOST_TRIES * world.n_alike:
                raise checks.ConfigError(
                    f"n_alike must be smaller or n_changes larger: of {world.n_alike} scenes of a family that differ "
                    f"in {world.n_changes} words from the first, {len(family)} were found."
                )
        gallery += family
    return gallery


def look_alike(scene: Scene, n_changes: int, generator: np.random.Generator) -> Scene:
    """The scene with other words for `n_changes` of its objects' shapes, colours and textures."""
    objects = list(scene.objects)
    words = [(i, name) for i in range(len(objects)) for name in ("shape", "colour", "texture")]
    for k in generator.permutation(len(words))[:n_changes]:
        i, name = words[k]
        others = [word for word in FACTORS[name] if word != getattr(objects[i], name)]
        objects[i] = replace(objects[i], **{name: others[generator.integers(len(others))]})
    return Scene(tuple(objects), scene.background, scene.pattern)


def as_seen(scene: Scene, unseen: Sequence[str]) -> Scene:
    """The scene to a brain that does not see some factors of `ALIKE`."""
    if not unseen:
        return scene
    for name in unseen:
        checks.one_of("unseen factor", name, list(ALIKE))
    ground: dict[str, Any] = {name: ALIKE[name] for name in unseen if name not in FACTORS}
    words: dict[str, Any] = {name: ALIKE[name] for name in unseen if name in FACTORS}
    return replace(scene, objects=tuple(replace(o, **words) for o in scene.objects), **ground)


def _seen(
    scenes: list[Scene],
    see: Callable[[Scene], Scene],
    embed: Callable[[np.ndarray], np.ndarray] | None,
    progress: bool,
    like: Mapping[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Pictures of some scenes, the raw banks of what is seen of them, and the layers of the network that made these."""
    images, watched = render_all(scenes, progress), [see(scene) for scene in scenes]
    shown = images if watched == scenes else render_all(watched, progress)
    if embed is not None:
        values = np.asarray(embed(shown), dtype=np.float32)
        return images, banks.raw_banks(watched, shown, dict.fromkeys(banks.NETWORK_BANKS, values)), {}
    layers = layer_features(shown)
    return images, banks.raw_banks(watched, shown, banks.network_banks(layers, like)), layers
