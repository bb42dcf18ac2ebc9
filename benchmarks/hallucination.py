"""Whether the hallucination meter says what it promises: coverage, what is not encoded, what is, false claims.

Run     OMP_NUM_THREADS=1 BRAINDEC_REAL_DATA=DIR python benchmarks/hallucination.py [--worlds 20] [--folder F]
Small   python benchmarks/hallucination.py --small    (no result file)
Writes  benchmarks/results/hallucination.json

worlds  Simulated brains of one subject; a fifth of them sees everything, the others do not see the colour, the texture,
        the shape of objects, or the background (`World.unseen`: to them all scenes are alike in it). Readouts, decoder,
        and prior know 800 training scenes alone; numbers are of 300 scenes a world that nothing was fitted on. Each
        decoder is calibrated twice: on 160 further scenes that were set aside before it was fitted, and on training
        scenes out of fold. Each world is one file in F, found again when the command is given again.
digits  A hundred digits that a person saw, ten held out at a time; intervals by jackknife+ over the other ninety; and
        the same with the digits shuffled. Left out, and said so, where BRAINDEC_REAL_DATA is not set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _record import cpu_name
from hallucination_parts import digits, worlds

from braindec import store
from braindec.decoder import versions
from braindec.evaluate.hallucination import FROM_BRAIN, FROM_PRIOR, UNDECIDABLE
from braindec.evaluate.jobs import refits
from braindec.stats.intervals import wilson

RESULT = Path(__file__).parent / "results" / "hallucination.json"
FIRST = 20  # the meter's level of "carried" was chosen in view of worlds 0 to 19


def main() -> None:
    """Prints the summary and, at full size, writes it with every row, the machine, the versions and the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n, size = (2, worlds.SMALL) if options.small else (options.worlds, worlds.Size())
    plants = list(worlds.PLANTS)

    def one(number: int) -> list[dict[str, Any]]:
        path = None if options.folder is None else options.folder / f"world-{FIRST + number:03d}.json"
        if path is not None and path.is_file():
            return store.read_json(path)
        found = worlds.measured(FIRST + number, plants[number % len(plants)], size)
        if path is not None:
            store.write_json(path, found)
        return found

    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    rows = [
        row for found in refits(one, n, n_jobs=options.jobs, said="worlds", progress=True) for row in found
    ]
    values = {"worlds": rows, "digits": digits_part(small=options.small)}
    summary = {
        way: summary_of([r for r in rows if r["calibration"] == way]) for way in ("aside", "out of fold")
    } | {"worlds": n}
    print(json.dumps(summary | {"digits": values["digits"]}))
    if options.small:
        return
    record = {
        "measured": True,
        "command": "OMP_NUM_THREADS=1 BRAINDEC_REAL_DATA=DIR python benchmarks/hallucination.py",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None,
                    "load_average": os.getloadavg()},
        "versions": versions(), "summary": summary, "values": values,
    }  # fmt: skip
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def digits_part(*, small: bool) -> Any:
    """Rows of the recording and of shuffled copies of it, or why there are none."""
    root = os.environ.get("BRAINDEC_REAL_DATA")
    if root is None or small:
        return (
            "not measured: BRAINDEC_REAL_DATA names no folder of real recordings"
            if not small
            else "not run small"
        )
    folder = Path(root) / "fmri_digits69"
    return {
        "seen": digits.measured(folder),
        "shuffled": [digits.measured(folder, shuffled=seed) for seed in range(5)],
    }


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The claims of the meter, each a share with its 95 % interval over pictures and n."""
    encoded, not_encoded = [r for r in rows if r["encoded"]], [r for r in rows if not r["encoded"]]
    classes = [r for r in rows if r["attribute"] not in ("latent", "across")]
    by_attribute = {}
    for name in dict.fromkeys(r["attribute"] for r in rows):
        own = [r for r in rows if r["attribute"] == name]
        seen = [r for r in own if r["encoded"]]
        by_attribute[name] = {
            "coverage": share(own, "covered"), "standard_error_over_worlds": spread_over_worlds(own),
            "never_empty": share(own, "covered_never_empty"),
            "from_the_brain_where_encoded": share(seen, FROM_BRAIN), "undecidable": share(seen, UNDECIDABLE),
            "from_the_prior": share(seen, FROM_PRIOR), "carried": sum(r["carried"] for r in seen) / max(len(seen), 1),
        }  # fmt: skip
    return {
        "coverage": share(rows, "covered"), "standard_error_over_worlds": spread_over_worlds(rows),
        "coverage_of_classes": share(classes, "covered"),
        "coverage_where_not_encoded": share(not_encoded, "covered"),
        "not_encoded_from_the_prior": share(not_encoded, FROM_PRIOR),
        "encoded_from_the_brain": share(encoded, FROM_BRAIN),
        "wrong_claims": ratio(sum(r["wrong_claims"] for r in rows), sum(r["claims"] for r in rows)),
        "by_attribute": by_attribute,
    }  # fmt: skip


def spread_over_worlds(rows: Sequence[dict[str, Any]]) -> float | None:
    """Standard error of the coverage over worlds, each of which has its own calibration; None of one world."""
    by_world = [
        [r["covered"] / r["n"] for r in rows if r["seed"] == seed] for seed in {r["seed"] for r in rows}
    ]
    if len(by_world) < 2:
        return None
    return round(statistics.stdev(map(statistics.fmean, by_world)) / len(by_world) ** 0.5, 4)


def share(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Pictures with something, of all of some rows."""
    return ratio(sum(r[name] for r in rows), sum(r["n"] for r in rows))


def ratio(hits: int, n: int) -> dict[str, Any] | None:
    """A share with Wilson's interval; None of nothing."""
    if n == 0:
        return None
    found = wilson(hits, n)
    return {"value": round(hits / n, 4), "interval": [round(found.low, 4), round(found.high, 4)], "n": n}


if __name__ == "__main__":
    sys.exit(main())
