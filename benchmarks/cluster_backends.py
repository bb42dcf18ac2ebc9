"""Preparation, voxelwise encoding, a searchlight and refits on every backend of jobs that is installed, beside serial.

Run     OMP_NUM_THREADS=1 python benchmarks/cluster_backends.py [--backends loky dask ray submitit] [--smoke]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import encoding, jobs
from braindec.data import catalogue, layout
from braindec.evaluate import jobs as refitting
from braindec.maths import ridge
from braindec.rdm import neighbourhoods, searching


def prepared(raw: Path, out: Path) -> list[str]:
    """sha256 of what a dataset's recordings hold, prepared anew."""
    catalogue.load("haxby2001")["prepare"](raw, out)
    return [entry["content"] for entry in layout.read_manifest(out)["recordings"]]


def encoded(n_voxels: int) -> torch.Tensor:
    """Weights of an encoding model of random responses."""
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 200, generator=made), torch.randn(400, n_voxels, generator=made)
    return encoding.fit(x, y).weights


def searched(n: int) -> torch.Tensor:
    """Distances in every neighbourhood of a cube."""
    made = torch.Generator().manual_seed(0)
    x = torch.randn(48, n**3, generator=made)
    where = neighbourhoods.spheres(np.ones((n, n, n), bool), np.eye(4), 2.1)
    return searching.searchlight(x, where, np.arange(48) % 8, run=np.arange(48) // 16).distances


def refitted(n: int) -> list[float]:
    """A ridge of permuted pairs, many times."""

    def refit(number: int) -> float:
        made = torch.Generator().manual_seed(0)
        x, y = torch.randn(600, 300, generator=made), torch.randn(600, 50, generator=made)
        order = torch.randperm(600, generator=torch.Generator().manual_seed(number))
        fit = ridge.fit_ridge(x, y[order], (1.0, 10.0, 100.0), encoding_folds(600))
        return float(fit.weights.norm())

    return refitting.refits(refit, n, n_jobs=1, said="refits", progress=False)


def encoding_folds(n: int) -> Any:
    """Five folds of neighbouring rows."""
    from braindec.maths import folds

    return folds.folds_by_count(n, 5)


def measured(
    backend: str | None, n_jobs: int, place: Path, raw: Path, sizes: dict[str, int]
) -> dict[str, Any]:
    """Seconds of each kind of job, and what they came to."""
    settings = {"folder": str(place / "jobs")} if backend == "submitit" else {}
    found: dict[str, Any] = {"backend": backend or "serial"}
    began = time.perf_counter()
    with jobs.on(backend, n_jobs, **settings):
        jobs.each(abs, [(-1,)] * n_jobs)  # workers are up
        found["start_s"] = time.perf_counter() - began
        for name, make in (
            ("prepare", lambda: prepared(raw, place / f"out-{backend}")),
            ("encoding", lambda: encoded(sizes["voxels"])),
            ("searchlight", lambda: searched(sizes["cube"])),
            ("refits", lambda: refitted(sizes["refits"])),
        ):
            began = time.perf_counter()
            found[name] = make()
            found[f"{name}_s"] = time.perf_counter() - began
    return found


def same(one: Any, other: Any) -> str:
    """``"equal"`` to the bit, or how far apart."""
    if isinstance(one, torch.Tensor):
        return "equal" if torch.equal(one, other) else f"{float((one - other).abs().max()):.1e}"
    if one == other:
        return "equal"
    return f"{np.abs(np.array(one) - np.array(other)).max():.1e}" if isinstance(one[0], float) else "differs"


def main() -> None:
    """Writes a line a backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="*", default=list(jobs.BACKENDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    sizes = (
        {"voxels": 500, "cube": 6, "refits": 4}
        if options.smoke
        else {"voxels": 20_000, "cube": 20, "refits": 16}
    )
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        catalogue.load("haxby2001")["synthetic"](place / "raw")
        serial = measured(None, options.jobs, place, place / "raw", sizes)
        for backend in (None, *options.backends):
            found = (
                serial if backend is None else measured(backend, options.jobs, place, place / "raw", sizes)
            )
            names = ("prepare", "encoding", "searchlight", "refits")
            line = {"backend": found["backend"], "start_s": round(found["start_s"], 2)}
            line |= {f"{n}_s": round(found[f"{n}_s"], 2) for n in names}
            line |= {n: same(serial[n], found[n]) for n in names}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
