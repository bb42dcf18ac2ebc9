"""What trials without labels are worth: one decoder with a trunk that filled in masked patches first, and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.decoder.masked import Config as Masked
from braindec.decoder.masked import Pretrained
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.panels import Panel
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
CONTENDER = "the same pretrained on {} of masked patches"


def pretraining_gain(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    metrics: Sequence[str],
    settings: Masked,
    *,
    n_labelled: int,
    out_dir: Path | None = None,
    beside: Literal["values", "codes"] | None = None,
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
    beside : {"values", "codes"}, optional
        What else is said of masked patches (`decoder.masked.Config.predicts`): with it the same is pretrained, judged
        (as the system ``"contender"``) and compared once more.

    Returns
    -------
    tuple of (Evaluation, BrainDecoder)
        `record` holds ``masked_error``: of held-out trials' masked patches, as a share of what a guess without looking
        makes; and ``beside``, what pretraining says of the contender. The decoder is the fitted, pretrained one.
    """
    plan, protocol, progress = recipe.plan, protocol_named(recipe.protocol), recipe.plan.progress
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol, recipe.seed, recipe.label_column,
                plan.n_jobs, progress)  # fmt: skip

    def learnt(told: Masked, folder: Path | None) -> Pretrained:
        first = BrainDecoder.build(recipe, dataset.info, embeddings.info)
        return first.pretrain(dataset.part("train"), told, folder, progress=progress).pretrained

    trunk = learnt(settings, out_dir)
    contender = None
    if beside is not None:
        contender = learnt(replace(settings, predicts=beside), None if out_dir is None else out_dir / beside)
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
    names = dict(NAMES)
    if contender is not None:
        ways["contender"], names["contender"] = fitter(contender), CONTENDER.format(beside)
    judged = {
        name: judge(name, fit, exam, plan.n_null if name == "braindec" else 0) for name, fit in ways.items()
    }
    null = judged["braindec"].null
    scores = [s for j in judged.values() for s in scores_of(j, protocol, null=null)]
    rows = [
        row | {"a": names["braindec"], "b": names[other]}
        for other in names
        if other not in ("braindec", "shuffled")
        for metric in metrics
        for row in compare(judged["braindec"], judged[other], metric, recipe.seed)
    ]
    record = {
        "masked_error": trunk.error, "pretraining": dict(trunk.about), "n_labelled": n_labelled,
        "beside": {} if contender is None else dict(contender.about),
    }  # fmt: skip
    return Evaluation(tuple(scores), judged, tuple(rows), record), made[0]


def said_of_masked(found: Evaluation) -> Panel:
    """What pretraining came to say of held-out masked patches, and how its tokenizer did where it says codes."""
    rows = []
    for about in (found.record["pretraining"], found.record["beside"]):
        if about:
            codes = about.get("codes")
            rows.append([
                "values" if codes is None else "codes", f"{about['masked_error']:.2f}",
                *(["", "", ""] if codes is None else [
                    f"{codes['n_used']} of {codes['n_codes']}", f"{codes['perplexity']:.1f}",
                    f"{codes['rebuilt_error']:.2f}",
                ]),
            ])  # fmt: skip
    caption = (
        "Missed: squared error of values as a share of what their mean makes, cross-entropy of codes as a share of "
        "what their frequencies make; 1 is a guess without looking. Perplexity: as many codes, if all came alike. "
        "Rebuilt: squared error of patches made from their codes, as a share of what their mean makes. All on training "
        "trials that were held out to choose the step."
    )
    columns = ["said", "missed", "codes used", "perplexity", "rebuilt"]
    return "What is said of masked patches", "table", {"columns": columns, "rows": rows, "caption": caption}


def with_labels(part: NeuralDataset, n: int) -> NeuralDataset:
    """The trials of `n` stimuli of every subject, drawn over all sessions; which ones is the same in every run."""
    chosen = {}
    for key, trials in part.trials.items():
        seen = np.unique(trials.table["stimulus_id"])
        told = seeding.numpy_generator(0, "labelled", key).permutation(seen)[:n]
        chosen[key] = trials.take(np.flatnonzero(np.isin(trials.table["stimulus_id"], told)))
    return replace(part, trials=chosen)
