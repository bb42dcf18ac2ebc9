"""Low-level pictures and maps: what a decoder says of pixels, of latents, of depth, at the pictures' size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from braindec import autoencoders, checks, registry, seeding, store
from braindec.data import NeuralDataset
from braindec.data.simulated import rendering, scenes
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate.measures import Measured, metric_table, protocol_named
from braindec.evaluate.pictures import measured_pictures
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.types import Embeddings, Score

SIDE = 16  # pixels a side that ridge decodes where the decoder has no output of pixels
SPACE = "pixels/"  # how the name of their space begins: pixels/<height>x<width>/<colour>
LATENTS = "vae/"  # vae/<class>/<weights>/<size>/<layout>
MAPS = {"depth": rendering.nearness, "silhouette": rendering.silhouette}
Maps = Callable[[str, Sequence[str]], np.ndarray]  # of a signal key's test stimuli: (n, 1, side * side)


def low_level_pictures(
    decoder: BrainDecoder,
    recipe: Any,
    training: NeuralDataset,
    test: NeuralDataset,
    ids: Mapping[str, Sequence[str]],
    *,
    autoencoder: str = autoencoders.SHIPPED,
) -> dict[str, np.ndarray]:
    """Decoded low-level pictures of test stimuli, by signal key.

    The decoder's own output of pixels or of an autoencoder's latents where it has one; else closed-form ridge, fitted
    on the training part, from the same signals to blurred pictures of 16 x 16 pixels.

    Parameters
    ----------
    decoder : BrainDecoder
    recipe : Recipe
        Its preprocessing and protocol.
    training, test : NeuralDataset
        With pictures.
    ids : mapping of signal key to sequence of str
        Which test stimuli, in which order.

    Returns
    -------
    dict of str to uint8 array, shape (n, height, width, 3)
    """
    own = own_pixels(decoder)
    repeats: Any = protocol_named(recipe.protocol).repeats
    out = {}
    ridge = ridge_to_pixels(recipe, training) if own is None else None
    for key, names in ids.items():
        trials, shown = test.trials[key], test.stimuli.images(list(names)[:1])
        if ridge is None and own is not None:
            found, space = decoder.predict(trials, repeats=repeats, output=own), decoder.outputs[own].space
        elif ridge is not None:
            found, space = ridge.predict(trials, repeats=repeats), f"{SPACE}{SIDE}x{SIDE}/rgb"
        values = in_order(found, names)
        out[key] = drawn_of(values, space, shown.shape[1:3], autoencoder)
    return out


def drawn_of(
    values: np.ndarray, space: str, size: Sequence[int], autoencoder: str = autoencoders.SHIPPED
) -> np.ndarray:
    """Decoded pixels or latents (n, n_tokens, dim) as uint8 pictures (n, *size, 3)."""
    if not space.startswith(LATENTS):
        return as_pictures(values, space, size)
    made = _drawer(space, autoencoder)
    return resized(made.generate(values, generator=torch.Generator()), size)


@lru_cache(maxsize=2)
def _drawer(space: str, autoencoder: str) -> Any:
    return registry.load("generators", "vae_latents").of_space(space, autoencoder)


def resized(pictures: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """uint8 pictures (n, height, width, 3), smoothly brought to another height and width."""
    if pictures.shape[1:3] == tuple(size):
        return pictures
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    smooth = interpolate(values, tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return smooth.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def scene_maps(
    folder: str | Path,
    dataset: NeuralDataset,
    *,
    of: Literal["depth", "silhouette"] = "depth",
    side: int = 16,
) -> Embeddings:
    """True maps of a simulated dataset's scenes, as a target that the brain is decoded into.

    Parameters
    ----------
    folder : path
        Of the prepared dataset.
    dataset : NeuralDataset
        Read from it.
    of : ``"depth"`` or ``"silhouette"``
        How near everything is (larger objects are nearer), or what objects cover.
    side : int
        Pixels a side, a divisor of 64.

    Returns
    -------
    Embeddings
        (n, 1, side * side) in [0, 1], of the space ``"<of>/<side>x<side>/simulated"``. For photographs: the targets
        `depth` and `silhouette`.
    """
    render = checks.known_key("map", of, MAPS)
    checks.one_of("side", side, (4, 8, 16, 32, 64))
    drawn = scenes.scenes_of(folder)
    checks.same_length("stimulus", scenes=drawn, ids=dataset.stimuli.ids)
    n = rendering.IMAGE_SIZE // side
    whole = np.stack([render(scene) for scene in drawn])
    values = whole.reshape(-1, side, n, side, n).mean((2, 4)).reshape(len(drawn), 1, side * side)
    ids, identity = tuple(dataset.stimuli.ids), {"target": of, "of": "simulated scenes", "side": side}
    told = store.content_hash(values=values, ids=list(ids))
    return Embeddings(ids, values, f"{of}/{side}x{side}/simulated", identity, told)


def as_maps(values: np.ndarray) -> np.ndarray:
    """Decoded maps (n, 1, side * side) as `Guides.control` takes them: float32 (n, side, side) in [0, 1]."""
    side = round(values.shape[2] ** 0.5)
    return np.clip(values.reshape(-1, side, side), 0, 1).astype(np.float32)


def map_scores(
    predict: Maps, nulls: Sequence[Maps], recipe: Any, dataset: NeuralDataset, true: Embeddings, name: str
) -> tuple[list[Score], dict[str, np.ndarray]]:
    """How well decoded maps correlate with true ones, beside refits on permuted pairs.

    Parameters
    ----------
    predict : callable
        ``predict(signal key, ids)``: decoded maps of these test stimuli.
    nulls : sequence of callable
        The same of decoders fitted to permuted pairs.
    true : Embeddings
        From `scene_maps`, or of a target `depth` or `silhouette`.
    name : str
        What the score is called, e.g. ``"depth_correlation"``.

    Returns
    -------
    tuple of (list of Score, dict of str to ndarray)
        Decoded maps by signal key, (n, side, side), of the test stimuli sorted by name.
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    metric = metric_table()["pixel_correlation"]
    measured: dict[str, dict[str, dict[str, Measured]]] = {"braindec": {}, "shuffled": {}}
    null, made, ids = {}, {}, {}
    for key in test.keys:
        ids[key] = tuple(sorted(set(test.trials[key].table["stimulus_id"].tolist())))
        shown = _as_grey(true.of(ids[key]))
        found = [one(key, ids[key]) for one in (predict, *nulls)]
        made[key] = as_maps(found[0])
        for system, values in zip(measured, found):
            draw = seeding.numpy_generator(recipe.seed, "maps", key)
            one = measured_pictures(metric, shown, _as_grey(values), draw)
            measured[system][key] = {name: _called(one, name)}
        null[key] = {name: np.array([metric.value(shown, _as_grey(v)) for v in found[1:]])}
    scores = [
        row
        for system, by_key in measured.items()
        for row in scores_of(Judged(system, {}, by_key, null, sample_names=ids), protocol)
    ]
    return scores, made


def _as_grey(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(as_maps(values))[:, None].expand(-1, 3, -1, -1)


def _called(measured: Measured, name: str) -> Measured:
    return replace(measured, name=name)


def own_pixels(decoder: BrainDecoder) -> str | None:
    """Name of the decoder's own output of pixels, where it has one."""
    return next((name for name, info in decoder.outputs.items() if info.space.startswith(SPACE)), None)


def ridge_to_pixels(recipe: Any, training: NeuralDataset) -> Any:
    """Ridge from the recipe's signals to small colour pictures; a `systems.System`."""
    module = registry.load("targets", "pixels")
    target = module.build(module.Config(height=SIDE, width=SIDE, colour="rgb"))
    ids = tuple(training.stimulus_ids)
    values = target.embed_images(training.stimuli.images(ids))
    known = Embeddings(
        ids, values, target.space, target.identity(), store.content_hash(values=values, ids=list(ids))
    )
    return RidgeFitter(signal_features(recipe.preprocessing))(training, known, recipe.seed)


def in_order(found: Prediction, names: Sequence[str]) -> np.ndarray:
    """Predicted values of these stimuli."""
    row = {name: i for i, name in enumerate(found.ids)}
    return found.values[[row[name] for name in names]]


def as_pictures(values: np.ndarray, space: str, size: Sequence[int]) -> np.ndarray:
    """Decoded pixel vectors (n, 1, height * width * channels) as uint8 pictures (n, *size, 3), smoothly enlarged."""
    _, shape, colour = space.split("/")
    height, width = (int(v) for v in shape.split("x"))
    channels = 3 if colour == "rgb" else 1
    small = torch.from_numpy(np.asarray(values, np.float32)).reshape(-1, height, width, channels)
    large = interpolate(small.permute(0, 3, 1, 2), tuple(size), mode="bilinear", align_corners=False)
    rgb = large.clamp(0, 1).expand(-1, 3, -1, -1)
    return (rgb * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
