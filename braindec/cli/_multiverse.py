"""`braindec multiverse`: every declared way of analysing a recipe's data, and how much the choice moves the score."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from braindec import checks


def add_options(parser: Any) -> None:
    """Options of the verb."""
    parser.add_argument("recipe", type=str, help="a recipe that declares FORKS, or the path of one")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of the prepared dataset"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of report.json and report.html"
    )
    parser.add_argument(
        "--system", type=str, default="ridge", help="run in every universe: 'ridge' (default) or 'braindec'"
    )
    parser.add_argument(
        "--metric", type=str, default=None, help="one of the protocol's; its first by default"
    )


def run(options: Any) -> None:
    """Runs the universes, prints their spread, writes the report."""
    from braindec import recipe, report
    from braindec.evaluate import multiverse
    from braindec.types import Report

    loaded = recipe.load(options.recipe)
    if loaded.fork is None:
        having = [name for name in recipe.names() if recipe.load(name).fork is not None]
        raise checks.ConfigError(
            f"recipe {loaded.name!r} declares no FORKS, and so no other ways to analyse; {having} do."
        )
    started = time.time()
    found = multiverse.multiverse(
        loaded.recipe, loaded.fork, loaded.forks, options.data, system=options.system, metric=options.metric
    )
    summary = found.summary()
    for row in summary:
        print(
            f"{row['system']} {row['key']}: {row['n_universes']} universes, {row['metric']} {row['min']:.3f} to "
            f"{row['max']:.3f}, median {row['median']:.3f}; the recipe's own {row['own']:.3f}, rank {row['own_rank']}"
        )
    for row in found.between:
        low, high = row["interval"]
        print(f"between systems, {row['a']} - {row['b']}: {row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]")
    run = {
        "title": f"Every way to analyse {loaded.name}",
        "summary": "The same recordings and the same split, analysed in every declared way; nothing is chosen from the "
        "outcome. What a choice moves stands beside what separates two systems.",
        "recipe": loaded.name,
        "command": f"braindec multiverse {loaded.name} --data DIR --out DIR --system {options.system}",
        "seconds": round(time.time() - started, 1),
        "multiverse": summary,
        "between": list(found.between),
    }
    panels = [multiverse.table(found), *(multiverse.panel(found, r["system"], r["key"]) for r in summary)]
    print(report.write(Report((), run, tuple(panels)), options.out))
