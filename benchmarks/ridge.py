"""Time and agreement of cross-validated ridge: braindec, himalaya and scikit-learn on the same data.

Run     python benchmarks/ridge.py [--n 2000 --p 768 --targets 2000 --alphas 20 --folds 5 --repeats 3]
Writes  benchmarks/results/ridge.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_count
from braindec.maths.ridge import fit_ridge, solve

LIBRARIES = ("torch", "numpy", "himalaya", "scikit-learn")


def main() -> None:
    """Prints a table and writes it with the machine, the versions and the command."""
    options = parse()
    x, y = planted(options)
    alphas = np.logspace(0, 5, options.alphas)
    systems = {
        "braindec fit_ridge": lambda: ours(x, y, alphas, options.folds),
        "himalaya RidgeCV (torch)": lambda: himalaya(x, y, alphas, options.folds),
        "scikit-learn RidgeCV (leave-one-out)": lambda: sklearn(x, y, alphas),
    }
    results = {name: timed(run, options.repeats) for name, run in systems.items()}
    factors = factorise(x, folds_by_count(len(x), options.folds))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    results["braindec solve (permuted pairing)"] = timed(
        lambda: solve(factors, y[order], alphas, per_target=True).weights, options.repeats
    )
    reference = results["himalaya RidgeCV (torch)"]["weights"]
    rows = [row(name, found, reference) for name, found in results.items()]
    print(
        f"{options.n} rows, {options.p} features, {options.targets} targets, {options.alphas} alphas per target"
    )
    for r in rows:
        times = f"{r['median']:7.2f} s ({r['processor_median']:.2f} s of processor time)"
        print(f"{r['name']:40s} {times}   weights against himalaya {r['weights_against_himalaya']}")
    write(rows, options)


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = {"n": 2000, "p": 768, "targets": 2000, "alphas": 20, "folds": 5, "repeats": 3}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def planted(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Features with a decaying spectrum and targets of different signal-to-noise ratio."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(1, 0.1, options.p)
    x = torch.randn(options.n, options.p, generator=generator) * scale
    weights = torch.randn(options.p, options.targets, generator=generator)
    weights = weights * torch.linspace(0, 1, options.targets)
    return x, x @ weights + 10 * torch.randn(options.n, options.targets, generator=generator)


def ours(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray, n_folds: int) -> torch.Tensor:
    """braindec's weights."""
    return fit_ridge(x, y, alphas, folds_by_count(len(x), n_folds), per_target=True).weights


def himalaya(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray, n_folds: int) -> torch.Tensor:
    """himalaya's weights with the same folds and score."""
    from himalaya.backend import set_backend
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import r2_score
    from sklearn.model_selection import KFold

    set_backend("torch")
    parameters = {"n_targets_batch": 2048, "n_alphas_batch": 5, "score_func": r2_score, "warn": False}
    model = RidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(n_folds), solver_params=parameters)
    return torch.as_tensor(model.fit(x, y).coef_)


def sklearn(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray) -> torch.Tensor:
    """scikit-learn's weights; its fast form is leave-one-out, so its penalties differ a little."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=alphas, alpha_per_target=True).fit(x.numpy(), y.numpy())
    return torch.from_numpy(model.coef_.T.copy())


def timed(run: Callable[[], torch.Tensor], repeats: int) -> dict:
    """Wall and processor times of `repeats` runs, and the weights."""
    seconds, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        weights = run()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return {"seconds": seconds, "processor": processor, "weights": weights}


def row(name: str, found: dict, reference: torch.Tensor) -> dict:
    """One line of the table; a permuted pairing has other weights and no agreement to state."""
    seconds = found["seconds"]
    line = {"name": name, "unit": "s", "n": len(seconds), "median": round(statistics.median(seconds), 3)}
    line["processor_median"] = round(statistics.median(found["processor"]), 3)
    line["range"] = [round(min(seconds), 3), round(max(seconds), 3)]
    pair = torch.stack([found["weights"].flatten().double(), reference.flatten().double()])
    agreement = round(float(torch.corrcoef(pair)[0, 1]), 7)
    return line | {"weights_against_himalaya": None if "permuted" in name else agreement}


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON beside this file."""
    record = {
        "measured": True,
        "command": f"{threads()}python {' '.join(sys.argv)}",
        "options": vars(options),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None,
        },
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "values": rows,
    }
    path = Path(__file__).parent / "results" / "ridge.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def threads() -> str:
    """The part of the command that limits the threads, where one was given."""
    value = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={value} " if value else ""


def cpu_name() -> str:
    """Model name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
