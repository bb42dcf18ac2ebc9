"""Decoders compared under one set of rules, on brains with a known truth and on real recordings, beside every control.

Run     OMP_NUM_THREADS=1 python benchmarks/accuracy.py --folder DIR [--jobs 2] [--only REGIME ...] [--budget-minutes N]
Small   python benchmarks/accuracy.py --small --folder DIR    (no result file)
Tables  python benchmarks/accuracy.py --folder DIR --budget-minutes 0    (of the cells that there are)
Writes  benchmarks/results/accuracy.json, docs/what-works.md, DIR/accuracy.png

Systems, their configurations, seeds and stopping rule stand in `accuracy_parts/systems.py`, regimes in
`accuracy_parts/regimes.py`; all of it is written to DIR/declared.json before a cell is made. Every system has four
configurations; each is fitted once, the best on the validation units is then fitted with every seed and judged on the
test part. Each job is one file in DIR/cells, found again when the command is given again. `BRAINDEC_REAL_DATA` names
the folder of real recordings; where it does not, their regimes are skipped and the result says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from _record import cpu_name
from accuracy_parts import cells, regimes, systems, tables, what_works
from accuracy_parts.cells import Cell, Place

from braindec import store

RESULT = Path(__file__).parent / "results" / "accuracy.json"
PAGE = Path(__file__).parents[1] / "docs" / "what-works.md"
PICTURE = PAGE.parent / "img" / "accuracy.png"


def main() -> None:
    """Makes what is missing, says what is left, and writes tables, page and figure of what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="+", default=None, metavar="REGIME")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--budget-minutes", type=float, default=180.0)
    options = parser.parse_args()
    place = Place(options.folder.absolute(), options.small)
    names = list(place.regimes) if options.only is None else options.only
    if unknown := sorted(set(names) - set(place.regimes)):
        parser.error(f"unknown regimes {unknown}; there are {list(place.regimes)}")
    deadline = time.monotonic() + 60 * options.budget_minutes
    absent = declare(place, names)
    for name in names:
        if name not in absent:
            fill(place, cells.first_wave(place, name), options.jobs, deadline)
            fill(place, cells.second_wave(place, name), options.jobs, deadline)
    left = say_left(place, [n for n in names if n not in absent], options.jobs)
    write(place, absent, left, [Path(sys.argv[0]).name, *sys.argv[1:]])


def declare(place: Place, names: Sequence[str]) -> dict[str, str]:
    """Writes what holds for all before anything is fitted; gives the regimes without data and why."""
    absent: dict[str, str] = {}
    declared: dict[str, Any] = {
        "systems": {name: vars(entry) for name, entry in systems.SYSTEMS.items()},
        "stopping": {"rule": "the best look at the validation units", **place.steps},
        "validation": f"{regimes.HELD:g} of each fold's training units, the same for all",
        "chosen_by": "mean reciprocal rank of the validation stimuli (responses averaged, cosine), with seed 0",
        "seeds": place.seeds, "regimes": {},
    }  # fmt: skip
    for name in names:
        try:
            found = place.matter(name)
        except regimes.Absent as reason:
            absent[name] = str(reason)
            continue
        told = regimes.identity(place.regimes[name], found)
        declared["regimes"][name] = {k: told[k] for k in ("regime", "protocol", "folds", "validation")}
        declared["regimes"][name]["unit"] = [h.unit for h in found.held]
    path = place.folder / "declared.json"
    if path.is_file():  # of other regimes, from an earlier command
        declared["regimes"] = store.read_json(path)["regimes"] | declared["regimes"]
    store.write_json(path, declared)
    return absent


def fill(place: Place, wanted: Sequence[Cell], jobs: int, deadline: float) -> None:
    """Makes those cells that are missing, until the deadline; a cell that was begun is finished."""
    missing = [c for c in wanted if not cells.path_of(place, c).is_file()]

    def in_time() -> Iterator[Cell]:
        for cell in missing:
            if time.monotonic() >= deadline:
                return
            yield cell

    if jobs == 1:
        for cell in in_time():
            cells.run(place, cell)
        return
    joblib.Parallel(n_jobs=jobs, pre_dispatch=jobs, batch_size=1)(
        joblib.delayed(cells.run)(place, cell) for cell in in_time()
    )


def say_left(place: Place, names: Sequence[str], jobs: int) -> dict[str, dict[str, float]]:
    """Prints and gives, by regime: cells made and missing, minutes spent, and those that are left by measured cells."""
    table = {name: [*cells.first_wave(place, name), *_planned(place, name)] for name in names}
    told = {name: [(c, cells.found(place, c)) for c in listed] for name, listed in table.items()}
    seconds: dict[tuple[str, ...], list[float]] = {}
    for name, listed in told.items():
        for cell, made in listed:
            if made is not None:
                for key in _alike(place, cell, name):
                    seconds.setdefault(key, []).append(busy(made))
    left = {}
    for name, listed in told.items():
        missing = [c for c, made in listed if made is None]
        guesses = [_guess(seconds, _alike(place, c, name)) for c in missing]
        spent = sum(busy(made) for _, made in listed if made is not None)
        left[name] = {
            "made": len(listed) - len(missing), "missing": len(missing), "core_minutes_spent": round(spent / 60, 1),
            "core_minutes_left": round(sum(g for g in guesses if g is not None) / 60, 1),
            "without_estimate": sum(g is None for g in guesses),
        }  # fmt: skip
        print(f"{name:<20}" + "  ".join(f"{k} {v:g}" for k, v in left[name].items()))
    total = sum(row["core_minutes_left"] for row in left.values())
    print(f"left: about {total / jobs:.0f} minutes with {jobs} jobs")
    return left


def busy(made: dict[str, Any]) -> float:
    """Seconds of a core that a cell took, which other work on the machine hardly changes."""
    return float(made.get("cpu_seconds", made["seconds"]))


def _planned(place: Place, name: str) -> list[Cell]:
    """The second wave; where a choice is not made yet, with the first configuration in its place."""
    made = cells.second_wave(place, name)
    known = {c.system for c in made}
    n_folds = cells.pinned(place, name)[1]
    for system in set(place.regimes[name].systems) - known:
        first = [c for c in cells.first_wave(place, name) if c.kind == "search" and c.system == system]
        told = [cells.found(place, c) for c in first]
        if any(t is not None and "refused" in t for t in told):
            continue
        made += [Cell("final", name, system, (0,) * n_folds, seed) for seed in place.seeds]
        made += [Cell("null", name, system, (0,) * n_folds, n) for n in range(place.n_null(system))]
    return made


def _alike(place: Place, cell: Cell, regime: str) -> list[tuple[str, ...]]:
    """Groups of cells that take about as long, the closest first."""
    signal = place.regimes[regime].signal
    return [(cell.kind, cell.system, regime), (cell.system, regime), (cell.kind, cell.system, signal),
            (cell.system, signal), (cell.kind, signal)]  # fmt: skip


def _guess(seconds: dict[tuple[str, ...], list[float]], groups: Sequence[tuple[str, ...]]) -> float | None:
    return next((float(np.mean(seconds[g])) for g in groups if g in seconds), None)


def machine() -> dict[str, Any]:
    """Processor and cores."""
    return {"processor": cpu_name(), "cores": os.cpu_count()}


def write(
    place: Place, absent: dict[str, str], left: dict[str, dict[str, float]], command: list[str]
) -> None:
    """The tables of all regimes that have cells, whichever this command named."""
    record = tables.record(place, absent)
    told = [
        "DIR" if one == str(place.folder) or Path(one).absolute() == place.folder else one
        for one in command[1:]
    ]
    record |= {
        "command": " ".join(["python", f"benchmarks/{command[0]}", *told]),
        "left": left,
        "machine": machine(),
    }
    store.write_json(place.folder / "accuracy.json", record)
    print(what_works.markdown(record))
    what_works.figure(record, place.folder / "accuracy.png")
    if not place.small:
        RESULT.write_text(json.dumps(record, indent=1) + "\n")
        PAGE.write_text(what_works.page(record))
        what_works.figure(record, PICTURE)


if __name__ == "__main__":
    main()
