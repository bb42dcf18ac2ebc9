"""One brain, several closed-form maps: latents, tokens, embeddings and maps decoded apart, each from its own voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.evaluate.low_level import drawn_of, resized
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.pictures import measure_pictures, picture_values
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.systems import RidgeFitter, System, signal_features
from braindec.types import Embeddings, Score


@dataclass(frozen=True, eq=False)
class Parts:
    """What each map predicts of test trials.

    Parameters
    ----------
    systems : mapping of str to System
        By part: ridge from every subject's signals to that part's target.
    tests : mapping of str to NeuralDataset
        By part: the test trials as that part sees them (all voxels, or those of a region).
    stretch : mapping of str to (mapping of str to ndarray)
        By part and signal key, what predictions are multiplied by about `means`; 1 where they are left as they are.
    means : mapping of str to ndarray
        By part, the training stimuli's mean target.
    repeats : str
        Where repeats are averaged, as the protocol says.
    """

    systems: Mapping[str, System]
    tests: Mapping[str, NeuralDataset]
    stretch: Mapping[str, Mapping[str, np.ndarray]]
    means: Mapping[str, np.ndarray]
    repeats: Any

    def of(self, part: str) -> Callable[[str, Sequence[str]], np.ndarray]:
        """`values` of one part: ``predict(signal key, ids)``."""
        return partial(self.values, part)

    def values(self, part: str, key: str, ids: Sequence[str]) -> np.ndarray:
        """Predicted embeddings (n, n_tokens, dim) of these test stimuli."""
        found = self.systems[part].predict(self.tests[part].trials[key], repeats=self.repeats)
        row = {name: i for i, name in enumerate(found.ids)}
        values = found.values[[row[name] for name in ids]]
        stretch = self.stretch.get(part, {}).get(key)
        return values if stretch is None else self.means[part] + stretch * (values - self.means[part])


def fit_parts(
    recipe: Any,
    data: Mapping[str, NeuralDataset],
    embeddings: Mapping[str, Embeddings],
    n_null: int,
    *,
    restandardised: Sequence[str] = (),
) -> tuple[Parts, list[Parts]]:
    """Ridge to every target, and the same fitted to permuted pairs: one permutation for all parts of a refit.

    Parameters
    ----------
    recipe : Recipe
        Its preprocessing, protocol and seed.
    data : mapping of str to NeuralDataset
        By part, with the split in use; parts may see other regions, and see the same trials.
    embeddings : mapping of str to Embeddings
        By part; further ones are not decoded.
    n_null : int
    restandardised : sequence of str
        Parts whose predictions get, in every dim, the spread that training targets have: regression shrinks towards
        the mean, and a frozen network reads what is shrunk as something else. (Published code takes the spread of the
        test predictions; here it is that of the training stimuli's.)

    Returns
    -------
    tuple of (Parts, list of Parts)
    """
    protocol = protocol_named(recipe.protocol)
    decoded = {name: checks.known_key("part", name, embeddings) for name in data}
    fitters = {name: RidgeFitter(signal_features(recipe.preprocessing)) for name in data}

    def fitted(number: int | None) -> Parts:
        systems, tests, stretch, means = {}, {}, {}, {}
        for name, one in decoded.items():
            training = data[name].part("train")
            if number is not None:
                training = permuted(training, seeding.numpy_generator(recipe.seed, "null", number), protocol)
            systems[name] = fitters[name](training, one, recipe.seed)
            tests[name], means[name] = data[name].part("test"), one.of(training.stimulus_ids).mean(0)
            if name in restandardised:
                made = fitters[name].held_out(systems[name], training, one, recipe.seed)
                stretch[name] = {key: _stretch(values, one.of(ids)) for key, (ids, values) in made.items()}
        return Parts(systems, tests, stretch, means, protocol.repeats)

    return fitted(None), [fitted(number) for number in range(n_null)]


def _stretch(made: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Spread of the training targets by that of their held-out predictions, (n_tokens, dim); at most 10.

    Predictions of rows that were fitted spread more than those of new ones.
    """
    return np.clip(true.std(0) / np.maximum(made.std(0), 1e-8), 0.0, 10.0).astype(np.float32)


def predictors(parts: Parts, nulls: Sequence[Parts], part: str) -> tuple[Any, list[Any]]:
    """What one part, and the same part of every null, predicts: ``predict(signal key, ids)``."""
    return parts.of(part), [one.of(part) for one in nulls]


def decoded_pictures(
    parts: Parts,
    nulls: Sequence[Parts],
    recipe: Any,
    dataset: NeuralDataset,
    latents: Embeddings,
    maps: Mapping[str, np.ndarray],
    *,
    part: str = "low_level",
    n_shown: int = 10,
) -> tuple[list[Score], list[tuple[str, str, dict[str, Any]]]]:
    """Low-level pictures of decoded latents, scored, and shown beside decoded maps.

    Parameters
    ----------
    latents : Embeddings
        True ones, of that part; their space names the autoencoder.
    maps : mapping of str to ndarray
        By signal key, decoded maps (n, side, side) of the test stimuli sorted by name.

    Returns
    -------
    tuple of (list of Score, list of panels)
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    measured: dict[str, dict[str, dict[str, Measured]]] = {"braindec": {}, "shuffled": {}}
    null, ids, grids = {}, {}, []
    for key in test.keys:
        ids[key] = tuple(sorted(set(test.trials[key].table["stimulus_id"].tolist())))
        presented = test.stimuli.images(ids[key])
        size = presented.shape[1:3]
        drawn = [drawn_of(one.values(part, key, ids[key]), latents.space, size) for one in (parts, *nulls)]
        for system, made in zip(measured, drawn):
            draw = seeding.numpy_generator(recipe.seed, "low level", key)
            measured[system][key] = measure_pictures(presented, made, protocol, draw)
        values = [picture_values(presented, made, protocol) for made in drawn[1:]]
        null[key] = {name: np.array([v[name] for v in values]) for name in measured["braindec"][key]}
        true = drawn_of(latents.of(ids[key]), latents.space, size)
        grey = np.repeat((255 * maps[key]).astype(np.uint8)[..., None], 3, axis=3)
        rows = {"presented": presented, "low level": drawn[0], "true latents": true,
                "shuffled brain": drawn[1], "decoded map": resized(grey, size)}  # fmt: skip
        grids.append(_grid(key, {name: made[:n_shown] for name, made in rows.items()}, ids[key][:n_shown]))
    scores = [
        row
        for system, by_key in measured.items()
        for row in scores_of(Judged(system, {}, by_key, null, sample_names=ids), protocol)
    ]
    return scores, grids


def _grid(key: str, rows: Mapping[str, np.ndarray], ids: Sequence[str]) -> tuple[str, str, dict[str, Any]]:
    said = "The first test stimuli by name, not chosen."
    payload = {"rows": dict(rows), "captions": list(ids), "caption": said}
    return (f"{key.replace('_', ' ')}: low level and map", "image_grid", payload)
