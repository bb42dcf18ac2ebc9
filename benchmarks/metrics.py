"""Time and peak memory of two-way identification, retrieval and SSIM beside the plain way that papers compute them.

Run     python benchmarks/metrics.py [--items 10000 --dims 768 --pictures 50 --side 425 --repeats 3]
Writes  benchmarks/results/metrics.json

Every case runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name

LIBRARIES = ("torch", "numpy", "scikit-image", "torchmetrics")
PAIRS = (
    (
        "two_way",
        "braindec two_way_identification",
        "np.corrcoef of all, then a loop over items (as published)",
    ),
    ("retrieval", "braindec truth_ranks and hits_at", "whole similarity matrix, argsort of every row"),
    ("ssim", "braindec ssim", "scikit-image structural_similarity, a loop over pictures"),
)


def main() -> None:
    """Runs every case `repeats` times, prints a table and writes it with machine, versions and command."""
    options = parse()
    if options.case:
        print(json.dumps(case(options)))
        return
    rows = [row(name, said, options) for name, *both in PAIRS for said in both]
    for r in rows:
        took = f"{r['median']:8.2f} s ({r['processor_median']:.2f} s of processor time)"
        print(f"{r['name']:60s} {took} {r['peak_mib']:6.0f} MiB above its input   {r['value']:.6f}")
    write(rows, options)


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"items": 10_000, "dims": 768, "pictures": 50, "side": 425, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def row(name: str, said: str, options: argparse.Namespace) -> dict:
    """One line of the table: `repeats` fresh processes of one case."""
    sizes = [f"--{k}={getattr(options, k)}" for k in ("items", "dims", "pictures", "side")]
    command = [sys.executable, __file__, *sizes, f"--case={said}"]
    found = []
    for _ in range(options.repeats):
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(run.stdout.splitlines()[-1]))
    seconds = [f["seconds"] for f in found]
    return {
        "task": name,
        "name": said,
        "unit": "s",
        "n": len(found),
        "median": round(statistics.median(seconds), 3),
        "range": [round(min(seconds), 3), round(max(seconds), 3)],
        "processor_median": round(statistics.median(f["processor"] for f in found), 3),
        "peak_mib": round(statistics.median(f["peak_mib"] for f in found)),
        "value": found[0]["value"],
    }


def case(options: argparse.Namespace) -> dict:
    """Seconds, processor seconds, peak memory above what input and libraries take, and the value, of one case."""
    run = {
        PAIRS[0][1]: lambda: two_way(options),
        PAIRS[0][2]: lambda: two_way_published(options),
        PAIRS[1][1]: lambda: retrieval(options),
        PAIRS[1][2]: lambda: retrieval_plain(options),
        PAIRS[2][1]: lambda: ssim(options),
        PAIRS[2][2]: lambda: ssim_skimage(options),
    }[options.case]()
    before = peak()
    start, start_processor = time.perf_counter(), time.process_time()
    value = run()
    return {
        "seconds": time.perf_counter() - start,
        "processor": time.process_time() - start_processor,
        "peak_mib": (peak() - before) / 1024,
        "value": value,
    }


def peak() -> int:
    """Largest resident memory so far, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def vectors(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Truths and predictions with as much noise as leaves both far from chance and from perfection."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(options.items, options.dims, generator=generator)
    return target, target + 12 * torch.randn(options.items, options.dims, generator=generator)


def pictures(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random pictures and the same with noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(options.pictures, 3, 16, 16, generator=generator)
    size = (options.side, options.side)
    shown = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return shown, (shown + 0.1 * torch.randn(shown.shape, generator=generator)).clamp(0, 1)


def two_way(options: argparse.Namespace) -> Callable[[], float]:
    """Ours."""
    from braindec.metrics.identification import two_way_identification

    target, predicted = vectors(options)
    return lambda: two_way_identification(predicted, target).value


def two_way_published(options: argparse.Namespace) -> Callable[[], float]:
    """The published form: one correlation matrix of both sets together, columns compared one by one."""
    target, predicted = (x.numpy() for x in vectors(options))

    def run() -> float:
        n = len(target)
        between = np.corrcoef(target, predicted)[:n, n:]
        return float(np.mean([(between[:, j] < between[j, j]).sum() for j in range(n)]) / (n - 1))

    return run


def retrieval(options: argparse.Namespace) -> Callable[[], float]:
    """Ours."""
    from braindec.maths.nearest import hits_at, truth_ranks

    target, predicted = vectors(options)
    return lambda: float(hits_at(1, *truth_ranks(predicted, target, torch.arange(len(target)))).mean())


def retrieval_plain(options: argparse.Namespace) -> Callable[[], float]:
    """The whole matrix and a sort of every row."""
    target, predicted = vectors(options)

    def run() -> float:
        unit = torch.nn.functional.normalize
        order = (unit(predicted, dim=1) @ unit(target, dim=1).T).argsort(1, descending=True)
        return float((order[:, 0] == torch.arange(len(target))).double().mean())

    return run


def ssim(options: argparse.Namespace) -> Callable[[], float]:
    """Ours, after the libraries that it imports on first use."""
    from braindec.metrics.pixels import ssim as ours

    shown, decoded = pictures(options)
    ours(shown[:1, :, :16, :16], decoded[:1, :, :16, :16])
    return lambda: float(ours(shown, decoded).mean())


def ssim_skimage(options: argparse.Namespace) -> Callable[[], float]:
    """scikit-image with the published settings."""
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    shown, decoded = (np.moveaxis(x.numpy(), 1, -1) for x in pictures(options))

    def run() -> float:
        pairs = zip(shown, decoded, strict=True)
        return float(np.mean([structural_similarity(rgb2gray(a), rgb2gray(b), **settings) for a, b in pairs]))

    return run


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON beside this file."""
    record = {
        "measured": True,
        "command": f"{threads()}python {' '.join(sys.argv)}",
        "options": {k: v for k, v in vars(options).items() if k != "case"},
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
    path = Path(__file__).parent / "results" / "metrics.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def threads() -> str:
    """The part of the command that limits the threads, where one was given."""
    value = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={value} " if value else ""


if __name__ == "__main__":
    main()
