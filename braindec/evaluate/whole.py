"""A whole evaluation in one call: the recipe's decoder, linear and nuisance baselines, mean, shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from braindec import checks, config, seeding
from braindec.data import NeuralDataset, Split
from braindec.data.rows import rows_hash
from braindec.decoder import BrainDecoder, steps_for, versions
from braindec.evaluate import rules
from braindec.evaluate.audit import audited
from braindec.evaluate.decoded import Decoded
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.scoring import Ceilings, Judged, check_scopes, compare, judge, scores_of
from braindec.evaluate.systems import (
    Fitter,
    NuisanceFitter,
    RidgeFitter,
    decoder_fitter,
    fit_mean,
    nuisance_features,
    signal_features,
)
from braindec.evaluate.time_told import TimedNuisanceFitter
from braindec.types import Embeddings, Score


@dataclass(frozen=True)
class Plan:
    """How often everything is refitted under a permuted pairing, and what the nuisance decoder is told.

    `nuisance` names its columns; none named leaves all of them, and the choice of a group to the training folds.
    `n_null_pictures` of the decoder's refits also fit the prior, and draw. `n_jobs` refits run at once, each in a
    process and with one thread; 0 is one for every processor core.
    """

    n_null: int = 19
    n_null_baselines: int = 99
    nuisance: tuple[str, ...] = ()
    progress: bool = True
    n_null_pictures: int = 5
    n_jobs: int = 1

    def __post_init__(self) -> None:
        for name in ("n_null", "n_null_baselines", "n_null_pictures", "n_jobs"):
            checks.at_least(f"plan.{name}", getattr(self, name), 0)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of all systems, each system's decoded trials, paired comparisons, and what the record should say."""

    scores: tuple[Score, ...]
    judged: dict[str, Judged]
    comparisons: tuple[dict[str, Any], ...]
    record: dict[str, Any]


def cross_validate(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split],
    *,
    plan: Plan | None = None,
    label_column: str | None = None,
    ceilings: Ceilings | None = None,
) -> Evaluation:
    """Judges a recipe on several folds by its protocol; nothing is fitted or chosen outside the folds' train parts.

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        Whole; every fold takes its own parts.
    embeddings : Embeddings
    folds : sequence of Split
    plan : Plan, optional
    label_column : str, optional
        Column with each trial's class.
    """
    return _evaluate(
        recipe, decoder_fitter(recipe), dataset, embeddings, folds, plan or Plan(), label_column, ceilings
    )


def held_out(
    decoder: BrainDecoder,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    nulls: Sequence[BrainDecoder] = (),
    plan: Plan | None = None,
    label_column: str | None = None,
    ceilings: Ceilings | None = None,
) -> Evaluation:
    """Judges a fitted decoder on its dataset's test part; the nulls fit the recipe anew.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on ``dataset.part("train")``.
    dataset : NeuralDataset
        Whole, with the split in use.
    nulls : sequence of BrainDecoder
        The first refits of the null, where they were already made (`fit_nulls`); the first one is the shown control.

    Raises
    ------
    LeakageError
        If the decoder was fitted on other trials than the train part: test trials may be among them.
    SpaceMismatchError
        If the decoder was fitted on embeddings of another space or shape.
    """
    told = decoder.outputs[decoder.main]
    checks.same_target("embeddings", embeddings.info, told, "Give those that the decoder was fitted on.")
    fresh = decoder_fitter(recipe)
    used: list[bool] = []

    def fit(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
        if not used:
            used.append(True)
            return decoder
        return fresh(part, e, seed)

    split = dataset.split
    if split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    _check_fitted_on(decoder, dataset.part("train"))
    return _evaluate(
        recipe, fit, dataset, embeddings, [split], plan or Plan(), label_column, ceilings, nulls, decoder
    )


def _check_fitted_on(decoder: BrainDecoder, part: NeuralDataset) -> None:
    for key, trials in part.trials.items():
        fitted = checks.known_key("subject", key, decoder.preprocessing)
        if fitted.fit_rows_hash != rows_hash(trials):
            raise checks.LeakageError(
                f"the decoder was fitted on other trials of {key} than this dataset's train part; test trials may be "
                "among them. Fit it on dataset.part('train'), or use evaluate.cross_validate."
            )


def _evaluate(
    recipe: Any, fit: Fitter, dataset: NeuralDataset, embeddings: Embeddings, folds: Sequence[Split], plan: Plan,
    label_column: str | None, ceilings: Ceilings | None, nulls: Sequence[BrainDecoder] = (),
    decoder: BrainDecoder | None = None,
) -> Evaluation:  # fmt: skip
    protocol = protocol_named(recipe.protocol)
    chains = {t.modality: steps_for(recipe.preprocessing, t.modality) for t in dataset.trials.values()}
    transductive = sum(check_scopes(protocol, steps) for steps in chains.values()) > 0
    audit = audited(recipe, dataset, embeddings, folds, label_column=label_column, decoder=decoder)
    steps: list[dict[str, Any] | None] = []

    def noted(part: NeuralDataset, e: Embeddings, seed: int) -> Any:
        system = fit(part, e, seed)
        if len(steps) < len(folds):  # the refits of the null come after
            steps.append(rules.steps_of(system))
        return system

    scopes = sorted({scope for steps in chains.values() for scope in steps.scopes})
    fits: dict[str, tuple[Fitter, int]] = {
        "braindec": (noted, plan.n_null),
        "ridge": (RidgeFitter(signal_features(recipe.preprocessing)), plan.n_null_baselines),
        "nuisance": (_nuisance(plan, label_column), plan.n_null_baselines),
        "mean": (fit_mean, 0),
        "shuffled": ((lambda *_: nulls[0]) if nulls else _shuffled(recipe, protocol), 0),
    }
    exam = Exam(
        in_memory(dataset), embeddings, folds, protocol, recipe.seed, label_column, plan.n_jobs, plan.progress
    )
    judged = {
        name: judge(name, f, exam, n, nulls if name == "braindec" else ()) for name, (f, n) in fits.items()
    }
    kept = {
        key: _fraction_kept(key, d, dataset, folds, protocol.repeats)
        for key, d in judged["braindec"].decoded.items()
    }
    details = {"transductive": transductive, "scopes": scopes, "fraction_kept": min(kept.values())}
    scores = [
        s
        for name, j in judged.items()
        for s in scores_of(
            j, protocol, ceilings=ceilings if name != "nuisance" else None,
            details=(details if name in ("braindec", "ridge", "shuffled") else {}) | _told(name, plan),
            null=judged["braindec"].null if name == "shuffled" else None,
        )
    ]  # fmt: skip
    comparisons = tuple(
        c
        for metric in protocol.metrics
        for c in compare(judged["braindec"], judged["ridge"], metric, recipe.seed)
    )
    record = {"protocol": config.to_json(protocol), "dataset": dataset.identity(), "n_folds": len(folds),
              "folds": [split.name for split in folds], "audit": audit.to_json(),
              "rules": rules.training_rules(recipe, dataset, folds), "versions": versions(),
              "seed": recipe.seed, "transductive": transductive,
              "fraction_kept": kept, **rules.training_record(steps)}  # fmt: skip
    rules.tell(record)
    return Evaluation(tuple(scores), judged, comparisons, record)


def _nuisance(plan: Plan, label_column: str | None) -> Fitter:
    columns = plan.nuisance
    if columns and label_column is not None:
        return TimedNuisanceFitter(columns)
    return RidgeFitter(partial(nuisance_features, columns=columns)) if columns else NuisanceFitter()


def _told(name: str, plan: Plan) -> dict[str, Any]:
    return {"columns": list(plan.nuisance)} if name == "nuisance" and plan.nuisance else {}


def _fraction_kept(
    key: str, decoded: Decoded, dataset: NeuralDataset, folds: Sequence[Split], repeats: str
) -> float:
    """Share of the held-out trials that were scored, times the share that preparation kept (where it says so)."""
    prepared = float(dataset.about.get("fraction_kept", 1.0))
    if repeats != "none":  # all repeats of a scored stimulus went in
        return prepared
    tested = [dataset.with_split(split).part("test").trials for split in folds]
    return prepared * len(decoded.ids) / sum(t[key].n_trials for t in tested if key in t)


def _shuffled(recipe: Any, protocol: Any) -> Fitter:
    """The recipe's decoder fitted on a permuted pairing: a control that is shown, beside the null's numbers."""
    fit = decoder_fitter(recipe)

    def fit_shuffled(part: NeuralDataset, embeddings: Embeddings, seed: int) -> Any:
        draw = seeding.numpy_generator(seed, "shuffled")
        return fit(permuted(part, draw, protocol), embeddings, seed)

    return fit_shuffled
