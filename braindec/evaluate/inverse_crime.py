"""How much a simulated brain flatters a decoder when it is built from the decoder's own target."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from braindec.data import NeuralDataset, catalogue
from braindec.evaluate.decoded import cross_decode
from braindec.evaluate.measures import measure, protocol_named
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.types import Embeddings

WORLD = "world_inverse_crime.json"


def inflation(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, key: str, metric: str, world: str = WORLD
) -> tuple[float, float]:
    """(value in the dataset, value in its inverse-crime twin) of a closed-form ridge decoder of one subject.

    The twin has the same scenes, trials and noise, and a brain built from the target's own embedding.
    """
    simulated = catalogue.load("simulated")
    with tempfile.TemporaryDirectory(prefix="braindec-") as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        simulated["synthetic"](raw, world=catalogue.folder("simulated") / world)
        simulated["prepare"](raw, prepared)
        twin = NeuralDataset.read(prepared)
        easy = _ridge(recipe, twin, recipe.embed(twin, prepared, progress=False), key, metric)
    return _ridge(recipe, dataset.select(keys=[key]), embeddings, key, metric), easy


def _ridge(recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, key: str, metric: str) -> float:
    protocol = protocol_named(recipe.protocol)
    fit = RidgeFitter(signal_features(recipe.preprocessing))
    splits = [dataset.split] if dataset.split is not None else []
    decoded = cross_decode(fit, dataset, embeddings, splits, protocol, recipe.seed)[key]
    return measure(decoded, protocol, None, np.random.default_rng(0), (metric,))[metric].value
