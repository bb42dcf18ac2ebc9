"""When one system may be said to be above another: what the comparison still lacks, and how to get it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from braindec.evaluate.rules import unlike
from braindec.stats.corrections import holm
from braindec.stats.mixed import subjects_by_seeds
from braindec.types import Report

FEW_SEEDS = 5  # below it the spread over seeds is a guess
LEVEL = 0.05  # of the corrected p that a verdict needs
SAME = {"search": "search space", "validation": "validation split", "stopping": "stopping rule"}
IN_PYTHON = "evaluate.contest, which puts all systems under one set of rules"


class Runs(Protocol):
    """One system's runs, one a seed."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> str: ...

    @property
    def system(self) -> str: ...

    @property
    def reports(self) -> tuple[Report, ...]: ...

    @property
    def seeds(self) -> tuple[Any, ...]: ...

    def of_seeds(self, seeds: Sequence[Any]) -> Runs: ...


class Table(Protocol):
    """Samples of one metric and subject by seed, of both systems."""

    @property
    def direction(self) -> str: ...

    @property
    def a(self) -> np.ndarray: ...

    @property
    def b(self) -> np.ndarray: ...

    def by_unit(self) -> np.ndarray: ...


def lacking(a: Runs, b: Runs) -> list[dict[str, str]]:
    """Each condition of a verdict that these runs do not meet: ``condition``, ``why``, ``way_out``.

    The conditions: equal search space, validation split and stopping rule, as recorded by the runs; at least
    `FEW_SEEDS` seeds that both have.
    """
    common = [s for s in a.seeds if s in b.seeds]
    unrecorded = [r for r in (a, b) if not all(_rules(r))]
    if unrecorded:
        out = [
            _row(
                "recorded rules",
                f"{r.name} does not say how its {r.system} was chosen and trained",
                _command(r, FEW_SEEDS)
                if r.system == "braindec"
                else f"only fitted systems have rules; {IN_PYTHON}",
            )
            for r in unrecorded
        ]
    else:
        differs: dict[str, dict[str, Any]] = {}
        paired = (_rules(r.of_seeds(common)) for r in (a, b))
        for first, second in zip(*paired, strict=False):
            differs = {**unlike(first, second), **differs}
        out = [
            _row(f"one {SAME[k]}", _told(k, differs[k], a, b), _way_out(k, differs, a, b))
            for k in SAME
            if k in differs
        ]
    if len(common) < FEW_SEEDS:
        why = f"{len(common)} seed{'' if len(common) == 1 else 's'} in common; the spread over seeds takes {FEW_SEEDS}"
        short = [r for r in (a, b) if len(r.seeds) < FEW_SEEDS] or [b]
        commands = "; ".join(dict.fromkeys(_command(r, FEW_SEEDS) for r in short))
        out.append(_row(f"{FEW_SEEDS} seeds", why, commands))
    return out


def subject(lacks: Sequence[Mapping[str, str]], a: Runs, b: Runs) -> str:
    """What the differences are of, in a sentence."""
    if not lacks:
        return "Both systems were searched, validated and stopped alike, and trained from 5 seeds or more."
    which = "two " if len(a.reports) == len(b.reports) == 1 else ""
    return f"These are differences of these {which}fitted decoders, not of the systems."


def names_of(a: Runs, b: Runs) -> tuple[str, str]:
    """What they are called: two systems of one run by their systems."""
    return (a.name, b.name) if a.system == b.system else (f"{a.name} ({a.system})", f"{b.name} ({b.system})")


def over_seeds(pairs: Mapping[Any, Table], names: tuple[str, str], n_seeds: int) -> list[dict[str, Any]]:
    """A row a metric and modality: the mean difference, its interval that seeds widen too, and the spread over seeds.

    Several subjects are crossed with seeds, one subject's stimuli with them. Seeds are paired: the k-th of both.
    """
    out = []
    for metric, modality in dict.fromkeys((k[0], k[2]) for k in pairs):
        chosen = [p for k, p in pairs.items() if (k[0], k[2]) == (metric, modality)]
        if n_seeds < 2:
            continue
        several = len(chosen) > 1
        tables = [p.by_unit() for p in chosen]  # (n_units, n_seeds)
        found = subjects_by_seeds(np.stack([t.mean(0) for t in tables]) if several else tables[0])
        rows = "subject" if several else "stimulus"
        variance = {rows if name == "subject" else name: value for name, value in found.variance.items()}
        out.append({
            "metric": metric, "modality": modality, "direction": chosen[0].direction, "rows": rows,
            "n_rows": found.n_subjects, "n_subjects": len(chosen), "n_seeds": found.n_seeds,
            "difference": found.value, "interval": [found.interval.low, found.interval.high], "p": found.p,
            "variance": variance,
            "seed_sd_a": _spread([p.a for p in chosen]), "seed_sd_b": _spread([p.b for p in chosen]),
            "speaks_of": "further subjects and seeds" if several else "further stimuli and seeds of this subject",
        })  # fmt: skip
    for row, p in zip(out, holm([row["p"] for row in out]) if out else [], strict=True):
        row["p_holm"] = float(p)
        row["told"] = _told_apart(row, names)
    return out


def verdicts(over: Sequence[Mapping[str, Any]], lacks: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What may be said of each metric: which is above, that they are not told apart, or that nothing may be said."""
    return [
        {"metric": r["metric"], "modality": r["modality"], "verdict": "withheld" if lacks else r["told"]}
        for r in over
    ]


def _told_apart(row: Mapping[str, Any], names: tuple[str, str]) -> str:
    if row["p_holm"] >= LEVEL:
        return "not told apart"
    better = (row["difference"] > 0) == (row["direction"] == "higher")
    above, below = names if better else names[::-1]
    return f"{above} above {below}" + ("" if row["direction"] == "higher" else " (lower is better)")


def _spread(values: Sequence[np.ndarray]) -> float:
    """Mean over subjects of the SD over seeds of the score."""
    return float(np.mean([v.mean(1).std(ddof=1) for v in values]))


def _rules(runs: Runs) -> list[Mapping[str, Any] | None]:
    return [(r.run.get("rules") or {}).get(runs.system) for r in runs.reports]


def _told(kind: str, differs: Mapping[str, Any], a: Runs, b: Runs) -> str:
    first, second = names_of(a, b)
    if kind == "search":
        n, m = differs["n_configurations"]
        return f"{first} was chosen of {n}, {second} of {m} {'other ' * (n == m)}configurations"
    if "rule" in differs:
        return f"{first}: {differs['rule'][0]}; {second}: {differs['rule'][1]}"
    said = [f"{name} {x} against {y}" for name, (x, y) in differs.items()]
    if not said:  # the same numbers of folds and units, dealt otherwise
        return "other units were held out (other training data, or another seed)"
    return ", ".join(said)


def _way_out(kind: str, differs: Mapping[str, Any], a: Runs, b: Runs) -> str:
    """The command that trains `b` as `a` was; where it is no matter of a setting, the function that does."""
    stops = differs.get("stopping", {})
    settings = {name: x for name, (x, _) in stops.items() if name != "rule" and x is not None}
    if kind == "search" or (stops and not settings) or {a.system, b.system} != {"braindec"}:
        return IN_PYTHON
    return _command(b, FEW_SEEDS, settings)


def _command(runs: Runs, n_seeds: int, settings: Mapping[str, Any] | None = None) -> str:
    run = runs.reports[0].run
    if not run.get("recipe"):
        return f"{IN_PYTHON}, with {n_seeds} seeds"
    recipe = run.get("recipe_file") or run["recipe"]
    kept = [s for s in run.get("sets", ()) if s.partition("=")[0] not in ("seed", *(settings or {}))]
    sets = [
        *kept,
        *(f"{name}={str(x).lower() if isinstance(x, bool) else x}" for name, x in (settings or {}).items()),
    ]
    folder = Path(runs.folder)
    out = folder.parent if folder.name.startswith("seed-") else folder
    words = ["braindec", "run", str(recipe), "--data", "DIR", "--seeds", str(n_seeds), "--out", str(out)]
    return shlex.join([*words, *(w for s in sets for w in ("--set", s))])


def _row(condition: str, why: str, way_out: str) -> dict[str, str]:
    return {"condition": condition, "why": why, "way_out": way_out}
