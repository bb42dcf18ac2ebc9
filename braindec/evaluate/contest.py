"""Several systems under one set of rules: one search space, one validation split, one stopping rule, the same seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, config, registry, seeding, store
from braindec.data import NeuralDataset, Split, splits
from braindec.decoder import searched, settings_of, stopping_of, validation_of
from braindec.evaluate.audit import audit_splits, tell
from braindec.evaluate.decoded import ENOUGH
from braindec.evaluate.exam import Exam
from braindec.evaluate.jobs import refits
from braindec.evaluate.scoring import Judged, judge, scores_of
from braindec.evaluate.systems import Fitter, System, decoder_fitter
from braindec.types import Embeddings, Report

Choice = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """What holds for all systems, fixed before any of them is fitted.

    Parameters
    ----------
    space : mapping of str to tuple
        Values of each setting; all combinations are tried by every system, in its own way. Empty: nothing is searched.
    unit : str, optional
        Of which validation and the rest of training share none; by default the split's. A weaker one than the
        protocol's is refused: validation for new concepts is on concepts that the rest of training does not show.
    fraction : float
        Share of each train part's units that is held out to choose by, in (0, 1).
    seeds : tuple of int
        Of the systems; the validation split does not depend on them.
    metric : str, optional
        What chooses, one of the protocol's; its first by default. A mean over subjects.
    """

    space: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unit: str | None = None
    fraction: float = 0.1
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    metric: str | None = None

    def __post_init__(self) -> None:
        checks.unique("seeds", self.seeds)
        if empty := [name for name, values in self.space.items() if not values]:
            raise checks.ConfigError(f"space names no value of {empty}.")

    @property
    def choices(self) -> list[Choice]:
        """Every combination of the space, in its order."""
        return [
            dict(zip(self.space, values, strict=True)) for values in itertools.product(*self.space.values())
        ]


@dataclass(frozen=True, eq=False)
class Contender:
    """A system that enters.

    Parameters
    ----------
    name : str
    configure : callable
        ``configure(choice) -> Fitter``, for one combination of the rules' space.
    stopping : mapping
        When its training stops, as `decoder.stopping_of` says it; all contenders must say the same. Settings that the
        space names are left out: the validation split chooses those.
    """

    name: str
    configure: Callable[[Choice], Fitter]
    stopping: Mapping[str, Any]

    @classmethod
    def of_recipe(cls, name: str, recipe: Any) -> Contender:
        """The decoder of a recipe; the space names paths of its settings, ``"train.lr"``."""

        def configure(choice: Choice) -> Fitter:
            sets = [f"{path}={json.dumps(value)}" for path, value in choice.items()]
            chosen = config.override(recipe, sets, registry.load)
            return lambda part, embeddings, seed: decoder_fitter(replace(chosen, seed=seed))(
                part, embeddings, seed
            )

        stopping = stopping_of(settings_of(recipe))
        # No prior is fitted: what predictions are judged by does not pass through it.
        return cls(name, configure, {k: v for k, v in stopping.items() if not k.startswith("prior_train.")})


@dataclass(frozen=True, eq=False)
class Contest:
    """What was declared before a test trial was read, what validation chose, and each contender's runs.

    Parameters
    ----------
    declared : mapping
        Contenders, search space, validation split, stopping rule, seeds: JSON values.
    chosen : mapping of str to mapping of int to list of dict
        Contender -> seed -> the configuration of each fold.
    reports : mapping of str to tuple of Report
        Contender -> a run a seed, for ``report.comparison.Runs(name, reports, "contender")``.
    """

    declared: Mapping[str, Any]
    chosen: Mapping[str, Mapping[int, list[Choice]]]
    reports: Mapping[str, tuple[Report, ...]]


def contest(
    contenders: Sequence[Contender], exam: Exam, rules: Rules | None = None, *, out: str | Path | None = None
) -> Contest:
    """Chooses every contender's configuration within training, then judges all of them on the test parts.

    Parameters
    ----------
    contenders : sequence of Contender
    exam : Exam
        Data, folds, protocol; its `seed` deals the validation split, those of the rules are the systems'. Of its
        `n_jobs` many are at work at once.
    rules : Rules, optional
    out : path, optional
        Where ``declared.json`` is written before anything is fitted.

    Returns
    -------
    Contest

    Raises
    ------
    ConfigError
        If the contenders do not stop by one rule, or validation would be on less than the protocol holds out.
    LeakageError
        If the audit of the folds finds a leak.

    Notes
    -----
    A configuration is fitted without the validation units and scored on them; the best, of equals the first, is then
    fitted on the whole train part. With one configuration nothing is chosen. Every train part that a contender is given
    carries the declared validation as its split, where it needs one to stop by.
    """
    rules = rules or Rules()
    checks.unique("names of contenders", [c.name for c in contenders])
    stopping = _one_rule(contenders, rules)
    _audit(exam)
    validation = [_validation(exam, fold, rules) for fold in exam.folds]
    declared = _declaration(contenders, exam, rules, stopping, validation)
    if out is not None:
        store.write_json(Path(out) / "declared.json", declared)
    entries = [(c, seed) for c in contenders for seed in rules.seeds]
    given: dict[str, Any] = {"n_jobs": exam.n_jobs, "progress": exam.progress}
    chosen = refits(
        lambda i: [_choose(*entries[i], exam, rules, f, v) for f, v in zip(exam.folds, validation, strict=True)],
        len(entries), said="configurations", **given,
    )  # fmt: skip
    judged = refits(
        lambda i: _judge(*entries[i], exam, validation, chosen[i]), len(entries), said="test parts", **given
    )
    by_name: dict[str, dict[int, list[Choice]]] = {c.name: {} for c in contenders}
    reports: dict[str, list[Report]] = {c.name: [] for c in contenders}
    for (contender, seed), configurations, found in zip(entries, chosen, judged, strict=True):
        by_name[contender.name][seed] = configurations
        reports[contender.name].append(_report(contender.name, seed, found, exam, declared, configurations))
    return Contest(declared, by_name, {name: tuple(found) for name, found in reports.items()})


def _one_rule(contenders: Sequence[Contender], rules: Rules) -> dict[str, Any]:
    """The stopping rule of all, without the settings that validation chooses."""
    said = {c.name: {k: v for k, v in c.stopping.items() if k not in rules.space} for c in contenders}
    first, *others = said.items()
    for name, rule in others:
        if rule != first[1]:
            raise checks.ConfigError(
                f"all contenders must stop by one rule: {first[0]} has {first[1]}, {name} has {rule}. Give them equal "
                "settings, or name those that differ in the rules' space."
            )
    return first[1]


def _audit(exam: Exam) -> None:
    found = audit_splits(
        exam.dataset, exam.folds, protocol=exam.protocol, label_column=exam.label_column, embeddings=exam.embeddings,
        refitted=True,
    )  # fmt: skip
    found.refuse()
    tell(found)


def _validation(exam: Exam, fold: Split, rules: Rules) -> Split:
    """Training units held out to choose by, from the train part alone."""
    unit = rules.unit or fold.unit
    enough = ENOUGH[exam.protocol.unit]
    if unit not in enough:
        raise checks.ConfigError(
            f"protocol {exam.protocol.name!r} holds out by {' or '.join(enough)}, validation by {unit}: it "
            f"would choose by another question. Set unit={enough[0]!r}."
        )
    draw = seeding.numpy_generator(exam.seed, "validation", fold.hash)
    return splits.hold_out(exam.dataset.with_split(fold).part("train"), unit, rules.fraction, draw)


def _declaration(
    contenders: Sequence[Contender],
    exam: Exam,
    rules: Rules,
    stopping: Mapping[str, Any],
    validation: Sequence[Split],
) -> dict[str, Any]:
    record = {
        "search": searched(rules.space),
        "validation": validation_of([split.values("test") for split in validation], validation[0].unit),
        "stopping": dict(stopping),
    }
    return {
        "contenders": [c.name for c in contenders], "rules": record, "seeds": list(rules.seeds),
        "chosen_by": _metric(exam, rules), "protocol": exam.protocol.name, "dataset": exam.dataset.name,
        "folds": [fold.hash for fold in exam.folds],
    }  # fmt: skip


def _metric(exam: Exam, rules: Rules) -> str:
    known = exam.protocol.metrics
    return known[0] if rules.metric is None else checks.one_of("metric", rules.metric, known)


def _training(exam: Exam, fold: Split, validation: Split) -> NeuralDataset:
    """A train part as a dataset of its own, which no test trial belongs to, split for validation."""
    return replace(exam.dataset.with_split(fold).part("train"), split=validation, part_name=None, splits={})


def _choose(
    contender: Contender, seed: int, exam: Exam, rules: Rules, fold: Split, validation: Split
) -> Choice:
    """The configuration that does best on the validation units."""
    choices, metric = rules.choices, _metric(exam, rules)
    if len(choices) == 1:
        return choices[0]
    training = _training(exam, fold, validation)
    # Other stimuli than a frozen list names are judged here, in the same way.
    within = replace(
        exam,
        dataset=training,
        folds=[validation],
        protocol=exam.protocol.miniature(),
        seed=seed,
        only=(metric,),
    )
    values = []
    for choice in choices:
        found = judge("contender", contender.configure(choice), within, 0).measured.values()
        sign = 1 if next(iter(found))[metric].direction == "higher" else -1
        values.append(sign * float(np.mean([m[metric].value for m in found])))
    return choices[int(np.argmax(values))]


def _judge(
    contender: Contender, seed: int, exam: Exam, validation: Sequence[Split], choices: Sequence[Choice]
) -> Judged:
    """Each fold's chosen configuration, fitted on its whole train part and judged on its test part."""
    by_fold = {f.hash: (v, c) for f, v, c in zip(exam.folds, validation, choices, strict=True)}

    def fit(part: NeuralDataset, embeddings: Embeddings, own: int) -> System:
        split, choice = by_fold[checks.of_type("split", part.split, Split).hash]
        training = replace(part, split=split, part_name=None, splits={})
        return contender.configure(choice)(training, embeddings, own)

    return judge("contender", fit, replace(exam, seed=seed), 0)


def _report(
    name: str, seed: int, judged: Judged, exam: Exam, declared: Mapping[str, Any], choices: Sequence[Choice]
) -> Report:
    run = {
        "title": f"{name}, seed {seed}", "contender": name, "seed": seed, "dataset": exam.dataset.name, "smoke": False,
        "protocol": exam.protocol.name, "rules": {"contender": declared["rules"]}, "chosen": list(choices),
    }  # fmt: skip
    return Report(tuple(scores_of(judged, exam.protocol)), run)
