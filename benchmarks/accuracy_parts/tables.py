"""From cells to tables: means over subjects and seeds with their intervals, controls beside, ranks, gains by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accuracy_parts import cells, systems
from accuracy_parts.cells import Cell, Place
from accuracy_parts.regimes import Absent
from braindec import seeding
from braindec.decoder import versions
from braindec.stats.intervals import mean_interval
from braindec.stats.mixed import subjects_by_seeds
from braindec.stats.paired import paired_difference
from braindec.stats.permutation import p_value

RETRIEVAL = "image_retrieval_top1"
BY_CLASS = ("roc_auc", "category_accuracy")
Finals = dict[str, list[dict[str, Any]]]  # system -> a record a seed


def record(place: Place, absent: Mapping[str, str]) -> dict[str, Any]:
    """All that is known, as JSON values; a regime without cells or data says why."""
    made, missing = {}, dict(absent)
    for name in place.regimes:
        if name in absent:
            continue
        if not any(place.folder.glob(f"cells/{name}-*-final-*.json")):
            missing[name] = "not yet measured"
            continue
        try:
            made[name] = of_regime(place, name)
        except (
            Absent
        ) as reason:  # measured before, and the data are gone: cells cannot be told from those of others
            missing[name] = str(reason)
    return {
        "measured": bool(made) or "not measured: no cell was made", "versions": versions(),
        "rules": {
            "systems": {n: {"about": e.about, "choices": list(e.choices)} for n, e in systems.SYSTEMS.items()},
            "stopping": place.steps, "seeds": list(place.seeds),
        },
        "values": made, "not_measured": missing,
    }  # fmt: skip


def of_regime(place: Place, name: str) -> dict[str, Any]:
    """One regime: a row a system, controls, ceilings, the default and its rank, gains by step."""
    regime = place.regimes[name]
    complete, metrics = _complete(place, name)
    metric = metrics[0]
    one: dict[str, Any] = {
        "axis": regime.axis, "metric": metric, "systems": {}, "signal": regime.signal,
        "refused": _refused(place, name), "unmeasured": sorted(set(regime.systems) - set(complete)),
    }  # fmt: skip
    for system, rows in complete.items():
        one["systems"][system] = _row(place, name, system, rows, metrics)
    for kind in ("nuisance", "ceiling"):
        made = cells.found(place, Cell(kind, name)) if kind == "nuisance" or not regime.real else None
        if made is not None and "values" in made:
            one[kind] = _controls(made["values"], metrics, kind)
    ranked = {s: rows for s, rows in complete.items() if s in regime.systems}
    if ranked:
        one |= _default(one["systems"], ranked, metric)
        one["beyond_closed_form"] = beyond(complete, metric)
        one["by_step"] = by_step(complete, metric)
    return one


def _complete(place: Place, name: str) -> tuple[Finals, list[str]]:
    """Systems with a record for every seed, and what they are told by: bits only where the gallery allows them."""
    regime, finals = place.regimes[name], Finals()
    for cell in cells.second_wave(place, name):
        if cell.kind == "final" and (made := cells.found(place, cell)) is not None and "test" in made:
            finals.setdefault(cell.system, []).append(made)
    complete = {s: rows for s, rows in finals.items() if len(rows) == len(place.seeds)}
    wanted = [regime.metric] if regime.real else list(dict.fromkeys((regime.metric, RETRIEVAL)))
    rows = next(iter(complete.values()), [])
    given = [m for m in wanted if all(m in t["values"] for r in rows for t in r["test"].values())]
    return complete, given


def table_of(rows: Sequence[Mapping[str, Any]], metric: str) -> np.ndarray:
    """Values (subject, seed)."""
    keys = sorted(rows[0]["test"])
    return np.array([[r["test"][k]["values"][metric] for r in rows] for k in keys])


def summary(table: np.ndarray) -> dict[str, Any]:
    """Mean of (subject, seed) and the mixed model's interval; of one subject the spread over seeds instead."""
    if min(table.shape) < 2:
        spread = table.std(1, ddof=min(1, table.shape[1] - 1)).mean()
        return {"value": float(table.mean()), "sd_over_seeds": float(spread)}
    found = subjects_by_seeds(table)
    return {"value": found.value, "interval": [found.interval.low, found.interval.high], "p": found.p,
            "variance": found.variance, "model": "subjects x seeds"}  # fmt: skip


def difference(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """a - b: over subjects and seeds; of one subject over its stimuli, seeds averaged."""
    gap = table_of(a, metric) - table_of(b, metric)
    if min(gap.shape) >= 2:
        return summary(gap)
    key = next(iter(a[0]["test"]))
    first, second = (np.mean([r["test"][key]["per_sample"][metric] for r in rows], 0) for rows in (a, b))
    draw = seeding.numpy_generator(0, "paired", metric)
    found = paired_difference(first, second, draw, units=units_of(a[0], key, metric))
    return {"value": found.value, "interval": [found.interval.low, found.interval.high], "p": found.p,
            "model": "stimuli of one subject, seeds averaged"}  # fmt: skip


def over_stimuli(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Interval over the samples of one subject, seeds averaged; speaks of its stimuli alone."""
    key = next(iter(rows[0]["test"]))
    mean = np.mean([r["test"][key]["per_sample"][metric] for r in rows], 0)
    draw = seeding.numpy_generator(0, "interval", metric)
    found = mean_interval(mean, draw, units=units_of(rows[0], key, metric))
    return {"interval": [found.low, found.high], "model": "stimuli of one subject, seeds averaged"}


def units_of(row: Mapping[str, Any], key: str, metric: str) -> np.ndarray | None:
    """What was sampled independently: the stimulus; the trial where it is judged by its class."""
    return None if metric in BY_CLASS else np.array(row["test"][key]["ids"])


def _row(
    place: Place, name: str, system: str, rows: Sequence[dict[str, Any]], metrics: Sequence[str]
) -> dict[str, Any]:
    made: dict[str, Any] = {"choice": rows[0]["cell"]["choices"], "best_step": [r["best_step"] for r in rows]}
    if "validation" in rows[0]:
        made["validation"] = float(np.mean([r["validation"] for r in rows]))
    own = [c for c in cells.second_wave(place, name) if c.kind == "null" and c.system == system]
    drawn = [cells.found(place, c) for c in own]
    nulls = [d["values"] for d in drawn if d is not None and "values" in d]
    for metric in metrics:
        value = summary(table_of(rows, metric))
        if "interval" not in value:
            value |= over_stimuli(rows, metric)
        value["chance"] = float(np.mean([t["chance"][metric] for t in rows[0]["test"].values()]))
        of_null = np.array([np.mean([v[metric] for v in null.values()]) for null in nulls])
        value |= {"null": float(of_null.mean()) if len(of_null) else None, "null_n": len(of_null)}
        if len(of_null) >= 19:
            value["p_null"] = p_value(value["value"], of_null)
        made[metric] = value
    made["seconds"] = float(np.median([r["seconds"] for r in rows]))
    return made


def _controls(found: Mapping[str, Any], metrics: Sequence[str], kind: str) -> dict[str, Any]:
    """Means over subjects; of ceilings by kind."""
    if kind == "nuisance":
        return {m: float(np.mean([v[m] for v in found.values()])) for m in metrics}
    kinds = next(iter(found.values()))
    return {k: {m: float(np.mean([v[k][m] for v in found.values()])) for m in metrics} for k in kinds}


def _refused(place: Place, name: str) -> dict[str, str]:
    told = [(c, cells.found(place, c)) for c in cells.first_wave(place, name)]
    return {c.system or c.kind: t["refused"] for c, t in told if t is not None and "refused" in t}


def _default(told: Mapping[str, Any], ranked: Finals, metric: str) -> dict[str, Any]:
    """What validation would have us take, its rank on the test part, and how far it is from the best there."""
    order = sorted(ranked, key=lambda s: -told[s][metric]["value"])
    default = max(ranked, key=lambda s: told[s]["validation"])
    others = [s for s in order if s != default]
    rank = order.index(default) + 1
    made: dict[str, Any] = {"order": order, "default": default, "test_rank": rank, "of": len(order)}
    if others:
        gap = difference(ranked[default], ranked[others[0]], metric)
        made["default_minus_best_other"] = {"other": others[0], **gap}
    if "ours" in ranked and len(order) > 1:
        best = next(s for s in order if s != "ours")
        made["ours_rank"] = order.index("ours") + 1
        made["ours_minus_best_other"] = {"other": best, **difference(ranked["ours"], ranked[best], metric)}
    return made


def beyond(complete: Finals, metric: str) -> dict[str, Any]:
    """Every system minus the closed form, on the same subjects and seeds."""
    if "closed_form" not in complete:
        return {}
    base = complete["closed_form"]
    return {s: difference(rows, base, metric) for s, rows in complete.items() if s != "closed_form"}


def by_step(complete: Finals, metric: str) -> dict[str, Any]:
    """What gradient steps add: by system and step, the test value and its difference to the closed form's."""
    base = table_of(complete["closed_form"], metric) if "closed_form" in complete else None
    out: dict[str, Any] = {}
    for system, rows in complete.items():
        if "by_step" not in rows[0]:
            continue
        keys = sorted(rows[0]["test"])
        for step in sorted(rows[0]["by_step"], key=int):
            table = np.array([[r["by_step"][step][k][metric] for r in rows] for k in keys])
            told: dict[str, Any] = {"value": float(table.mean())}
            if base is not None:
                told["over_closed_form"] = summary(table - base)
            if "validation" in rows[0]:
                told["validation"] = float(np.mean([r["curve"][step] for r in rows]))
            out.setdefault(system, {})[step] = told
    return out
