"""What trials without labels are worth: one decoder with a trunk that filled in masked patches first, and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.decoder.masked import Config as Masked
from braindec.decoder.masked import Pretrained
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.scoring import compare, judge, scores_of
from braindec.evaluate.systems import Fitter, RidgeFitter, signal_features
from braindec.evaluate.whole import Evaluation
from braindec.types import Embeddings

# System of a score -> what it is here.
NAMES = {
    "braindec": "pretrained on masked patches",
    "scratch": "the same from random weights",
    "ridge": "ridge",
    "shuffled": "pretrained, shuffled stimuli",
}


def pretraining_gain(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    metrics: Sequence[str],
    settings: Masked,
    *,
    n_labelled: int,
    out_dir: Path | None = None,
) -> tuple[Evaluation, BrainDecoder]:
    """Judges a decoder with few labelled trials, its trunk pretrained on all training trials without their labels.

    The null exchanges the labelled trials' stimuli; the trunk, which saw no label, is that of all refits.

    Parameters
    ----------
    recipe : Recipe
        Its preprocessing is the same for every modality, and must not look at stimuli.
    metrics : sequence of str
        Of the protocol, for the paired differences.
    settings : decoder.masked.Config
    n_labelled : int
        Stimuli of every subject that are told; all repeats of these are labelled trials.
    out_dir : path, optional
        Where pretraining's log and checkpoints go.

    Returns
    -------
    tuple of (Evaluation, BrainDecoder)
        `record` holds ``masked_error``: of held-out trials' masked values, as a share of what their mean makes. The
        decoder is the fitted, pretrained one.
    """
    plan, protocol, progress = recipe.plan, protocol_named(recipe.protocol), recipe.plan.progress
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol, recipe.seed, recipe.label_column,
                plan.n_jobs, progress)  # fmt: skip
    first = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    trunk = first.pretrain(dataset.part("train"), settings, out_dir, progress=progress).pretrained
    made: list[BrainDecoder] = []

    def fitter(start: Pretrained, *, shuffle: bool = False) -> Fitter:
        def fit(part: NeuralDataset, e: Embeddings, seed: int) -> BrainDecoder:
            few = with_labels(part, n_labelled)
            if shuffle:
                few = permuted(few, seeding.numpy_generator(seed, "shuffled"), protocol)
            decoder = BrainDecoder.build(recipe, part.info, e.info)
            decoder.pretrained = start
            made.append(decoder.fit(few, e, progress=False))
            return made[-1]

        return fit

    ridge = RidgeFitter(signal_features(recipe.preprocessing))

    def closed_form(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
        return ridge(with_labels(part, n_labelled), e, seed)

    ways = {
        "braindec": fitter(trunk), "scratch": fitter(Pretrained()), "ridge": closed_form,
        "shuffled": fitter(trunk, shuffle=True),
    }  # fmt: skip
    judged = {
        name: judge(name, fit, exam, plan.n_null if name == "braindec" else 0) for name, fit in ways.items()
    }
    null = judged["braindec"].null
    scores = [s for j in judged.values() for s in scores_of(j, protocol, null=null)]
    rows = [
        row | {"a": NAMES["braindec"], "b": NAMES[other]}
        for other in ("scratch", "ridge")
        for metric in metrics
        for row in compare(judged["braindec"], judged[other], metric, recipe.seed)
    ]
    record = {"masked_error": trunk.error, "pretraining": dict(trunk.about), "n_labelled": n_labelled}
    return Evaluation(tuple(scores), judged, tuple(rows), record), made[0]


def with_labels(part: NeuralDataset, n: int) -> NeuralDataset:
    """The trials of `n` stimuli of every subject, drawn over all sessions; which ones is the same in every run."""
    chosen = {}
    for key, trials in part.trials.items():
        seen = np.unique(trials.table["stimulus_id"])
        told = seeding.numpy_generator(0, "labelled", key).permutation(seen)[:n]
        chosen[key] = trials.take(np.flatnonzero(np.isin(trials.table["stimulus_id"], told)))
    return replace(part, trials=chosen)
