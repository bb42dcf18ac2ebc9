"""Cells of the comparison: each is one job of seconds, one JSON file, named by a hash of all that could change it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from accuracy_parts import fitting, regimes, systems
from accuracy_parts.regimes import Matter, Regime
from braindec import seeding, store
from braindec.data import NeuralDataset
from braindec.data.simulated import truth
from braindec.decoder import BrainDecoder, versions
from braindec.decoder.settings import settings_to_json
from braindec.evaluate import permuted
from braindec.evaluate.measures import measure, values
from braindec.evaluate.systems import NuisanceFitter, System
from braindec.stats import pool_free

N_NULL = {"ridge": 19, "closed_form": 19}  # of the others, whose refits take longer:
FEW_NULL = 2
BESIDE = {"ours_crossfit": "ours"}  # with the configuration that the other was chosen to have
KEPT = (
    "image_retrieval_top1", "image_retrieval_top5", "bits_per_trial", "category_accuracy", "pairwise_identification",
    "roc_auc",
)  # fmt: skip
FORMAT = 1  # raised when what a cell computes changes without a setting that says so


@dataclass(frozen=True)
class Cell:
    """One job.

    kind: search, final, null, nuisance or ceiling. choices: a configuration for each fold. seed: of a null, its number.
    """

    kind: str
    regime: str
    system: str = ""
    choices: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Place:
    """Where a run lies, and whether it is the small one."""

    folder: Path
    small: bool

    @property
    def regimes(self) -> Mapping[str, Regime]:
        """By name."""
        return regimes.SMALL if self.small else regimes.REGIMES

    @property
    def steps(self) -> dict[str, int]:
        """The stopping rule."""
        return systems.SMALL_STEPS if self.small else systems.STEPS

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the systems."""
        return systems.SEEDS[:2] if self.small else systems.SEEDS

    def n_null(self, system: str) -> int:
        """Refits on a permuted pairing."""
        return 1 if self.small else N_NULL.get(system, FEW_NULL)

    def matter(self, regime: str) -> Matter:
        """The regime's data."""
        return regimes.matter(self.regimes[regime], self.folder, self.small)


@lru_cache(maxsize=64)
def pinned(place: Place, regime: str) -> tuple[str, int]:
    """(hash of a regime's data, target and folds, number of folds): its data are read once for this."""
    found = place.matter(regime)
    return store.content_hash(**regimes.identity(place.regimes[regime], found)), len(found.held)


def path_of(place: Place, cell: Cell) -> Path:
    """Where a cell's result lies, or will."""
    told: list[Any] = []
    if cell.system:
        entry = systems.SYSTEMS[BESIDE.get(cell.system, cell.system)]
        told = [[entry.kind, c, settings_to_json(_settings(place, cell, c))] for c in _chosen(cell)]
    key = store.content_hash(
        cell=[cell.kind, cell.regime, cell.system, cell.seed], settings=told, data=pinned(place, cell.regime)[0],
        versions=versions(), format=FORMAT,
    )  # fmt: skip
    name = f"{cell.regime}-{cell.system or 'all'}-{cell.kind}-{cell.seed}-{key[:16]}.json"
    return place.folder / "cells" / name


def found(place: Place, cell: Cell) -> dict[str, Any] | None:
    """A cell's result, or None where it was not made yet."""
    path = path_of(place, cell)
    return store.read_json(path) if path.is_file() else None


def run(place: Place, cell: Cell) -> None:
    """Makes one cell and writes it, whole or not at all; what a system refuses is a result too."""
    torch.set_num_threads(1)
    started, busy = time.perf_counter(), time.process_time()
    try:
        made = MAKERS[cell.kind](place, cell)
    except ValueError as error:
        made = {"refused": str(error)}
    about = {**vars(cell), "choices": _chosen(cell)}
    made |= {
        "seconds": round(time.perf_counter() - started, 2), "cpu_seconds": round(time.process_time() - busy, 2),
    }  # fmt: skip
    store.write_json(path_of(place, cell), {"cell": about, **made})


def first_wave(place: Place, regime: str) -> list[Cell]:
    """What needs no choice: every configuration of every system, the nuisance decoder, ceilings."""
    one = place.regimes[regime]
    n_folds = pinned(place, regime)[1]
    made = [
        Cell("search", regime, name, (i,) * n_folds, systems.SEARCH_SEED)
        for name in one.systems
        for i in range(len(systems.SYSTEMS[name].choices))
    ]
    return [*made, Cell("nuisance", regime), *([] if one.real else [Cell("ceiling", regime)])]


def second_wave(place: Place, regime: str) -> list[Cell]:
    """What follows from the choices: the chosen configurations with every seed on the test part, and their nulls."""
    one, made = place.regimes[regime], []
    picked = {name: choice_of(place, regime, name) for name in one.systems}
    for name, choices in picked.items():
        if choices is not None:
            made += [Cell("final", regime, name, choices, seed) for seed in place.seeds]
            made += [Cell("null", regime, name, choices, n) for n in range(place.n_null(name))]
    for name, other in BESIDE.items():
        choices = picked.get(other)
        if choices is not None and not one.known and not one.real and one.target == "clip":
            made += [Cell("final", regime, name, choices, seed) for seed in place.seeds]
            made += [Cell("null", regime, name, choices, n) for n in range(1 if place.small else FEW_NULL)]
    return made


def choice_of(place: Place, regime: str, name: str) -> tuple[int, ...] | None:
    """The best configuration on each fold's validation units, of equals the first; None while any is unmeasured."""
    cells = [c for c in first_wave(place, regime) if c.kind == "search" and c.system == name]
    told = [found(place, c) for c in cells]
    if any(t is None or "refused" in t for t in told):
        return None
    table = np.array([t["validation"] for t in told if t is not None])  # (configuration, fold)
    return tuple(int(i) for i in table.argmax(0))


def _chosen(cell: Cell) -> list[dict[str, Any]]:
    """The configurations of the folds."""
    known = systems.SYSTEMS[BESIDE.get(cell.system, cell.system)].choices if cell.system else ()
    return [known[i] for i in cell.choices]


def _settings(place: Place, cell: Cell, choice: dict[str, Any]) -> Any:
    name, signal = BESIDE.get(cell.system, cell.system), place.regimes[cell.regime].signal
    seed = systems.SEARCH_SEED if cell.kind == "null" else cell.seed
    made = systems.settings_of(name, choice, signal, seed, steps=place.steps)
    return replace(made, n_folds=3, calibrate=True) if cell.system in BESIDE else made


def training(found: Matter, fold: int) -> NeuralDataset:
    """A fold's train part, split for validation; no test trial belongs to it."""
    whole = found.exam.dataset.with_split(found.exam.folds[fold]).part("train")
    return replace(whole, split=found.held[fold], part_name=None, splits={})


def _fits(
    place: Place, cell: Cell, null: int | None = None, *, keep: bool = False
) -> Iterator[fitting.Fitted]:
    """A fit a fold; the pairing of training and validation trials permuted where a null's number is given."""
    matter = place.matter(cell.regime)
    entry = systems.SYSTEMS[BESIDE.get(cell.system, cell.system)]
    for fold, choice in enumerate(_chosen(cell)):
        part, known, settings = training(matter, fold), matter.known, _settings(place, cell, choice)
        if null is not None:
            draw = seeding.numpy_generator(0, "null", cell.regime, fold, null)
            part = permuted(part, draw, matter.exam.protocol)
            known = None if known is None else permuted(known, draw, matter.exam.protocol)
        if cell.system in BESIDE:
            decoder = BrainDecoder.build(settings, part.info, matter.exam.embeddings.info)
            decoder.fit(part, matter.exam.embeddings, prior=False, progress=False)
            yield fitting.Fitted(decoder, float("nan"), decoder.log.best_step if decoder.log else 0)
        else:
            yield fitting.fit(entry.kind, settings, choice, part, matter.exam.embeddings, known, keep=keep)


def _search(place: Place, cell: Cell) -> dict[str, Any]:
    return _told(list(_fits(place, cell)))


def _told(fits: Sequence[fitting.Fitted]) -> dict[str, Any]:
    steps = [f.best_step for f in fits]
    return {"validation": [f.validation for f in fits], "best_step": steps, "curve": fits[0].curve}


def _final(place: Place, cell: Cell) -> dict[str, Any]:
    exam, one = place.matter(cell.regime).exam, place.regimes[cell.regime]
    by_step = one.by_step and cell.system not in BESIDE and systems.SYSTEMS[cell.system].kind == "gradient"
    fits = list(_fits(place, cell, keep=by_step))
    record = _told(fits) | _judged(exam, [f.system for f in fits])
    if cell.system in BESIDE:
        del record["validation"]
    if by_step:
        record["by_step"] = {step: _values(exam, [f.at(step) for f in fits]) for step in fits[0].states}
    return record


def _null(place: Place, cell: Cell) -> dict[str, Any]:
    exam = place.matter(cell.regime).exam
    return {"values": _values(exam, [f.system for f in _fits(place, cell, cell.seed)])}


def _nuisance(place: Place, cell: Cell) -> dict[str, Any]:
    exam = place.matter(cell.regime).exam
    decoded = exam.decode(NuisanceFitter())
    labels = exam.labels(decoded)
    return {"values": {k: values(d, exam.protocol, labels[k]) for k, d in decoded.items()}}


def _ceiling(place: Place, cell: Cell) -> dict[str, Any]:
    """Of every subject: what observers that were told the truth retrieve, and how many bits."""
    matter = place.matter(cell.regime)
    train, test = (matter.exam.dataset.part(name) for name in ("train", "test"))
    out: dict[str, Any] = {}
    for key in test.keys:
        told = truth.ceilings(matter.folder, test.trials[key], train.trials[key], matter.exam.embeddings)
        out[key] = {
            kind: {
                "image_retrieval_top1": c.top1,
                "image_retrieval_top5": float(c.image_retrieval(5).mean()),
                "bits_per_trial": bits(c.scores, c.target),
            }
            for kind, c in told.items()
        }
    return {"values": out}


def bits(similarity: np.ndarray, own: np.ndarray) -> float:
    """Bits per trial of a table of similarities."""
    return float(pool_free.information(pool_free.surprisal(similarity, own)).mean())


MAKERS = {"search": _search, "final": _final, "null": _null, "nuisance": _nuisance, "ceiling": _ceiling}


def _decoded(exam: Any, fitted: Sequence[System]) -> Any:
    """The test parts, each read by the system of its fold."""
    queue = iter(fitted)
    return exam.decode(lambda *_: next(queue))


def _judged(exam: Any, fitted: Sequence[System]) -> dict[str, Any]:
    decoded = _decoded(exam, fitted)
    labels, out = exam.labels(decoded), {}
    for key, d in decoded.items():
        told = measure(d, exam.protocol, labels[key], seeding.numpy_generator(0, "intervals", key))
        out[key] = {
            "ids": list(d.ids),
            "values": {name: m.value for name, m in told.items()},
            "chance": {name: m.chance for name, m in told.items()},
            "per_sample": {
                n: [round(float(v), 5) for v in m.per_sample] for n, m in told.items() if n in KEPT
            },
        }
    return {"test": out}


def _values(exam: Any, fitted: Sequence[System]) -> dict[str, dict[str, float]]:
    decoded = _decoded(exam, fitted)
    labels = exam.labels(decoded)
    return {key: values(d, exam.protocol, labels[key]) for key, d in decoded.items()}
