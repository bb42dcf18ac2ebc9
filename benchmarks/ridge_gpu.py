"""Cross-validated voxelwise ridge of eight subjects of NSD's size on a GPU, beside the products that bound it.

Run     python benchmarks/ridge_gpu.py            (make bench-gpu)
Small   python benchmarks/ridge_gpu.py --small    (any machine; no result file)
Writes  benchmarks/results/ridge_gpu.json

Every subject: features of 8,859 stimuli to 15,724 voxels, a penalty a voxel from 20 by five folds. The floor counts the
products that the Gram form cannot do without, at the speed that the device reaches on one of them; scores are compared
with float64 on some voxels before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from braindec.decoder import versions
from braindec.maths.folds import folds_by_count
from braindec.maths.ridge import fit_ridge

FULL = {"subjects": 8, "rows": 8859, "features": 768, "voxels": 15_724, "alphas": 20, "folds": 5}
SMALL = {"subjects": 2, "rows": 60, "features": 8, "voxels": 30, "alphas": 4, "folds": 3}
RESULT = Path(__file__).parent / "results" / "ridge_gpu.json"
TOLERANCE = 1e-4  # of R^2, of what is computed in float32


def main() -> None:
    """Prints a line and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    if not small and not torch.cuda.is_available():
        found: dict[str, object] = {"measured": "not measured: no GPU"}
    else:
        found = measured(SMALL if small else FULL, "cuda" if torch.cuda.is_available() else "cpu")
    print(json.dumps(found))
    if not small:
        record = {"command": " ".join(["python", *sys.argv]), "size": FULL, "versions": versions(), **found}
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


def measured(size: dict[str, int], device: str) -> dict[str, object]:
    """Seconds a subject and of all, the floor, memory, and the distance of scores to float64."""
    alphas = np.logspace(-1, 4, size["alphas"])
    off, took = None, []
    for subject in range(size["subjects"]):
        x, y = planted(size, subject, device)
        if off is None:
            off = against_float64(x, y, alphas, size["folds"])
            if off > TOLERANCE:
                raise SystemExit(f"R^2 differs from float64's by {off}, allowed {TOLERANCE}")
        wait(device)
        start = time.perf_counter()
        fit_ridge(x, y, alphas, folds_by_count(len(x), size["folds"]), per_target=True)
        wait(device)
        took.append(time.perf_counter() - start)
    flops = needed(size)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    speed = product_speed(size, device)
    return {
        "seconds_all_subjects": sum(took),
        "seconds_per_subject": statistics.median(took),
        "first_seconds": took[0],
        "floor_seconds_per_subject": flops / speed,
        "of_floor": flops / speed / statistics.median(took),
        "product_tflops": speed * 1e-12,
        "peak_GiB": peak,
        "scores_off_float64": off,
    }


def planted(size: dict[str, int], seed: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Features with a decaying spectrum and voxels of different signal-to-noise ratio."""
    generator = torch.Generator(device).manual_seed(seed)
    scale = torch.linspace(1, 0.1, size["features"], device=device)
    x = torch.randn(size["rows"], size["features"], generator=generator, device=device) * scale
    weights = torch.randn(size["features"], size["voxels"], generator=generator, device=device)
    noise = torch.randn(size["rows"], size["voxels"], generator=generator, device=device)
    return x, x @ (weights * torch.linspace(0, 1, size["voxels"], device=device)) + 10 * noise


def against_float64(x: torch.Tensor, y: torch.Tensor, alphas: np.ndarray, n_folds: int) -> float:
    """Largest difference of the chosen scores of some voxels from those computed in float64."""
    some = y[:, :: max(1, y.shape[1] // 256)]
    parts = folds_by_count(len(x), n_folds)
    exact, found = (
        fit_ridge(a, b, alphas, parts, per_target=True) for a, b in ((x.double(), some.double()), (x, some))
    )
    if exact.cv_scores is None or found.cv_scores is None:
        raise SystemExit("a ridge with a penalty for every target told no scores")
    return float((found.cv_scores.amax(0).double() - exact.cv_scores.amax(0)).abs().max())


def needed(size: dict[str, int]) -> float:
    """Floating-point operations of the Gram form: X'Y once, each fold's test rows for every penalty, the weights."""
    n, p, v, a = size["rows"], size["features"], size["voxels"], size["alphas"]
    cross = 2.0 * n * p * v
    predictions = 2.0 * p * p * v * size["folds"] + 2.0 * p * v * a * size["folds"]
    return cross + predictions + 2.0 * p * p * v


def product_speed(size: dict[str, int], device: str) -> float:
    """Operations a second of X'Y."""
    x, y = planted(size, 0, device)
    took = []
    for number in range(7):
        wait(device)
        start = time.perf_counter()
        torch.mm(x.T, y)
        wait(device)
        if number > 1:
            took.append(time.perf_counter() - start)
    return 2.0 * size["rows"] * size["features"] * size["voxels"] / statistics.median(took)


def wait(device: str) -> None:
    """Until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
