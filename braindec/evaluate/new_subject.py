"""What a new person's first trials are worth: a prior from other subjects against fine-tuning and plain ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Mode, steps_for
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.scoring import Judged, judge, scores_of
from braindec.evaluate.systems import Fitter, RidgeFitter, signal_features
from braindec.evaluate.whole import Evaluation, Plan
from braindec.stats.paired import paired_difference
from braindec.types import Embeddings, Score

SYSTEMS = {
    "braindec": "empirical Bayes",
    "adapted": "fine-tuned adapter",
    "contender": "fine-tuned network",
    "ridge": "ridge of its own",
    "shuffled": "empirical Bayes, shuffled stimuli",
}
RIVALS = ("adapted", "contender", "ridge")


def first_trials(part: NeuralDataset, n: int) -> NeuralDataset:
    """The first `n` trials of every subject, in the order of acquisition."""
    chosen = {}
    for key, trials in part.trials.items():
        order = np.argsort(trials.table["acquisition_order"], kind="stable")
        chosen[key] = trials.take(np.sort(order[:n]))
    return replace(part, trials=chosen)


def new_subject_curve(
    decoder: BrainDecoder,
    recipe: Any,
    newcomers: NeuralDataset,
    embeddings: Embeddings,
    sizes: Sequence[int],
    metric: str,
    *,
    plan: Plan | None = None,
) -> Evaluation:
    """Judges every way to meet a new subject on its test stimuli, by number of training trials.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on other subjects.
    recipe : Recipe
        Its preprocessing is the plain ridge's.
    newcomers : NeuralDataset
        Whole, of subjects that the decoder does not know; each is met alone.
    sizes : sequence of int
        Numbers of first trials.
    metric : str
        Of the protocol: what systems are compared by.

    Returns
    -------
    Evaluation
        Scores with ``n_trials`` in their details; comparisons of empirical Bayes with each other system, all new
        subjects together (stimuli are the units); `record` with ``curve``: by system, the mean over subjects.
    """
    plan, protocol = plan or Plan(), protocol_named(recipe.protocol)
    scores: list[Score] = []
    rows: list[dict[str, Any]] = []
    curve: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    judged: dict[str, Judged] = {}
    alone = [replace(newcomers, trials={key: trials}) for key, trials in newcomers.trials.items()]
    for size in sizes:
        found = [_judged(decoder, recipe, whole, embeddings, size, plan) for whole in alone]
        for name in SYSTEMS:
            values = [m[metric].value for one in found for m in one[name].measured.values()]
            curve[name].append(float(np.mean(values)))
            for one in found:
                scores += scores_of(one[name], protocol, details={"n_trials": size})
                judged |= {f"{name}-{size}-{key}": one[name] for key in one[name].measured}
        rows += [_compared(found, name, metric, size, recipe.seed) for name in RIVALS]
    return Evaluation(tuple(scores), judged, tuple(rows), {"sizes": list(sizes), "curve": curve})


def learning_curve(found: Evaluation, metric: str) -> tuple[str, str, dict[str, Any]]:
    """A panel: every system by the number of training trials."""
    series = {SYSTEMS[name]: np.array(values) for name, values in found.record["curve"].items()}
    return (
        f"{metric.replace('_', ' ')} by number of trials",
        "curve",
        {
            "step": np.array(found.record["sizes"]), "series": series, "section": "scores",
            "xlabel": "training trials of the new subject", "ylabel": metric.replace("_", " "),
            "caption": "Mean over new subjects; intervals of the differences are in the table.",
        },
    )  # fmt: skip


def _judged(
    decoder: BrainDecoder, recipe: Any, whole: NeuralDataset, embeddings: Embeddings, size: int, plan: Plan
) -> dict[str, Judged]:
    """Every system on one new subject, by name."""
    if whole.split is None:
        raise ValueError("the new subject's dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(whole), embeddings, [whole.split], protocol_named(recipe.protocol), recipe.seed,
                n_jobs=plan.n_jobs, progress=plan.progress)  # fmt: skip
    (modality,) = {t.modality for t in whole.trials.values()}
    steps = steps_for(recipe.preprocessing, modality).steps

    def bayes(part: NeuralDataset, e: Embeddings, seed: int) -> BrainDecoder:
        return decoder.adapt(first_trials(part, size), e, method="empirical_bayes", progress=False)

    def tuned(mode: Mode) -> Fitter:
        def fit(part: NeuralDataset, e: Embeddings, seed: int) -> BrainDecoder:
            return decoder.adapt(first_trials(part, size), e, mode=mode, progress=False)

        return fit

    def shuffled(part: NeuralDataset, e: Embeddings, seed: int) -> BrainDecoder:
        wrong = permuted(first_trials(part, size), seeding.numpy_generator(seed, "shuffled"), exam.protocol)
        return decoder.adapt(wrong, e, method="empirical_bayes", progress=False)

    ridge = RidgeFitter(signal_features(steps))

    def alone(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
        return ridge(first_trials(part, size), e, seed)

    fits: Mapping[str, Fitter] = {
        "braindec": bayes, "adapted": tuned("adapter"), "contender": tuned("all"), "ridge": alone, "shuffled": shuffled,
    }  # fmt: skip
    return {
        name: judge(name, fit, exam, plan.n_null if name == "braindec" else 0) for name, fit in fits.items()
    }


def _compared(
    found: Sequence[Mapping[str, Judged]], name: str, metric: str, size: int, seed: int
) -> dict[str, Any]:
    """Empirical Bayes minus another system on the same queries of all new subjects; a stimulus is one unit."""
    ours, theirs, units = [], [], []
    for one in found:
        for key, measured in one["braindec"].measured.items():
            ours.append(measured[metric].per_sample)
            theirs.append(one[name].measured[key][metric].per_sample)
            units += list(one["braindec"].decoded[key].ids)
            if one[name].decoded[key].ids != one["braindec"].decoded[key].ids:
                raise ValueError(f"{name} was not judged on the same queries of {key}.")
    draw = seeding.numpy_generator(seed, "paired", name, size, metric)
    difference = paired_difference(np.concatenate(ours), np.concatenate(theirs), draw, units=np.array(units))
    interval = [float(difference.interval.low), float(difference.interval.high)]
    return {"a": SYSTEMS["braindec"], "b": SYSTEMS[name], "metric": metric, "key": f"{size} trials",
            "difference": difference.value, "interval": interval, "p": difference.p, "n": difference.n}  # fmt: skip
