"""What else `braindec info` knows by name: settings of recipes, scores as reports print them, published systems."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from braindec import config, headers, registry


def settings(recipe: str) -> list[str]:
    """Each setting of a recipe and its value, as `--set` takes them: ``backbone.n_blocks=4``."""
    from braindec import recipe as recipes

    return [f"{path}={value}" for path, value in _leaves("", config.to_json(recipes.load(recipe).recipe))]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted path, value as `--set` takes it) of what holds nothing further; a member's name stands for it."""
    if isinstance(value, dict) and value:
        if "kind" in value and "name" in value:
            yield path, value["name"]
        for key, inner in value.items():
            if not ("kind" in value and key in ("kind", "name")):
                yield from _leaves(f"{path}.{key}" if path else key, inner)
    else:
        yield path, "null" if value is None else value


def metrics() -> dict[str, tuple[str, Any]]:
    """(member, metric) of each score that has a metric, by the name that reports print."""
    return {
        name: (member, metric)
        for member in registry.names("metrics")
        for name, metric in registry.load("metrics", member).METRICS.items()
    }


def score(name: str, member: str, metric: Any) -> str:
    """What a score of reports is: its metric, what that is called with, its chance, its source."""
    from braindec import report

    compute, fixed = metric.compute, {}
    if isinstance(compute, functools.partial):
        fixed, compute = compute.keywords, compute.func
    chance = metric.chance
    if chance is None:
        chance = "that of mismatched pairs"
    elif callable(chance):
        shown = ", ".join(f"{chance(n):g} of {n}" for n in (10, 100, 1000))
        chance = f"by the number of alternatives: {shown}"
    said = {
        "score": f"{name}, a metric of metrics/{member}",
        "what it is": report.METRICS.get(name, ""),
        "needs": metric.needs,
        "parameters": ", ".join(f"{k}={v!r}" for k, v in fixed.items()),
        "chance": chance,
        "better": metric.direction,
        "source": metric.source,
    }
    lines = [f"{key:<11} {value}" for key, value in said.items() if value not in ("", None)]
    return "\n".join([*lines, "", inspect.getdoc(compute) or ""]).rstrip()


def systems() -> dict[str, list[str]]:
    """The recipes that stand for each published system, by the system's name in small letters."""
    found: dict[str, list[str]] = {}
    for head in headers.read_all():
        for system in head.systems:
            for called in (system.name, system.name.partition(" (")[0], system.id):
                known = found.setdefault(called.lower(), [])
                known += [head.name] if head.name not in known else []
    return found
