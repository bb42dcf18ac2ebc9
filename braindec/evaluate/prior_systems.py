"""Stimuli decoded through a prior, judged beside the same decoder without it and beside closed-form ridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import seeding
from braindec.data import NeuralDataset, Split
from braindec.decoder import BrainDecoder, Direction, Prediction, Repeats, versions
from braindec.evaluate.audit import audited
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.rules import training_rules
from braindec.evaluate.scoring import Judged, compare, judge, scores_of
from braindec.evaluate.systems import Fitter, RidgeFitter, System, signal_features
from braindec.evaluate.whole import Evaluation, Plan
from braindec.maths import nearest
from braindec.metrics.identification import correlations
from braindec.stats.paired import paired_difference
from braindec.types import Embeddings

# System of a score -> what it is here.
NAMES = {
    "braindec": "mean draw of the prior",
    "contender": "the same decoder without its prior",
    "ridge": "closed-form ridge, tuned in training",
    "shuffled": "mean draw of the prior, shuffled pairs",
}


@dataclass(frozen=True, eq=False)
class MeanDraw:
    """What a decoder's prior draws, averaged; candidates are compared by the cosine about the training mean."""

    decoder: BrainDecoder

    def predict(self, trials: Any, *, repeats: Repeats) -> Prediction:
        """Mean of ``settings.prior_samples`` draws, (n, n_tokens, n_dims)."""
        prediction = self.decoder.predict(trials, repeats=repeats)
        settings = self.decoder.settings
        drawn = self.decoder.imagine(prediction, seed=settings.seed, n_samples=settings.prior_samples)
        return replace(prediction, values=drawn.mean(0))

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """Cosine, in both directions."""
        query, gallery = (self.decoder.centred(values) for values in (prediction.values, candidates))
        return nearest.similarity(query, gallery)


def through_prior(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split],
    *,
    plan: Plan | None = None,
    label_column: str | None = None,
) -> Evaluation:
    """Judges a recipe's decoder and prior on several folds by its protocol; the prior learns from train parts alone.

    Parameters
    ----------
    recipe : Recipe
        With a prior.
    dataset : NeuralDataset
        Whole; every fold takes its own parts.
    embeddings : Embeddings
    folds : sequence of Split
    plan : Plan, optional
    label_column : str, optional
        Column with each trial's class.

    Returns
    -------
    Evaluation
        Systems as in `NAMES`. Comparisons are paired over stimuli: the protocol's metrics, the correlation of each
        decoded embedding with the true one, and the share of its variance that is missed (lower is better), each
        about the training mean. Where both systems were refitted on the same permuted pairings, ``null`` has the
        difference of each refit.
    """
    plan = plan or Plan()
    protocol = protocol_named(recipe.protocol)
    audit = audited(recipe, dataset, embeddings, folds, label_column=label_column)
    exam = Exam(
        in_memory(dataset), embeddings, folds, protocol, recipe.seed, label_column, plan.n_jobs, plan.progress
    )
    fitted: list[BrainDecoder] = []

    def fit(part: NeuralDataset, told: Embeddings, seed: int) -> System:
        decoder = BrainDecoder.build(recipe, part.info, told.info).fit(part, told, progress=False)
        fitted.append(decoder)
        return MeanDraw(decoder)

    def fit_shuffled(part: NeuralDataset, told: Embeddings, seed: int) -> System:
        return fit(permuted(part, seeding.numpy_generator(seed, "shuffled"), protocol), told, seed)

    judged = {"braindec": judge("braindec", fit, exam, plan.n_null)}
    own = iter(
        fitted[: len(folds)]
    )  # of the folds themselves, in their order; refits of the null come behind them
    others: dict[str, tuple[Fitter, int]] = {
        "contender": (lambda *_: next(own), 0),
        "ridge": (RidgeFitter(signal_features(recipe.preprocessing)), plan.n_null_baselines),
        "shuffled": (fit_shuffled, 0),
    }
    judged |= {name: judge(name, one, exam, n) for name, (one, n) in others.items()}
    null = judged["braindec"].null
    scores = [
        s
        for name, j in judged.items()
        for s in scores_of(j, protocol, details={"is": NAMES[name]}, null=None if name == "ridge" else null)
    ]
    rows = [
        row
        for other in ("ridge", "contender")
        for row in (
            *(r for metric in protocol.metrics
              for r in _with_null(judged["braindec"], judged[other], metric, recipe.seed)),
            *_closeness(judged["braindec"], judged[other], recipe.seed),
        )
    ]  # fmt: skip
    record = {"dataset": dataset.identity(), "folds": [split.name for split in folds], "audit": audit.to_json(),
              "rules": training_rules(recipe, dataset, folds), "versions": versions(), "seed": recipe.seed,
              "systems": NAMES}  # fmt: skip
    told = tuple(row | {"a": NAMES[row["a"]], "b": NAMES[row["b"]]} for row in rows)
    return Evaluation(tuple(scores), judged, told, record)


def _with_null(a: Judged, b: Judged, metric: str, seed: int) -> list[dict[str, Any]]:
    """Paired differences of one metric, with those of refits: number for number they were told the same pairing."""
    rows = compare(a, b, metric, seed)
    for row in rows:
        first, second = (j.null.get(row["key"], {}).get(metric, np.empty(0)) for j in (a, b))
        n = min(len(first), len(second))
        row["null"] = (first[:n] - second[:n]).tolist()
    return rows


def _closeness(a: Judged, b: Judged, seed: int) -> list[dict[str, Any]]:
    """Paired differences of correlation and of missed variance, a row a subject and measure."""
    rows = []
    for key, first in a.decoded.items():
        second = b.decoded[key]
        for name in ("correlation", "missed variance"):
            values = [_close(name, d.prediction, d.truth) for d in (first, second)]
            draw = seeding.numpy_generator(seed, "paired", key, name)
            repeated = len(set(first.ids)) < len(first.ids)
            found = paired_difference(
                values[0], values[1], draw, units=np.array(first.ids) if repeated else None
            )
            rows.append({
                "a": a.system, "b": b.system, "metric": name, "key": key, "difference": found.value,
                "interval": [float(found.interval.low), float(found.interval.high)], "p": found.p, "n": found.n,
                "values": [float(v.mean()) for v in values],
            })  # fmt: skip
    return rows


def _close(name: str, prediction: Tensor, truth: Tensor) -> np.ndarray:
    """A value a row, (n,)."""
    if name == "correlation":
        return np.asarray(correlations(truth, prediction).diagonal(), dtype=float)
    missed = (truth - prediction).double().square().sum(1) / truth.double().square().sum(1).mean()
    return np.asarray(torch.as_tensor(missed))
