"""What gradient steps add to the closed form: three ways to fit one decoder, judged on the same held-out stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import seeding
from braindec.backbones import linear
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.scoring import compare, judge, scores_of
from braindec.evaluate.systems import Fitter, decoder_fitter
from braindec.evaluate.whole import Evaluation
from braindec.types import Embeddings

# System of a score -> what it is here.
NAMES = {
    "ridge": "closed form",
    "braindec": "closed form, then gradient steps",
    "scratch": "gradient steps from random weights",
    "shuffled": "closed form, shuffled stimuli",
}


def gradient_gain(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, metrics: Sequence[str], *, random_lr: float
) -> Evaluation:
    """Judges the closed form alone, with gradient steps after it, and those steps from random weights.

    The number of steps is chosen by cross-fitting within training, of the same schedule for both that make any; the
    closed form alone has the recipe's adapters and a linear backbone.

    Parameters
    ----------
    recipe : Recipe
        Of the second way.
    metrics : sequence of str
        Of the protocol, for the paired differences.
    random_lr : float
        Learning rate from random weights, where larger steps pay.

    Returns
    -------
    Evaluation
        `record` holds ``curves``: by signal-blind name, (steps, mean reciprocal rank out of fold) while training.
    """
    plan, protocol = recipe.plan, protocol_named(recipe.protocol)
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol, recipe.seed, n_jobs=plan.n_jobs,
                progress=plan.progress)  # fmt: skip
    solved = replace(recipe, fit="closed_form", backbone=linear.Config())
    random = replace(recipe, train=replace(recipe.train, ridge_start=False, lr=random_lr))
    made: dict[str, BrainDecoder] = {}

    def kept(name: str, one: Any) -> Fitter:
        fit = decoder_fitter(one)

        def fit_and_keep(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
            made.setdefault(name, fit(part, e, seed))  # type: ignore[arg-type]  # what a decoder's fitter makes
            return made[name]

        return fit_and_keep

    def shuffled(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
        wrong = permuted(part, seeding.numpy_generator(seed, "shuffled"), protocol)
        return decoder_fitter(solved)(wrong, e, seed)

    ready = {"ridge": decoder_fitter(solved), "braindec": kept("braindec", recipe),
             "scratch": kept("scratch", random), "shuffled": shuffled}  # fmt: skip
    judged = {
        name: judge(name, fit, exam, plan.n_null if name == "ridge" else 0) for name, fit in ready.items()
    }
    null = judged[
        "ridge"
    ].null  # the affine encoder's own refits stand for all: they start from it, or end near it
    scores = [s for j in judged.values() for s in scores_of(j, protocol, null=null)]
    pairs = (("braindec", "ridge"), ("braindec", "scratch"), ("ridge", "scratch"))
    rows = [
        row | {"a": NAMES[a], "b": NAMES[b]}
        for a, b in pairs
        for metric in metrics
        for row in compare(judged[a], judged[b], metric, recipe.seed)
    ]
    curves = {NAMES[n]: d.log.column("validation") for n, d in made.items() if d.log is not None}
    steps = {NAMES[n]: d.log.best_step for n, d in made.items() if d.log is not None}
    return Evaluation(tuple(scores), judged, tuple(rows), {"curves": curves, "steps_chosen": steps})


def curve_panel(found: Evaluation) -> tuple[str, str, dict[str, Any]]:
    """How well held-out training stimuli are told apart, by the number of gradient steps."""
    curves = found.record["curves"]
    steps = np.array(sorted(next(iter(curves.values()))[0]))
    series = {name: np.array(values)[np.argsort(at)] for name, (at, values) in curves.items()}
    return (
        "Out-of-fold rank by gradient steps",
        "curve",
        {"step": steps, "series": series, "ylabel": "mean reciprocal rank, held-out units of training"},
    )
