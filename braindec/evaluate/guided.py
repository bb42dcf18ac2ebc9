"""Low level guided by high level: what the decoded meaning makes expect of latents, and what the signal adds to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, store
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.decoder.fitting import ALPHAS, group_folds
from braindec.evaluate.low_level import drawn_of, in_order
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.pictures import measure_pictures, picture_values
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.systems import RidgeFitter, System, signal_features
from braindec.generators import Guides
from braindec.maths import factors, ridge
from braindec.stats.paired import paired_difference
from braindec.types import Embeddings, Score

ROWS = {
    "low": "low level",
    "expected": "expected from the high level alone",
    "guided": "low level, guided by the high level",
    "high": "high level",
    "both": "high level, from the guided low level",
    "unguided": "high level, from the low level as it is",
}
AGAINST = (("guided", "low"), ("guided", "expected"), ("both", "high"), ("both", "unguided"))


@dataclass(frozen=True, eq=False)
class Guided:
    """Two stages by signal key: embeddings to latents (top down), and signals to what is left (bottom up).

    Parameters
    ----------
    expectation : mapping of str to RidgeFit
    rest : mapping of str to System
    """

    expectation: Mapping[str, ridge.RidgeFit]
    rest: Mapping[str, System]
    shape: tuple[int, int]

    def expected(self, decoder: BrainDecoder, key: str, values: np.ndarray) -> np.ndarray:
        """Latents (n, n_tokens, dim) that decoded embeddings alone make expect."""
        found = ridge.ridge_predict(decoder.centred(values), self.expectation[key]).numpy()
        return found.reshape(-1, *self.shape)

    def added(self, trials: Any, ids: Sequence[str], repeats: Any) -> np.ndarray:
        """What the signal of these test trials adds to that, by stimulus."""
        return in_order(self.rest[trials.key].predict(trials, repeats=repeats), ids)


def fit_guided(decoder: BrainDecoder, recipe: Any, part: NeuralDataset, latents: Embeddings) -> Guided:
    """Both stages, learnt from out-of-fold predictions of the training stimuli: in-sample ones would be trusted.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on `part`, with folds.
    recipe : Recipe
        Its preprocessing and seed.
    part : NeuralDataset
        The pairs that the decoder was fitted to, permuted ones of a null.
    latents : Embeddings
        True ones of the training stimuli.

    Notes
    -----
    Wang et al. 2024, "See Through Their Minds", arXiv:2403.06361, guide a pixel-wise path by high-level perception;
    their code is not published, and this is the closed form of that idea.
    """
    expectation, rest = {}, {}
    for key, trials in part.trials.items():
        held = checks.known_key("out-of-fold predictions (raise n_folds)", key, decoder.held_out)
        x = decoder.finished(key, held.raw).detach().flatten(1)
        y = torch.from_numpy(latents.of(held.ids)).flatten(1)
        folds = group_folds(held.ids, 5, seeding.torch_generator(recipe.seed, "guided", key))
        known = factors.factorise(x, folds)
        expectation[key] = ridge.solve(known, y, ALPHAS)
        # Of stimuli that a map was fitted on it leaves less than of others.
        left = _left(y - ridge.held_out_predictions(known, y, expectation[key].alpha), held.ids, latents)
        one = NeuralDataset.from_trials([trials], part.stimuli, part.split, name=part.name)
        rest[key] = RidgeFitter(signal_features(recipe.preprocessing), score="r2")(one, left, recipe.seed)
    return Guided(expectation, rest, latents.info.shape)


def _left(residual: Tensor, ids: Sequence[str], latents: Embeddings) -> Embeddings:
    """What is left of latents, by stimulus; of one with several predictions, their mean."""
    values = residual.numpy().reshape(-1, *latents.info.shape)
    known = sorted(set(ids))
    row = {name: i for i, name in enumerate(known)}
    where = np.array([row[name] for name in ids])
    total = np.zeros((len(known), *latents.info.shape), np.float32)
    np.add.at(total, where, values)
    mean = total / np.bincount(where, minlength=len(known))[:, None, None]
    told = store.content_hash(values=mean, ids=known)
    return Embeddings(tuple(known), mean.astype(np.float32), f"{latents.space}/left", {}, told)


def guided_pictures(
    decoders: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    latents: Embeddings,
    *,
    output: str,
    n_images: int,
) -> tuple[list[Score], list[dict[str, Any]], list[tuple[str, str, dict[str, Any]]]]:
    """Pictures by path and guidance, their scores, and what guidance adds.

    Parameters
    ----------
    decoders : sequence of BrainDecoder
        The decoder, and those of `fit_nulls`, fitted with folds.
    recipe : Recipe
        Its generator, which can start from a picture.
    dataset : NeuralDataset
        Whole, with the split in use.
    latents : Embeddings
        True ones, of the decoders' `output`.
    output : str
    n_images : int
        Test stimuli of each subject at most, the first ones by name.

    Returns
    -------
    scores, comparisons, panels
        Scores are those of the high level drawn from the guided low level.
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    generator, training = recipe.build_generator(), dataset.part("train")
    paths = []
    for number, decoder in enumerate(decoders):
        pairs = training
        if number:  # the permutation that this null was fitted to
            draw = seeding.numpy_generator(recipe.seed, "null", number - 1)
            pairs = permuted(training, draw, protocol)
        paths.append(fit_guided(decoder, recipe, pairs, latents))
    stake = {"target": decoders[0].outputs[decoders[0].main].space, "generator": generator.space}
    measured: dict[str, dict[str, dict[str, Measured]]] = {}
    null, ids, grids = {}, {}, []
    for key in test.keys:
        trials = test.trials[key]
        ids[key] = tuple(sorted(set(trials.table["stimulus_id"].tolist()))[:n_images])
        presented = test.stimuli.images(ids[key])
        drawn = [
            _drawn(decoder, guided, generator, trials, ids[key], latents.space, output, presented.shape[1:3],
                   recipe.seed, protocol.repeats)
            for decoder, guided in zip(decoders, paths, strict=True)
        ]  # fmt: skip
        shown = drawn[0] | {"shuffled": drawn[1]["both"]}
        measured[key] = {
            name: measure_pictures(
                presented, made, protocol, seeding.numpy_generator(recipe.seed, "guided", key), stake
            )
            for name, made in shown.items()
        }
        values = [picture_values(presented, one["both"], protocol, stake) for one in drawn[1:]]
        null[key] = {m: np.array([v[m] for v in values]) for m in measured[key]["both"]}
        rows = {"presented": presented} | {ROWS[n]: made for n, made in drawn[0].items()}
        grids.append(_grid(key, rows | {"shuffled brain": drawn[1]["both"]}, ids[key]))
    scores: list[Score] = []
    for system, name in (("braindec", "both"), ("shuffled", "shuffled")):
        judged = Judged(system, {}, {k: m[name] for k, m in measured.items()}, null, sample_names=ids)
        scores += scores_of(judged, protocol)
    return scores, _differences(measured, recipe.seed), [_table(measured), *grids]


def _drawn(
    decoder: BrainDecoder, guided: Guided, generator: Any, trials: Any, ids: Sequence[str], space: str, output: str,
    size: Sequence[int], seed: int, repeats: Any,
) -> dict[str, np.ndarray]:  # fmt: skip
    """By path: uint8 (n, height, width, 3)."""
    high = in_order(decoder.predict(trials, repeats=repeats), ids)
    low = in_order(decoder.predict(trials, repeats=repeats, output=output), ids)
    expected = guided.expected(decoder, trials.key, high)
    latents = {"low": low, "expected": expected, "guided": expected + guided.added(trials, ids, repeats)}
    drawn = {name: drawn_of(values, space, size) for name, values in latents.items()}
    for name, start in (("high", None), ("both", drawn["guided"]), ("unguided", drawn["low"])):
        draw = seeding.torch_generator(seed, "picture")
        drawn[name] = generator.generate(high, generator=draw, guides=Guides(low_level=start))
    return drawn


def _differences(measured: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    rows = []
    for key, found in measured.items():
        for a, b in AGAINST:
            for metric, ours in found[a].items():
                draw = seeding.numpy_generator(seed, "guided, paired", key, a, b, metric)
                d = paired_difference(ours.per_sample, found[b][metric].per_sample, draw)
                interval = [float(d.interval.low), float(d.interval.high)]
                rows.append({"a": ROWS[a], "b": ROWS[b], "metric": metric, "key": key, "difference": d.value,
                             "interval": interval, "p": d.p, "n": d.n})  # fmt: skip
    return rows


def _table(measured: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    metrics = list(next(iter(measured.values()))["both"])
    cells = [
        [key.replace("_", " "), ROWS.get(name, name), *(f"{found[name][m].value:.3f}" for m in metrics)]
        for key, found in measured.items()
        for name in (*ROWS, "shuffled")
    ]
    columns = ["subject", "pictures", *(m.replace("_", " ") for m in metrics)]
    return ("Pictures by path", "table", {"columns": columns, "rows": cells})


def _grid(
    key: str, rows: Mapping[str, np.ndarray], ids: Sequence[str], n: int = 10
) -> tuple[str, str, dict[str, Any]]:
    payload = {
        "rows": {name: made[:n] for name, made in rows.items()},
        "captions": list(ids[:n]),
        "caption": "The first test stimuli by name, not chosen.",
    }
    return (f"{key.replace('_', ' ')}: pictures by path", "image_grid", payload)
