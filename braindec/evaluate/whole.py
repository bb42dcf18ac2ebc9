"""A whole evaluation in one call: the recipe's decoder, linear and nuisance baselines, mean, shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from braindec import checks, config, seeding
from braindec.data import NeuralDataset, Split
from braindec.data.rows import rows_hash
from braindec.decoder import BrainDecoder, steps_for, versions
from braindec.evaluate.judge import protocol_named
from braindec.evaluate.scoring import Ceilings, Judged, check_scopes, compare, judge, permuted, scores_of
from braindec.evaluate.systems import (
    Fitter,
    NuisanceFitter,
    RidgeFitter,
    decoder_fitter,
    fit_mean,
    signal_features,
)
from braindec.types import Embeddings, Score


@dataclass(frozen=True)
class Plan:
    """How often everything is refitted under a permuted pairing, and for which systems."""

    n_null: int = 19
    n_null_baselines: int = 99
    progress: bool = True


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

    Raises
    ------
    LeakageError
        If the decoder was fitted on other trials than the train part: test trials may be among them.
    """
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
    return _evaluate(recipe, fit, dataset, embeddings, [split], plan or Plan(), label_column, ceilings)


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
    label_column: str | None, ceilings: Ceilings | None,
) -> Evaluation:  # fmt: skip
    protocol = protocol_named(recipe.protocol)
    chains = {t.modality: steps_for(recipe.preprocessing, t.modality) for t in dataset.trials.values()}
    transductive = sum(check_scopes(protocol, steps) for steps in chains.values()) > 0
    scopes = sorted({scope for steps in chains.values() for scope in steps.scopes})
    fits: dict[str, tuple[Fitter, int]] = {
        "braindec": (fit, plan.n_null),
        "ridge": (RidgeFitter(signal_features(recipe.preprocessing)), plan.n_null_baselines),
        "nuisance": (NuisanceFitter(), plan.n_null_baselines),
        "mean": (fit_mean, 0),
        "shuffled": (_shuffled(recipe, protocol), 0),
    }
    judged = {
        name: judge(
            name, f, dataset, embeddings, folds, protocol, seed=recipe.seed, n_null=n, label_column=label_column,
            progress=plan.progress,
        )
        for name, (f, n) in fits.items()
    }  # fmt: skip
    details = {"transductive": transductive, "scopes": scopes}
    scores = [
        s
        for name, j in judged.items()
        for s in scores_of(
            j, protocol, ceilings=ceilings if name != "nuisance" else None,
            details=details if name in ("braindec", "ridge", "shuffled") else None,
            null=judged["braindec"].null if name == "shuffled" else None,
        )
    ]  # fmt: skip
    comparisons = tuple(
        c
        for metric in protocol.metrics
        for c in compare(judged["braindec"], judged["ridge"], metric, recipe.seed)
    )
    record = {"protocol": config.to_json(protocol), "dataset": dataset.identity(), "n_folds": len(folds),
              "versions": versions(), "seed": recipe.seed, "transductive": transductive}  # fmt: skip
    return Evaluation(tuple(scores), judged, comparisons, record)


def _shuffled(recipe: Any, protocol: Any) -> Fitter:
    """The recipe's decoder fitted on a permuted pairing: a control that is shown, beside the null's numbers."""
    fit = decoder_fitter(recipe)

    def fit_shuffled(part: NeuralDataset, embeddings: Embeddings, seed: int) -> Any:
        draw = seeding.numpy_generator(seed, "shuffled")
        return fit(permuted(part, draw, protocol), embeddings, seed)

    return fit_shuffled
