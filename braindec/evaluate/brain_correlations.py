"""Would the decoded pictures evoke the responses that were measured? Asked of an encoding model that is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder import average_groups, group_repeats, steps_for
from braindec.decoder.fitting import ALPHAS, group_folds
from braindec.decoder.rows import applied, fitted_on
from braindec.evaluate.measures import metric_table, protocol_named
from braindec.evaluate.pictures import measured_pictures
from braindec.evaluate.reconstructions import Gallery, Reconstructions
from braindec.evaluate.scoring import Judged, scores_of
from braindec.maths import ridge
from braindec.metrics._circularity import family
from braindec.types import Score, Trials

METRIC = "brain_correlation"
SYSTEMS = ("braindec", "shuffled")
Encode = Callable[
    [np.ndarray], np.ndarray
]  # pictures uint8 (n, height, width, 3) -> responses (n, n_features)


def ridge_encoding(recipe: Any, training: NeuralDataset, key: str, network: Any) -> Encode:
    """An encoding model of one subject: ridge from what a network sees in a picture to its mean response.

    Parameters
    ----------
    recipe : Recipe
        Its preprocessing is fitted on the training trials; responses are in its units.
    training : NeuralDataset
        With pictures; nothing else is seen.
    key : str
        Signal key.
    network : ImageTarget
        Of another family than the decoder's target, which would judge itself.

    Raises
    ------
    ConfigError
        If the network is of the family of the recipe's target.
    """
    target = type(recipe.target).__module__.rpartition(".")[2]
    if family(network.name) == family(target):
        raise checks.ConfigError(
            f"{network.name} is of the family of {target}, into which the brain is decoded: pictures made to please it "
            "please it. Give the encoding model another network, e.g. pixels."
        )
    trials = training.trials[key]
    fitted = steps_for(recipe.preprocessing, trials.modality).fit(trials)
    y, ids = mean_responses(trials, fitted)
    x = torch.from_numpy(network.embed_images(training.stimuli.images(ids))).flatten(1)
    folds = group_folds(tuple(ids), 5, seeding.torch_generator(recipe.seed, "encoding model", key))
    found = ridge.fit_ridge(x, torch.from_numpy(y), ALPHAS, folds, score="correlation")

    def encode(pictures: np.ndarray) -> np.ndarray:
        return ridge.ridge_predict(torch.from_numpy(network.embed_images(pictures)).flatten(1), found).numpy()

    return encode


def ridge_encoders(
    recipe: Any, training: NeuralDataset, network: Any, modality: str = "fmri"
) -> dict[str, Encode]:
    """`ridge_encoding` of every subject of one modality, by signal key."""
    keys = [key for key, trials in training.trials.items() if trials.modality == modality]
    return {key: ridge_encoding(recipe, training, key, network) for key in keys}


def brain_correlations(
    drawn: Reconstructions, recipe: Any, dataset: NeuralDataset, encoders: Mapping[str, Encode]
) -> list[Score]:
    """Correlation of measured responses and those that encoding models expect of decoded pictures.

    Parameters
    ----------
    drawn : Reconstructions
    recipe : Recipe
    dataset : NeuralDataset
        Whole: preprocessing is fitted on its train part, responses are its test part's, averaged over repeats.
    encoders : mapping of signal key to callable
        Encoding models fitted on training data, e.g. of `ridge_encoding`; subjects without one are left out.

    Returns
    -------
    list of Score
        Of the decoder and of that of shuffled pairs. Chance: the same pictures held against other items' responses.
        Details: what the presented pictures and those of the oracle embedding reach through the same encoding model
        (which is no ceiling of a decoder's pictures), and values of regions.
    """
    protocol, metric = protocol_named(recipe.protocol), metric_table()[METRIC]
    training, test = dataset.part("train"), dataset.part("test")
    rows: list[Score] = []
    for system in SYSTEMS:
        measured = {}
        for key, encode in encoders.items():
            gallery = drawn.galleries[key]
            true = torch.from_numpy(_responses_of(gallery, recipe, training.trials[key], test.trials[key]))
            made = torch.from_numpy(encode(gallery.pictures[system]))
            generator = seeding.numpy_generator(recipe.seed, METRIC, system, key)
            found = measured_pictures(metric, true, made, generator)
            told = {
                "encoding model, presented pictures": metric.value(true, _made(encode, gallery.presented)),
                "encoding model, oracle embedding": metric.value(
                    true, _made(encode, gallery.pictures["oracle"])
                ),
                "regions": _by_region(test.trials[key], true, made),
            }
            measured[key] = {METRIC: replace(found, details=told)}
        names = {key: drawn.galleries[key].ids for key in measured}
        rows += scores_of(Judged(system, {}, measured, sample_names=names), protocol)
    return [row for row in rows if row.name == METRIC]


def _made(encode: Encode, pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(encode(pictures))


def _by_region(trials: Trials, true: torch.Tensor, made: torch.Tensor) -> dict[str, float]:
    """Values within the voxels of each region that has at least two; preprocessing must have kept all of them."""
    if true.shape[1] != trials.space.n_features:
        return {}
    metric = metric_table()[METRIC]
    regions = {name: torch.from_numpy(np.asarray(kept)) for name, kept in trials.space.regions.items()}
    sizes = {name: int(true[:, kept].shape[1]) for name, kept in regions.items()}
    return {n: metric.value(true[:, v], made[:, v]) for n, v in regions.items() if sizes[n] > 1}


def _responses_of(gallery: Gallery, recipe: Any, training: Trials, tested: Trials) -> np.ndarray:
    """Mean responses to a gallery's stimuli, in its order, (n, n_features)."""
    fitted = fitted_on(steps_for(recipe.preprocessing, training.modality), training)
    values, ids = mean_responses(tested, fitted)
    row = {name: i for i, name in enumerate(ids)}
    return values[[row[name] for name in gallery.ids]]


def mean_responses(trials: Trials, fitted: FittedPreprocessing) -> tuple[np.ndarray, list[str]]:
    """(preprocessed responses averaged over repeats, flattened (n_stimuli, n_features); their stimulus ids)."""
    group, first = group_repeats(trials.table["stimulus_id"])
    signals = applied(fitted, trials).reshape(trials.n_trials, -1)
    return average_groups(signals, group, len(first)), trials.table["stimulus_id"][first].tolist()
