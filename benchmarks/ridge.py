"""Time, memory and agreement of cross-validated ridge: braindec, himalaya and scikit-learn on the same data.

Run     python benchmarks/ridge.py [--n 1000 --p 768 --targets 15724 --alphas 20 --folds 5 --repeats 3]
        python benchmarks/ridge.py --n 8859 --repeats 1 --without sklearn   (the size of one NSD subject: 10 minutes,
        4 GB of free memory)
Writes  benchmarks/results/ridge.json, or ridge_<n>.json for another number of rows (--out FILE for any other place)
Fails   where R^2 differs from that computed in float64 (of some targets) by more than 5e-7, or from himalaya's by more
        than 1e-6 (both round), or weights differ from himalaya's by more than 6e-6 of the largest
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _record import cpu_name

from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_count
from braindec.maths.gemm import onednn_is_used
from braindec.maths.ridge import RidgeFit, fit_ridge, solve

LIBRARIES = ("torch", "numpy", "himalaya", "scikit-learn")
NAMES = {
    "braindec": "braindec fit_ridge",
    "himalaya": "himalaya RidgeCV (torch)",
    "sklearn": "scikit-learn RidgeCV (leave-one-out)",
    "permuted": "braindec solve (a permuted pairing)",
}


def main() -> None:
    """Prints a table, checks that results are equal, and writes it with the machine, the versions and the command."""
    options = parse()
    x, y = planted(options)
    alphas = np.logspace(-1, 4, options.alphas)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    systems: dict[str, Callable[[], Found]] = {
        "braindec": lambda: ours(x, y, alphas, options.folds),
        "himalaya": lambda: himalaya(x, y, alphas, options.folds),
        "sklearn": lambda: sklearn(x, y, alphas),
    }
    factors = factorise(x, folds_by_count(len(x), options.folds))
    systems["permuted"] = lambda: found(solve(factors, y[order], alphas, per_target=True))
    runs = {}
    for name, run in systems.items():
        if name not in options.without:
            runs[name] = timed(run, options.repeats)
            said = f"{statistics.median(runs[name]['seconds']):.1f} s, {runs[name]['peak']:.1f} GB at most"
            print(
                f"{NAMES[name]}: {said}", flush=True
            )  # a peer may take minutes: what is known is told at once
    rows = [row(name, run, runs.get("himalaya"), runs["braindec"]) for name, run in runs.items()]
    exact = ours(x.double(), y[:, :: max(1, options.targets // 256)].double(), alphas, options.folds)
    for r in rows:
        r["scores_off_float64"] = against_float64(runs[r["name"]]["found"], exact, r["name"], options.targets)
    print(f"{options.n} rows, {options.p} features, {options.targets} targets, {options.alphas} alphas each")
    for r in rows:
        print(
            f"{NAMES[r['name']]:40s} {r['median']:8.2f} s  {r['processor_median']:8.2f} s of processor time  "
            f"{r['peak_gb']:.2f} GB at most  x{r['times_braindec']:.1f}  "
            f"scores {r['scores_off']} (float64: {r['scores_off_float64']})  weights {r['weights_off']}"
        )
    write(rows, options)
    check(rows)


class Found(NamedTuple):
    """Weights (p, targets) and the best cross-validated score of each target, or None."""

    weights: torch.Tensor
    scores: torch.Tensor | None


def check(rows: list[dict]) -> None:
    """Refuses a fast wrong answer."""
    ours = next(r for r in rows if r["name"] == "braindec")
    limits = {"scores_off_float64": 5e-7, "scores_off": 1e-6, "weights_off": 6e-6}
    wrong = {
        name: ours[name] for name, limit in limits.items() if ours[name] is not None and ours[name] > limit
    }
    if wrong:
        raise SystemExit(f"results differ: {wrong}, allowed {limits}")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = {"n": 1000, "p": 768, "targets": 15_724, "alphas": 20, "folds": 5, "repeats": 3}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--without", nargs="*", default=[], choices=list(NAMES), help="systems to leave out")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def planted(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Features with a decaying spectrum and targets of different signal-to-noise ratio."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(1, 0.1, options.p)
    x = torch.randn(options.n, options.p, generator=generator) * scale
    weights = torch.randn(options.p, options.targets, generator=generator)
    weights = weights * torch.linspace(0, 1, options.targets)
    return x, x @ weights + 10 * torch.randn(options.n, options.targets, generator=generator)


def found(fit: RidgeFit) -> Found:
    """What is compared of a fit."""
    return Found(fit.weights, None if fit.cv_scores is None else fit.cv_scores.amax(0))


def ours(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray, n_folds: int) -> Found:
    """braindec's weights and scores."""
    return found(fit_ridge(x, y, alphas, folds_by_count(len(x), n_folds), per_target=True))


def himalaya(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray, n_folds: int) -> Found:
    """himalaya's, with the same folds and score, batched over targets so that it fits."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import r2_score
    from sklearn.model_selection import KFold

    set_backend("torch")
    parameters = {"n_targets_batch": 2048, "n_alphas_batch": 5, "score_func": r2_score, "warn": False}
    model = RidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(n_folds), solver_params=parameters).fit(x, y)
    return Found(torch.as_tensor(model.coef_), torch.as_tensor(model.cv_scores_).flatten())


def sklearn(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray) -> Found:
    """scikit-learn's weights; its fast form is leave-one-out, so its penalties differ a little."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=alphas, alpha_per_target=True).fit(x.numpy(), y.numpy())
    return Found(torch.from_numpy(model.coef_.T.copy()), None)


def timed(run: Callable[[], Found], repeats: int) -> dict:
    """Wall and processor times of `repeats` runs, the most memory held meanwhile, and what was found."""
    seconds, processor = [], []
    with Peak() as peak:
        for _ in range(repeats):
            start, start_processor = time.perf_counter(), time.process_time()
            result = run()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
    return {"seconds": seconds, "processor": processor, "found": result, "peak": peak.gigabytes}


class Peak:
    """The most memory that this process holds (resident, data included) while inside the block."""

    def __enter__(self) -> Peak:
        self.gigabytes, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.gigabytes = max(self.gigabytes, pages * os.sysconf("SC_PAGE_SIZE") / 1e9)


def row(name: str, run: dict, reference: dict | None, ours: dict) -> dict:
    """One line of the table, with the largest difference from himalaya over its largest value."""
    seconds = run["seconds"]
    line = {"name": name, "unit": "s", "n": len(seconds), "median": round(statistics.median(seconds), 3)}
    line["processor_median"] = round(statistics.median(run["processor"]), 3)
    line["range"] = [round(min(seconds), 3), round(max(seconds), 3)]
    line["peak_gb"] = round(run["peak"], 3)
    line["times_braindec"] = round(statistics.median(seconds) / statistics.median(ours["seconds"]), 2)
    comparable = reference is not None and name == "braindec"
    for what in ("scores", "weights"):
        line[f"{what}_off"] = (
            off(run["found"], reference["found"], what) if comparable and reference else None
        )
    return line


def against_float64(found: Found, exact: Found, name: str, n_targets: int) -> float | None:
    """Largest difference of the best scores (some targets) from those computed in float64."""
    if found.scores is None or exact.scores is None or name == "permuted":
        return None
    some = found.scores[:: max(1, n_targets // 256)].double()
    return float(f"{float((some - exact.scores).abs().max()):.2g}")


def off(found: Found, reference: Found, what: str) -> float:
    """Largest difference, of weights over the largest and among targets for which both chose the same penalty."""
    a, b = (getattr(f, what).double() for f in (found, reference))
    difference = (a - b).abs()
    # Where two penalties score alike to rounding, either may be chosen: their weights differ, their scores do not.
    chosen_alike = (
        difference <= 1e-3 * b.abs().max()
        if what == "weights"
        else torch.ones_like(difference, dtype=torch.bool)
    )
    scale = b.abs().max() if what == "weights" else 1.0
    return float(f"{float((difference[chosen_alike] / scale).max()):.2g}")


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON beside this file."""
    record = {
        "measured": True,
        "command": f"{threads()}python {' '.join(sys.argv)}",
        "options": vars(options) | {"out": None},
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None,
            "onednn": onednn_is_used(),
        },
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "values": rows,
    }
    name = "ridge.json" if options.n == 1000 else f"ridge_{options.n}.json"
    path = options.out or Path(__file__).parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def threads() -> str:
    """The part of the command that limits the threads, where one was given."""
    value = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={value} " if value else ""


if __name__ == "__main__":
    main()
