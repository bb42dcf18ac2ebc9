"""RDMs beside rsatoolbox in one run: the same distances, and how long each takes.

Run     python benchmarks/rdm.py [--small --repeats 3 --out FILE]
Writes  benchmarks/results/rdm.json

Systems take turns and every result is compared before its time counts. Double precision is compared to 1e-9, single
(what recordings are stored in) to 2e-3 of the largest distance. The last task has no peer: rsatoolbox would need a
15,724 x 15,724 matrix an observation; its distances are compared on 120 voxels of the same data instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name

from braindec.rdm import dissimilarity, estimate, residuals

warnings.filterwarnings("ignore", category=RuntimeWarning, module="numpy")
RESULTS = Path(__file__).parent / "results" / "rdm.json"
REST = 0.1  # s before each run: until idle threads of the library that ran last no longer wait in loops


def main() -> None:
    """Times every task, prints a table and writes it."""
    options = parse()
    rng = np.random.default_rng(0)
    small = options.small
    movie = (24, 12, 20, 4) if small else (200, 63, 250, 4)
    tasks = [
        *over_time(rng, *movie),
        plain(rng, "correlation", *((60, 50) if small else (1000, 1000))),
        plain(rng, "euclidean", *((60, 50) if small else (1000, 1000))),
    ]
    rows = [row for task in tasks for row in timed(options.repeats, *task)]
    rows += with_noise(rng, options.repeats, *((20, 3, 300) if small else (300, 3, 15_724)))
    for r in rows:
        print(f"{r['task']:62s} {r['system']:11s} {r['median']:9.4f} s   {r['note']}")
    record = {
        "measured": True,
        "command": f"python {' '.join(sys.argv)}",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": None},
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("torch", "numpy", "rsatoolbox")},
        "values": rows,
    }  # fmt: skip
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="does it run at all?")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def over_time(rng: np.random.Generator, n: int, n_channels: int, n_times: int, n_runs: int) -> list[tuple]:
    """Crossnobis, correlation and Euclidean distances at every time."""
    from rsatoolbox.data import TemporalDataset
    from rsatoolbox.rdm.calc import calc_rdm_movie

    condition, run = np.tile(np.arange(n), n_runs), np.repeat(np.arange(n_runs), n)
    x = (
        rng.standard_normal((n * n_runs, n_channels, n_times))
        + rng.standard_normal((n, n_channels, 1))[condition]
    )
    single = torch.from_numpy(x.astype(np.float32))
    theirs = TemporalDataset(
        x, obs_descriptors={"c": condition, "run": run}, time_descriptors={"time": np.arange(n_times)}
    )
    tasks = []
    for measure in ("crossnobis", "correlation", "euclidean"):
        cv = {"cv_descriptor": "run"} if measure == "crossnobis" else {}
        tasks.append(
            (
                f"{measure}, {n} conditions x {n_channels} channels x {n_times} times, {n_runs} runs",
                lambda m=measure: dissimilarity(
                    single, condition, measure=m, run=run, noise=None
                ).distances.numpy(),
                lambda m=measure, cv=cv: (
                    calc_rdm_movie(theirs, method=m, descriptor="c", **cv).dissimilarities
                ),
                2e-3,
            )
        )
    return tasks


def plain(rng: np.random.Generator, measure: str, n: int, n_channels: int) -> tuple:
    """One RDM in double precision."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    x = rng.standard_normal((n, n_channels))
    theirs = Dataset(x, obs_descriptors={"c": np.arange(n)})
    return (
        f"{measure}, {n} conditions x {n_channels} channels",
        lambda: dissimilarity(x, np.arange(n), measure=measure).distances.numpy(),
        lambda: calc_rdm(theirs, method=measure, descriptor="c").dissimilarities[0],
        1e-9,
    )


def timed(repeats: int, task: str, ours: Callable, theirs: Callable, tolerance: float) -> list[dict]:
    """Both systems in turn; the results must agree."""
    seconds: dict[str, list[float]] = {"braindec": [], "rsatoolbox": []}
    ours()  # first calls allocate, and ask which kernels there are
    for _ in range(repeats):
        found = {}
        for name, run in (("braindec", ours), ("rsatoolbox", theirs)):
            time.sleep(REST)
            start = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - start)
        worst = float(
            np.abs(found["braindec"] - found["rsatoolbox"]).max() / np.abs(found["rsatoolbox"]).max()
        )
        if not worst < tolerance:
            raise SystemExit(f"{task}: distances differ by {worst:.2g} of the largest.")
    ratio = statistics.median(seconds["rsatoolbox"]) / statistics.median(seconds["braindec"])
    notes = {"braindec": f"{ratio:.1f} times as fast, equal to {worst:.1g}", "rsatoolbox": ""}
    return [row(task, name, seconds[name], notes[name]) for name in seconds]


def with_noise(rng: np.random.Generator, repeats: int, n: int, n_runs: int, n_voxels: int) -> list[dict]:
    """Crossnobis with the noise estimated from the same trials, for as many voxels as a visual cortex has."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import prec_from_unbalanced
    from rsatoolbox.rdm import calc_rdm

    condition, run = np.tile(np.arange(n), n_runs), np.repeat(np.arange(n_runs), n)
    x = torch.randn(n * n_runs, n_voxels, generator=torch.Generator().manual_seed(0))
    dissimilarity(x[:, :1000], condition, run=run)
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(repeats):
        start = time.perf_counter()
        dissimilarity(x, condition, run=run)
        seconds.append(time.perf_counter() - start)
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    few = x[:, :120].double().numpy()
    ours = estimate(residuals(torch.from_numpy(few), condition))
    theirs = Dataset(few, obs_descriptors={"c": condition, "run": run})
    precision = prec_from_unbalanced(theirs, "c", method="shrinkage_diag")
    a = dissimilarity(few, condition, run=run, noise=ours).distances.numpy()
    b = calc_rdm(
        theirs, method="crossnobis", descriptor="c", cv_descriptor="run", noise=precision
    ).dissimilarities[0]
    worst = float(np.abs(a - b).max() / np.abs(b).max())
    if not worst < 1e-9:
        raise SystemExit(f"crossnobis with noise: distances differ by {worst:.2g} of the largest.")
    task = f"crossnobis with noise estimate, {n} conditions x {n_runs} runs x {n_voxels} voxels"
    return [
        row(task, "braindec", seconds, f"{extra:.2f} GiB above the data; 120 voxels equal to {worst:.1g}")
    ]


def row(task: str, system: str, seconds: list[float], note: str) -> dict:
    """One line of the table."""
    return {
        "task": task, "system": system, "unit": "s", "n": len(seconds), "median": round(statistics.median(seconds), 5),
        "range": [round(min(seconds), 5), round(max(seconds), 5)], "note": note,
    }  # fmt: skip


if __name__ == "__main__":
    main()
