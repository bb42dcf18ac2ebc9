"""Low-level pictures: what a decoder says of pixels, at the pictures' size; some papers mix them into refined ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from braindec import registry, store
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.types import Embeddings

SIDE = 16  # pixels a side that ridge decodes where the decoder has no output of pixels
SPACE = "pixels/"  # how the name of their space begins: pixels/<height>x<width>/<colour>


def low_level_pictures(
    decoder: BrainDecoder,
    recipe: Any,
    training: NeuralDataset,
    test: NeuralDataset,
    ids: Mapping[str, Sequence[str]],
) -> dict[str, np.ndarray]:
    """Decoded pixels of test stimuli, by signal key.

    The decoder's own output of pixels where it has one; else closed-form ridge, fitted on the training part, from the
    same signals to blurred pictures of 16 x 16 pixels.

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
        out[key] = as_pictures(in_order(found, names), space, shown.shape[1:3])
    return out


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
