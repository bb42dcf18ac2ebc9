"""Time and anonymous memory of the closed-form encoder: reduced-rank ridge whose targets are read from a file.

Run     OMP_NUM_THREADS=1 python benchmarks/closed_form.py [--folder /tmp/closed_form]
Small   python benchmarks/closed_form.py --small    (no result file)
Writes  benchmarks/results/closed_form.json

2,000 rows x 4,000 signal values to 64 tokens of 256 values at rank 256; `grown_mb` is the most that RssAnon rose,
sampled every 20 ms. `share_of_planted_signal`: of new rows' noise-free variance, how much the solution predicts. The
record further holds what this comes to at the size of one NSD subject by arithmetic: operations at the rate that was
measured here, which no run has confirmed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec.decoder import closed_form, rows, versions
from braindec.decoder.fitting import ALPHAS, SubjectSet

FULL = {"n": 2000, "values": 4000, "tokens": 64, "dims": 256, "rank": 256}
SMALL = {"n": 120, "values": 200, "tokens": 4, "dims": 16, "rank": 8}
NSD = {"n": 9000, "values": 15724, "tokens": 256, "dims": 1664, "rank": 256}
RESULT = Path(__file__).parent / "results" / "closed_form.json"


def main() -> None:
    """Prints a line and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "braindec-closed-form")
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        found = measured(size, options.folder)
    finally:
        shutil.rmtree(options.folder)
    done, full = operations(size), operations(NSD)
    rate = done / found["seconds"]
    extrapolated = {"size": NSD, "operations": full, "seconds": round(full / rate), **memory_mb(NSD)}
    record = {"command": " ".join(["python", *sys.argv]), "size": size, "versions": versions(), **found,
              "operations": done, "by_arithmetic_not_measured": extrapolated}  # fmt: skip
    print(json.dumps(record, indent=1))
    if not options.small:
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


def measured(size: dict[str, int], folder: Path) -> dict[str, Any]:
    """Seconds and megabytes of one solution."""
    data = drawn(size, folder / "targets.npy")
    with Watch() as watch:
        start = time.perf_counter()
        found = closed_form.solve({"sub": data}, "main", size["rank"], 0)
        seconds = time.perf_counter() - start
    held = sum(t.numel() * 4 for t in (found.basis, *found.maps["sub"]))
    return {
        "seconds": round(seconds, 3),
        "grown_mb": round(watch.grown / 2**20),
        "solution_mb": round(held / 2**20),
        "targets_mb": round(4 * size["n"] * size["tokens"] * size["dims"] / 2**20),
        "share_of_planted_signal": round(explained(found, data, size), 4),
    }


def drawn(size: dict[str, int], path: Path) -> SubjectSet:
    """Signals in memory, float16 targets in a file: a planted map of rank `rank` / 2, and as much noise."""
    generator = torch.Generator().manual_seed(0)
    q, inner = size["tokens"] * size["dims"], size["rank"] // 2
    x = torch.randn(size["n"], size["values"], generator=generator)
    latent = x @ torch.randn(size["values"], inner, generator=generator) / size["values"] ** 0.5
    mixing = torch.randn(inner, q, generator=generator) / inner**0.5
    shape = (size["n"], size["tokens"], size["dims"])
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for some in torch.arange(size["n"]).split(100):
        noise = torch.randn(len(some), q, generator=generator)
        file[some.numpy()] = (latent[some] @ mixing + noise).reshape(len(some), *shape[1:]).numpy()
    file.flush()
    del file
    stored = np.load(path, mmap_mode="r")

    def read(which: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        made = stored[which].astype(np.float32)
        if out is None:
            return made
        out[...] = made
        return out

    targets = rows.RowTensor(read, np.arange(size["n"]), shape[1:])
    return SubjectSet(x, {"main": targets}, torch.arange(size["n"]), tuple(map(str, range(size["n"]))))


def explained(found: closed_form.Solution, data: SubjectSet, size: dict[str, int]) -> float:
    """Share of 200 new rows' noise-free variance that the solution predicts."""
    generator = torch.Generator().manual_seed(0)
    q, inner = size["tokens"] * size["dims"], size["rank"] // 2
    torch.randn(size["n"], size["values"], generator=generator)
    weight = torch.randn(size["values"], inner, generator=generator) / size["values"] ** 0.5
    mixing = torch.randn(inner, q, generator=generator) / inner**0.5
    new = torch.randn(200, size["values"], generator=torch.Generator().manual_seed(1))
    truth = new @ weight @ mixing
    weights, bias = found.maps["sub"]
    made = (new @ weights.T + bias) @ found.basis.T + found.mean
    return float(1 - (truth - made).square().sum() / truth.square().sum())


def operations(size: dict[str, int]) -> float:
    """Multiplications and additions: kernel, spectrum, choice of penalties, passes over the targets, weights."""
    n, p, k = size["n"], size["values"], size["rank"] + 16
    q, side = size["tokens"] * size["dims"], min(size["n"], size["values"], closed_form.MAX_SIDE)
    sketched = min(q, closed_form.SKETCHED)
    chosen = len(ALPHAS) * (2 * n * side * sketched * 2 + n * n * side / 5 * 2)
    passes = 6 if q > 4096 else 2
    return (
        2 * n * p * side + 10 * side**3 + chosen + passes * 2 * n * q * k + 2 * q * k * k * 3 + 2 * n * p * k
    )


def memory_mb(size: dict[str, int]) -> dict[str, int]:
    """Largest things held at once, megabytes: the spectrum's float64 matrices, or subspaces of the targets."""
    n, q, k = size["n"], size["tokens"] * size["dims"], size["rank"] + 16
    side = min(n, size["values"], closed_form.MAX_SIDE)
    spectrum = 8 * side * side * 3 + 2 * closed_form.BLOCK_BYTES
    subspace = 4 * q * k * 3 + 4 * n * side + 2 * closed_form.BLOCK_BYTES
    return {"spectrum_mb": round(spectrum / 2**20), "subspace_mb": round(subspace / 2**20)}


class Watch:
    """The most that this process' RssAnon rises above what it was at first, bytes."""

    def __enter__(self) -> Watch:
        self.first, self.grown, self.done = rss_anon(), 0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.done.wait(0.02):
            self.grown = max(self.grown, rss_anon() - self.first)


def rss_anon() -> int:
    """Bytes of anonymous memory that are resident."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
