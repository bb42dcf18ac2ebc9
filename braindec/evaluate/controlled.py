"""Pictures steered by a brain's own control branch, beside the same generator without it and from shuffled pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, control_branch, rows
from braindec.evaluate import compared_pictures
from braindec.evaluate.compared_pictures import Compared, differences, scores
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.pictures import first, measure_pictures, picture_values
from braindec.generators import Generator, Guides, _control, brain_control
from braindec.train import Config as Train
from braindec.types import Score, Trials

Read = Literal["adapter", "output", "signal"]
ROWS = {"steered": "with the branch", "plain": "without it", "shuffled": "shuffled brain"}


@dataclass(frozen=True)
class Settings:
    """How the branch is trained, and what it reads.

    Parameters
    ----------
    read : {"adapter", "output", "signal"}
        What subjects' adapters make of a trial: one branch for all subjects. A further output of the decoder, named in
        `output`: likewise. Or the preprocessed signal itself: a branch a subject.
    output : str
    n_images : int
        Test stimuli of each subject at most.
    train : train.Config
    branch : _control.Config
    scale : float
        Of what the branch adds.
    """

    read: Read = "adapter"
    output: str = ""
    n_images: int = 30
    train: Train = field(
        default_factory=lambda: Train(n_steps=400, batch_size=16, lr=1e-2, validate_every=100)
    )
    branch: _control.Config = field(default_factory=_control.Config)
    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.one_of("read", self.read, ("adapter", "output", "signal"))
        checks.at_least("n_images", self.n_images, 1)


def controlled(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    settings: Settings,
) -> tuple[dict[str, Compared], tuple[Score, ...], tuple[dict[str, Any], ...]]:
    """Pictures by signal key, their scores, and what the branch adds to the same generator, paired over pictures.

    The branch is trained on training stimuli with the embeddings that were predicted of them out of fold. Its null is a
    decoder of shuffled stimuli with a branch that was trained on shuffled pictures.

    Parameters
    ----------
    decoder : BrainDecoder
        Just fitted: it still knows its out-of-fold predictions.
    nulls : sequence of BrainDecoder
        The same fitted to permuted stimuli.
    recipe : Recipe
        Its generator and protocol.
    dataset : NeuralDataset
        Whole, with the split in use.
    settings : Settings
    """
    training, test, protocol = dataset.part("train"), dataset.part("test"), protocol_named(recipe.protocol)
    base = recipe.build_generator()
    stake = {"target": decoder.outputs[decoder.main].space, "generator": base.space}
    steered = _steered(decoder, training, base, settings, recipe.seed, None)
    others = [_steered(one, training, base, settings, recipe.seed, i) for i, one in enumerate(nulls)]
    found: dict[str, Compared] = {}
    null: dict[str, dict[str, np.ndarray]] = {}
    gains: list[dict[str, Any]] = []
    for key in test.keys:
        trials = test.trials[key]
        ids = first(decoder.predict(trials, repeats=protocol.repeats), settings.n_images).ids
        drawn = {
            "steered": _pictures(decoder, steered[key], trials, ids, protocol, settings, recipe.seed),
            "plain": _pictures(decoder, base, trials, ids, protocol, settings, recipe.seed),
        }
        of_nulls = [
            _pictures(one, made[key], trials, ids, protocol, settings, recipe.seed)
            for one, made in zip(nulls, others)
        ]
        drawn["shuffled"] = of_nulls[0]
        presented = test.stimuli.images(ids)
        draw = seeding.numpy_generator(recipe.seed, "controlled", key)
        measured = {
            name: measure_pictures(presented, made, protocol, draw, stake) for name, made in drawn.items()
        }
        values = [picture_values(presented, made, protocol, stake) for made in of_nulls]
        null[key] = {name: np.array([v[name] for v in values]) for name in measured["steered"]}
        found[key] = Compared(ids, presented, drawn, measured)
        gains += differences(
            found[key],
            key,
            recipe.seed,
            ("steered", ROWS["steered"]),
            ("plain", ROWS["plain"]),
            ("steered", key),
        )
    return found, scores(found, null, protocol, "steered"), tuple(gains)


def panels(found: Mapping[str, Compared], n: int = 10) -> list[tuple[str, str, dict[str, Any]]]:
    """A table of all scores, and pictures by row for each subject."""
    grid = "the generator steered by the brain"
    return compared_pictures.panels(found, ROWS, "Pictures, steered or not", grid, n)


def features(decoder: BrainDecoder, trials: Trials, ids: Sequence[str], settings: Settings) -> np.ndarray:
    """What a branch reads of these stimuli, their trials averaged: float32 (n, n_features)."""
    if settings.read == "adapter":
        values = decoder.activations(f"adapters.{trials.key}", trials)
    elif settings.read == "output":
        values = decoder.predict(trials, output=settings.output).values
    else:
        values = np.asarray(rows.applied(decoder.preprocessing[trials.key], trials))
    values = values.reshape(len(values), -1)
    shown = np.asarray(trials.table["stimulus_id"])
    return np.stack([values[shown == one].mean(0) for one in ids]).astype(np.float32)


def _steered(
    decoder: BrainDecoder,
    training: NeuralDataset,
    base: Any,
    settings: Settings,
    seed: int,
    shuffled: int | None,
) -> dict[str, Generator]:
    """By signal key the generator with a branch; `shuffled` numbers the permutation of the pictures."""
    parts = {key: _training_rows(decoder, training.trials[key], settings, key) for key in training.keys}
    groups = [[key] for key in parts] if settings.read == "signal" else [list(parts)]
    made: dict[str, Generator] = {}
    for group in groups:
        ids = [name for key in group for name in parts[key][0]]
        shown = _permuted(ids, seed, shuffled)
        branch = control_branch.fit(
            base, np.concatenate([parts[key][1] for key in group]), np.concatenate([parts[key][2] for key in group]),
            training.stimuli.images(shown), settings.train, ids=ids, config=settings.branch, seed=seed,
        )  # fmt: skip
        steered = brain_control.build(brain_control.Config(settings.scale), base, branch)
        made |= dict.fromkeys(group, steered)
    return made


def _training_rows(
    decoder: BrainDecoder, trials: Trials, settings: Settings, key: str
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Stimuli, what a branch reads of them, and the embeddings that were predicted of them out of fold."""
    if key not in decoder.held_out:
        raise checks.ConfigError(
            "a branch is trained on out-of-fold predictions, and this decoder has none; set n_folds to 2 or more, and "
            "give the decoder that was just fitted."
        )
    held = decoder.held_out[key]
    with torch.no_grad():
        told = decoder.scaler(decoder.main).restore(decoder.finished(key, held.raw)).cpu().numpy()
    return held.ids, features(decoder, trials, held.ids, settings), told


def _permuted(ids: list[str], seed: int, shuffled: int | None) -> list[str]:
    """The stimuli themselves, or each one's partner in a permutation of all."""
    if shuffled is None:
        return ids
    unique = sorted(set(ids))
    partner = dict(
        zip(unique, seeding.numpy_generator(seed, "controlled null", shuffled).permutation(unique))
    )
    return [str(partner[name]) for name in ids]


def _pictures(
    decoder: BrainDecoder,
    generator: Generator,
    trials: Trials,
    ids: tuple[str, ...],
    protocol: Any,
    settings: Settings,
    seed: int,
) -> np.ndarray:
    """uint8 (n, height, width, 3); the noise depends on the seed alone."""
    prediction = first(decoder.predict(trials, repeats=protocol.repeats), len(ids))
    guides = Guides()
    if "brain" in generator.takes:
        guides = Guides(brain=features(decoder, trials, prediction.ids, settings))
    return generator.generate(
        decoder.image_embedding(prediction, seed=seed),
        generator=seeding.torch_generator(seed, "picture"),
        guides=guides,
    )
