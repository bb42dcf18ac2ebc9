"""Time, memory and agreement of similarity measures: braindec beside their published computations on the same data.

Run     python benchmarks/similarity.py [--n 10000 --p 768 --shape-n 1000 --repeats 3]
Writes  benchmarks/results/similarity.json (--out FILE for any other place)
Fails   where CKA differs from the one of the whole kernel matrices in float64 by more than 1e-5, the angle of shapes
        from that of the rotated data by more than 1e-7 rad, or the share of mutual neighbours by more than 2e-6

Peers are written here from their definitions, because their libraries are not on PyPI (netrep) or no package
(platonic-rep): kernel matrices of all pairs of rows for CKA; the rotation by a singular value decomposition and the
angle between the rotated data for Procrustes; a sort of all similarities and masks of all pairs for mutual neighbours,
and the same with a partial sort, which is what one would do first to make it faster.
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
from typing import Any

import numpy as np
import torch
from _record import cpu_name
from torch import Tensor

from braindec.maths.cka import linear_cka
from braindec.maths.gemm import onednn_is_used
from braindec.maths.neighbours import nearest_others, overlap
from braindec.maths.shape import angular_distance

K = 10
REST = 0.1  # s before each run: until idle threads of the library that ran last no longer wait in loops
LIMITS = {"cka": 1e-5, "procrustes": 1e-7, "mutual_knn": 2e-6}
Runs = dict[str, Callable[[], float]]


def main() -> None:
    """Prints a table, checks that results are equal, and writes it with the machine, the versions and the command."""
    options = parse()
    x, y = related(options.n, options.p, torch.float32)
    a, b = related(options.shape_n, options.p, torch.float64)
    rows = [
        *work("cka", {
            "braindec": lambda: float(linear_cka(x, y)),
            "kernel matrices (float64)": lambda: whole_cka(x.double(), y.double()),
        }, options.repeats),
        *work("procrustes", {
            "braindec": lambda: float(angular_distance(a, b)),
            "rotation, as netrep": lambda: rotated_angle(a.numpy(), b.numpy()),
        }, options.repeats),
        *work("mutual_knn", {
            "braindec": lambda: float(overlap(nearest_others(x, K), nearest_others(y, K)).double().mean()) / K,
            "sort and masks, as platonic-rep": lambda: masked(*(sorted_neighbours(z) for z in (x, y))),
            "partial sort and masks": lambda: masked(*(partly_sorted(z) for z in (x, y))),
        }, options.repeats),
    ]  # fmt: skip
    for r in rows:
        print(
            f"{r['work']:12s} {r['name']:34s} {r['median']:9.4f} s  {r['processor_median']:9.4f} s of processor time  "
            f"{r['extra_mb']:8.1f} MB more  x{r['times_braindec']:.1f}  value {r['value']:.8f}"
        )
    write(rows, options)
    wrong = [r for r in rows if r["off"] > LIMITS[r["work"]]]
    if wrong:
        raise SystemExit(f"results differ: {wrong}, allowed {LIMITS}")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"n": 10_000, "p": 768, "shape-n": 1000, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def related(n: int, p: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two systems of half-shared variance with a decaying spectrum."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(3, n, p, generator=generator, dtype=dtype) * torch.linspace(1, 0.1, p, dtype=dtype)
    return draws[0] + draws[1], draws[0] + draws[2]


def whole_cka(x: Tensor, y: Tensor) -> float:
    """Debiased CKA by Song's formula over both (n, n) kernel matrices."""

    def hsic(k: Tensor, l: Tensor) -> Tensor:
        n, ones = len(k), k.sum(0)
        total = (k * l).sum() + ones.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (ones @ l.sum(1)) / (n - 2)
        return total / (n * (n - 3))

    kernels = [(z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y)]
    k, l = (kernel.fill_diagonal_(0.0) for kernel in kernels)
    return float(hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt())


def rotated_angle(x: np.ndarray, y: np.ndarray) -> float:
    """Angle between both sides after each is turned by its part of the singular value decomposition."""
    a, b = x - x.mean(0), y - y.mean(0)
    u, _, vh = np.linalg.svd(a.T @ b)
    identity = np.eye(x.shape[1])  # the whitening of alpha 1, which is multiplied in all the same
    first, second = a @ (identity @ u), b @ (identity @ vh.T)
    cosine = (first * second).sum() / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def sorted_neighbours(x: Tensor) -> Tensor:
    """Neighbours by sorting all similarities of every row."""
    return all_similarities(x).argsort(dim=1, descending=True)[:, :K]


def partly_sorted(x: Tensor) -> Tensor:
    """Neighbours by torch's selection of the largest."""
    return all_similarities(x).topk(K, dim=1).indices


def all_similarities(x: Tensor) -> Tensor:
    """Cosines (n, n), those of a row with itself out of reach."""
    scaled = torch.nn.functional.normalize(x, dim=1)
    return (scaled @ scaled.T).fill_diagonal_(-1e8)


def masked(a: Tensor, b: Tensor) -> float:
    """Share of neighbours in common, by masks of all pairs of rows."""
    masks = [torch.zeros(len(a), len(a)).scatter_(1, near, 1.0) for near in (a, b)]
    return float((masks[0] * masks[1]).sum(1).double().mean()) / K


def work(name: str, systems: Runs, repeats: int) -> list[dict[str, Any]]:
    """Rows of the table for one measure; systems take turns, so that a busy moment hits all of them."""
    for run in systems.values():
        run()
    seconds: dict[str, list[float]] = {system: [] for system in systems}
    processor: dict[str, list[float]] = {system: [] for system in systems}
    extra, values = dict.fromkeys(systems, 0.0), {}
    for _ in range(repeats):
        for system, run in systems.items():
            time.sleep(REST)
            with Peak() as peak:
                start, start_processor = time.perf_counter(), time.process_time()
                values[system] = run()
                seconds[system].append(time.perf_counter() - start)
                processor[system].append(time.process_time() - start_processor)
            extra[system] = max(extra[system], peak.megabytes)
    ours = statistics.median(seconds["braindec"])
    return [
        {
            "work": name,
            "name": system,
            "unit": "s",
            "n": repeats,
            "median": round(statistics.median(seconds[system]), 4),
            "range": [round(min(seconds[system]), 4), round(max(seconds[system]), 4)],
            "processor_median": round(statistics.median(processor[system]), 4),
            "extra_mb": round(extra[system], 1),
            "times_braindec": round(statistics.median(seconds[system]) / ours, 2),
            "value": values[system],
            "off": abs(values[system] - values["braindec"]),
        }
        for system in systems
    ]


class Peak:
    """How much more memory (resident) this process holds at most inside the block than before it."""

    def __enter__(self) -> Peak:
        self._start, self.megabytes, self._stop = resident(), 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.megabytes = max(self.megabytes, resident() - self._start)


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The table as JSON beside this file."""
    threads = os.environ.get("OMP_NUM_THREADS")
    record = {
        "measured": True,
        "command": f"{f'OMP_NUM_THREADS={threads} ' if threads else ''}python {' '.join(sys.argv)}",
        "options": vars(options) | {"out": None},
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None,
            "onednn": onednn_is_used(),
        },
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy")},
        "values": rows,
    }
    path = options.out or Path(__file__).parent / "results" / "similarity.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
