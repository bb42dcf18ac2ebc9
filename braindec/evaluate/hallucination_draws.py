"""Embeddings drawn given a brain and without one, for stimuli to calibrate on and for stimuli to judge."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.decoder.held_out import HeldOut
from braindec.decoder.prediction import Repeats
from braindec.evaluate.hallucination import SETTINGS, Gauge, Reading, Settings, calibrate, judge
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.evaluate.saved import seen_trials
from braindec.types import Embeddings, Table

ASIDE = "calibration"  # part of a split whose stimuli nothing is fitted on: the meter is calibrated on them
N_MAPS = 5  # parts of the hidden stimuli, each mapped by a map of all other stimuli


class Draws(NamedTuple):
    """Stimuli and what was drawn given their brains: (n_samples, n, n_tokens, n_dims)."""

    ids: tuple[str, ...]
    values: np.ndarray


def meter(
    decoder: BrainDecoder,
    attributes: Sequence[Attribute],
    embeddings: Embeddings,
    *,
    aside: NeuralDataset | None = None,
    repeats: Repeats = "after",
    settings: Settings = SETTINGS,
    seed: int = 0,
) -> dict[str, tuple[Gauge, ...]]:
    """Calibrated gauges of every subject of a fitted decoder, by signal key.

    Parameters
    ----------
    decoder : BrainDecoder
        Without `aside`, fitted here in two folds or more: it holds what it predicted out of fold.
    attributes : sequence of Attribute
        Whose readouts were fitted on training stimuli.
    embeddings : Embeddings
        Of the training stimuli: they stand for the prior where the decoder has none that can be drawn from.
    aside : NeuralDataset, optional
        Trials of stimuli that neither the decoder nor the readouts were fitted on, and that are not judged. They then
        pass the very decoder that the judged ones pass, and sets hold the truth as often as they say. Without, training
        stimuli are predicted out of fold, by encoders of fewer stimuli: sets come out somewhat too large.
    repeats : ``"none"``, ``"before"`` or ``"after"``
        Where repeats in `aside` are averaged: as in what is judged.
    """
    if aside is None:
        drawn = calibration_draws(decoder, settings, seed)
    else:
        drawn = aside_draws(decoder, aside, repeats, settings, seed)
    spare = sorted({i for found in drawn.values() for i in found.ids})
    prior = prior_draws(decoder, embeddings, settings.n_prior, seed, spare)
    return {
        key: calibrate(attributes, found.ids, found.values, prior, settings=settings, seed=seed)
        for key, found in drawn.items()
    }


def judged(
    decoder: BrainDecoder,
    gauges: Mapping[str, Sequence[Gauge]],
    prediction: Prediction,
    pictures: np.ndarray | None = None,
    *,
    settings: Settings = SETTINGS,
    seed: int = 0,
) -> tuple[Reading, ...]:
    """Readings of what a decoder predicts for one subject's trials.

    Parameters
    ----------
    gauges : mapping of str to sequence of Gauge
        From `meter`.
    prediction : Prediction
    pictures : ndarray, shape (n, n_tokens, n_dims), optional
        Embeddings of the pictures that are shown.
    """
    own = checks.known_key("subject", prediction.key, gauges)
    draws = decoder.imagine(prediction, seed=seed, n_samples=settings.n_samples)
    return judge(own, draws, pictures)


def prior_draws(
    decoder: BrainDecoder, embeddings: Embeddings, n: int, seed: int, spare: Sequence[str] = ()
) -> np.ndarray:
    """What is likely without any brain, (n, n_tokens, n_dims).

    Samples of the prior; where there is none, or one that knows no spread, training stimuli drawn at random, or of
    those in `spare` where the decoder does not hold its training stimuli.
    """
    if decoder.prior is not None and not decoder.prior.closed_form:
        return decoder.imagine_nothing(n, seed=seed)
    known = sorted({i for held in decoder.held_out.values() for i in held.ids}) or list(spare)
    rows = seeding.numpy_generator(seed, "prior draws").integers(len(known), size=n)
    return embeddings.of([known[i] for i in rows])


def aside_of(dataset: NeuralDataset) -> NeuralDataset | None:
    """The stimuli that a split sets aside for the meter, in its part ``calibration``; None where there are none."""
    if dataset.split is None or ASIDE not in dataset.split.parts:
        return None
    return dataset.part(ASIDE)


def aside_draws(
    decoder: BrainDecoder,
    aside: NeuralDataset,
    repeats: Repeats = "after",
    settings: Settings = SETTINGS,
    seed: int = 0,
) -> dict[str, Draws]:
    """Draws for stimuli that were set aside before anything was fitted, by signal key.

    Raises
    ------
    LeakageError
        If the decoder was fitted on some of their trials, or does not say on which it was.
    """
    shared = {key: seen for key, seen in seen_trials(decoder, aside).items() if seen.n_seen}
    if shared:
        said = ", ".join(f"{seen.n_seen} of {seen.n_trials} trials of {key}" for key, seen in shared.items())
        raise checks.LeakageError(
            f"the decoder was fitted on {said} that were to calibrate it: sets would come out too small. Set stimuli "
            "aside before it is fitted."
        )
    own = seeding.derive(seed, "aside")  # other noise than that of the pictures that are judged
    found = {}
    for key, trials in aside.trials.items():
        prediction = decoder.predict(trials, repeats=repeats)
        found[key] = Draws(
            prediction.ids, decoder.imagine(prediction, seed=own, n_samples=settings.n_samples)
        )
    return found


def calibration_draws(
    decoder: BrainDecoder, settings: Settings = SETTINGS, seed: int = 0
) -> dict[str, Draws]:
    """Draws for training stimuli that neither encoder, calibration nor prior saw, by signal key.

    Encoders: every stimulus is predicted by the one of its fold. The prior: stimuli that its training held out; one
    that is solved at once is solved again without each part of the stimuli. The map to embeddings is fitted again
    without the stimuli that are drawn: part by part, as a map of many fewer stimuli would be worse than the one that
    test stimuli meet, and sets too large.

    Raises
    ------
    ValueError
        If the decoder kept nothing that it predicted out of fold.
    """
    if not decoder.held_out:
        raise ValueError(
            "this decoder holds no out-of-fold predictions to calibrate on: fit it here with n_folds of at least 2 "
            "(they are not saved, and not kept above 64 MB), or name trials that it was not fitted on (aside)."
        )
    parts: dict[str, list[Draws]] = {}
    for number, hidden in enumerate(_hidden(decoder, settings.n_folds, seed)):
        kept = {key: _mapped(decoder, key, held, hidden[key]) for key, held in decoder.held_out.items()}
        prior = _prior_without(decoder, kept, hidden)
        for key, held in decoder.held_out.items():
            rows = np.flatnonzero(hidden[key])
            ids = tuple(held.ids[i] for i in rows)
            told = {name: further[rows] for name, further in held.told.items()}
            values = _draw(decoder, prior, key, ids, kept[key][rows], told, settings.n_samples, seed, number)
            parts.setdefault(key, []).append(Draws(ids, values))
    return {
        key: Draws(tuple(i for d in found for i in d.ids), np.concatenate([d.values for d in found], axis=1))
        for key, found in parts.items()
    }


def _hidden(decoder: BrainDecoder, n_folds: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """Which rows of each subject are drawn from models that are fitted without them; a part at a time."""
    held = decoder.held_out
    if decoder.prior is not None and not decoder.prior.closed_form:
        yield {key: h.unseen for key, h in held.items()}
        return
    ids = sorted({i for h in held.values() for i in h.ids})
    fold = dict(zip(ids, seeding.numpy_generator(seed, "folds").permutation(len(ids)) % n_folds, strict=True))
    for number in range(n_folds):
        yield {key: np.array([fold[i] == number for i in h.ids]) for key, h in held.items()}


@torch.no_grad()
def _mapped(decoder: BrainDecoder, key: str, held: HeldOut, hidden: np.ndarray) -> Tensor:
    """Centred embeddings of all rows: those that are not hidden by a map fitted on them alone, hidden ones by maps
    that were fitted without each part of them."""
    if key not in decoder.calibrations:
        return decoder.finished(key, held.raw)
    found = _by_map(decoder, key, held, hidden)
    rows = np.flatnonzero(hidden)
    if decoder.prior is not None and decoder.prior.closed_form:
        return found  # a part already, of a prior that is solved on the others
    for part in np.array_split(rows, min(N_MAPS, len(rows))):
        mask = np.zeros(len(hidden), dtype=bool)
        mask[part] = True
        found[part] = _by_map(decoder, key, held, mask)[part]
    return found


def _by_map(decoder: BrainDecoder, key: str, held: HeldOut, hidden: np.ndarray) -> Tensor:
    kept, raw = torch.from_numpy(~hidden), held.raw.flatten(1)
    new = copy.deepcopy(decoder.calibration(key)).cpu().refitted(raw[kept], held.truth.flatten(1)[kept])
    mapped: Tensor = new(raw).reshape(held.raw.shape)
    return mapped


@torch.no_grad()
def _prior_without(
    decoder: BrainDecoder, mapped: Mapping[str, Tensor], hidden: Mapping[str, np.ndarray]
) -> torch.nn.Module | None:
    """A prior that is solved at once, solved without the hidden rows; None where the decoder's own can be asked."""
    if decoder.prior is None or not decoder.prior.closed_form:
        return None
    kept = {key: torch.from_numpy(~hidden[key]) for key in mapped}
    brain = torch.cat([mapped[key][rows] for key, rows in kept.items()])
    image = torch.cat([decoder.held_out[key].truth[rows] for key, rows in kept.items()])
    prior = copy.deepcopy(decoder.prior).cpu()
    held = [(decoder.held_out[key].told, rows) for key, rows in kept.items()]
    told = {name: torch.cat([one[name][rows] for one, rows in held]) for name in decoder.settings.prior_told}
    prior.start_(decoder.condition(brain), image, told)
    return prior


@torch.no_grad()
def _draw(
    decoder: BrainDecoder, prior: Any, key: str, ids: tuple[str, ...], centred: Tensor,
    told: Mapping[str, Tensor], n_samples: int, seed: int, part: int,
) -> np.ndarray:  # fmt: skip
    scaler = copy.deepcopy(decoder.scaler(decoder.main)).cpu()
    if prior is not None:
        generator = seeding.torch_generator(seed, "prior", part)
        condition = decoder.condition(centred)
        drawn = prior.sample(condition, generator=generator, n_samples=n_samples, told=told)
        return scaler.restore(drawn).numpy()
    values = scaler.restore(centred).numpy()
    table = Table({"stimulus_id": np.array(ids)})
    others = {n: copy.deepcopy(decoder.scaler(n)).cpu().restore(v).numpy() for n, v in told.items()}
    prediction = Prediction(ids, values, table, np.ones(len(ids), dtype=int), key, others)
    return decoder.imagine(prediction, seed=seed, n_samples=n_samples)
