"""Under which rules systems were chosen and trained, as a record, and which of them two systems do not share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec import store
from braindec.data import NeuralDataset, Split
from braindec.decoder import BrainDecoder, rules_of, searched, settings_of
from braindec.decoder.fitting import ALPHAS, inner_unit, inner_units
from braindec.decoder.rules import CLOSED_FORM

Record = dict[str, Any]
RIDGE_FOLDS = 5  # within training, that choose its penalty; see `RidgeFitter`


def training_rules(recipe: Any, dataset: NeuralDataset, folds: Sequence[Split]) -> dict[str, Record]:
    """By system, what was searched, on which validation units of each fold's train part, and what stops training.

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        Whole.
    folds : sequence of Split
        Of the evaluation.
    """
    parts = [dataset.with_split(split).part("train") for split in folds]
    return {"braindec": _over([_of_decoder(recipe, part) for part in parts]),
            "ridge": _over([_of_ridge(recipe.seed, part) for part in parts])}  # fmt: skip


def _of_decoder(recipe: Any, part: NeuralDataset) -> Record:
    units = [u for trials in part.trials.values() for u in inner_units(part, trials).tolist()]
    return rules_of(settings_of(recipe), units, inner_unit(part))


def _of_ridge(seed: int, part: NeuralDataset) -> Record:
    """Its penalties are one search; each subject's training units and the seed say how its folds are dealt."""
    unit, known = inner_unit(part), {}
    for key, trials in part.trials.items():
        known[key] = np.unique(inner_units(part, trials)).tolist()
    hashed = store.content_hash(unit=unit, units=known, n_folds=RIDGE_FOLDS, seed=seed)
    n_units = len(set().union(*known.values()))
    return {
        "search": searched({"penalty": ALPHAS}),
        "validation": {"unit": unit, "n_folds": RIDGE_FOLDS, "n_units": n_units, "hash": hashed},
        "stopping": {"rule": CLOSED_FORM},
    }


def _over(records: Sequence[Record]) -> Record:
    """One record of all folds: what is equal anyway, and a hash over their validation units."""
    if len(records) == 1:
        return records[0]
    hashed = store.content_hash(folds=sorted(r["validation"]["hash"] for r in records))
    validation = {**records[0]["validation"], "n_tests": len(records), "hash": hashed}
    return {**records[0], "validation": validation}


def steps_of(system: Any) -> Record | None:
    """Which of how many training steps a fitted decoder stopped at; None of what is not trained by steps."""
    if not isinstance(system, BrainDecoder) or "best_step" not in system.provenance:
        return None
    settings = system.settings
    if settings.fit == "closed_form" or settings.train.n_steps == 0:
        return None
    train = settings.train
    return {
        "chosen": system.provenance["best_step"],
        "n_steps": train.n_steps,
        "ridge_start": train.ridge_start,
    }


def training_record(steps: Sequence[Record | None]) -> Record:
    """What the record says of training: ``training``, with a ``warning`` where no step of it was kept.

    Parameters
    ----------
    steps : sequence
        `steps_of` each decoder that is judged, one a fold.
    """
    known = [one for one in steps if one is not None]
    if not known:
        return {}
    chosen, first = [one["chosen"] for one in known], known[0]
    record: Record = {"n_steps": first["n_steps"], "steps_chosen": chosen}
    untrained = chosen.count(0)
    if untrained:
        folds = f" in {untrained} of {len(chosen)} folds" if len(chosen) > 1 else ""
        start = "the closed-form ridge where its parts take one" if first["ridge_start"] else "a random draw"
        record["warning"] = (
            f"Training added nothing to braindec{folds}: 0 of {first['n_steps']} steps were chosen: on what it held "
            "out within training no number of steps did better than none. The weights are those of the start "
            f"(train.ridge_start={str(first['ridge_start']).lower()}: {start}), whatever the loss is. Look at the "
            "validation in the training log: a loss must fall as predictions get better, train.lr be above 0, and "
            "train.validate_every small beside train.n_steps."
        )
    return {"training": record}


def tell(record: Record) -> None:
    """Writes the warning of `training_record`, where there is one, to the error stream."""
    warning = record.get("training", {}).get("warning")
    if warning:
        print(f"warning: {warning}", file=sys.stderr)


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What two records of rules do not share: ``search``, ``validation``, ``stopping`` -> {name: (of a, of b)}.

    A prior's stopping counts only where both have one: a system without has nothing there to stop.
    """
    found: dict[str, dict[str, Any]] = {}
    if a["search"]["hash"] != b["search"]["hash"]:
        found["search"] = {
            name: (a["search"][name], b["search"][name]) for name in ("n_configurations", "space")
        }
    first, second = a["stopping"], b["stopping"]
    both = [
        n for n in {**first, **second} if (n in first and n in second) or not n.startswith("prior_train.")
    ]
    stops = {n: (first.get(n), second.get(n)) for n in both if first.get(n) != second.get(n)}
    if stops:
        found["stopping"] = stops
    if a["validation"]["hash"] != b["validation"]["hash"]:
        told = {n: (a["validation"][n], b["validation"][n]) for n in ("unit", "n_folds", "n_units")}
        found["validation"] = {n: pair for n, pair in told.items() if pair[0] != pair[1]}
    return found
