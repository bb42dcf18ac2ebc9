"""How well a small test set tells bits per trial and the accuracy of a gallery of 10,000: 50 worlds with known answers.

Run  OMP_NUM_THREADS=1 python benchmarks/pool_free.py        (about two minutes)

In a Gaussian world a vector x of unit variance is shown and x + noise is decoded; 6 to 100 dimensions and noise are
drawn so that a trial tells 1 to 16 bits. Distractors of a dot product are exactly Gaussian, those of a cosine follow a
t distribution, so the divergence of true from other similarities is an integral; the accuracy among 10,000 is one too.
A prediction has two errors: that of the queries drawn (200 queries leave 0.03 whatever one does) and that of the
extrapolation, which is what this measures: `same_queries` compares with the exact accuracy of the very queries.
Worlds with uneven and clustered embeddings have no integral; their truth is a gallery of 20,000.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from braindec.stats.pool_free import information, predicted_top1, surprisal

WAYS, N_WORLDS = 10_000, 50


def main() -> None:
    """Measures all worlds and writes results/pool_free.json."""
    started = time.time()
    rng = np.random.default_rng(0)
    worlds = [draw_world(rng, i) for i in range(N_WORLDS)]
    values = []
    for n in (200, 1000, 2500):
        rows = [gaussian(rng, n, **world) for world in worlds]
        values += summary(f"gaussian_{n}", rows)
        print(f"{n} queries: {time.time() - started:.0f} s", file=sys.stderr)
    for shape, spectrum, clusters in (("uneven", 1.0, 0), ("clustered", 1.0, 20)):
        for n in (200, 1000):
            rows = [embedded(rng, n, spectrum, clusters) for _ in range(8)]
            error, pilot = (np.array([row[k] for row in rows]) for k in ("error", "pilot"))
            values += [
                line(f"{shape}_{n}_same_queries", error),
                line(f"{shape}_{n}_mean_and_sd_alone", pilot),
            ]
    write(values, time.time() - started)


def draw_world(rng: np.random.Generator, number: int) -> dict:
    """Dimensions, noise and similarity of a world whose bits lie in 1 .. 16."""
    while True:
        n_dims, noise = int(rng.integers(6, 101)), float(np.exp(rng.uniform(np.log(0.8), np.log(4))))
        kind = ("dot", "cosine")[number % 2]
        bits = analytic(n_dims, noise, kind)[0]
        if 1 <= bits <= 16:
            return {"n_dims": n_dims, "noise": noise, "kind": kind, "bits": bits}


def analytic(n_dims: int, noise: float, kind: str) -> tuple[float, float, tuple[np.ndarray, np.ndarray]]:
    """Bits, accuracy among `WAYS`, and bits at each score, by integration over the decoded vector's length."""
    gain = 1 / (1 + noise**2)
    length = np.sqrt(1 + noise**2) * stats.chi(n_dims).ppf((np.arange(60) + 0.5) / 60)
    spread = np.sqrt(noise**2 * gain)
    if kind == "dot":
        z = np.linspace(-8, gain * length.max() + 8, 1500)
        own = stats.norm.pdf(z[:, None], gain * length, spread).mean(1)
        log_other, won = stats.norm.logpdf(z), stats.norm.logcdf(z)
    else:
        centre = gain * length / spread
        z = np.linspace(-8, 2.5 * centre.max() + 12, 1500)
        own = np.nan_to_num(stats.nct.pdf(z[:, None], n_dims - 1, centre)).mean(1)
        log_other, won = stats.t.logpdf(z, n_dims - 1), stats.t.logcdf(z, n_dims - 1)
    ratio = (np.log(np.maximum(own, 1e-300)) - log_other) / np.log(2)
    accuracy = float(np.trapezoid(own * np.exp((WAYS - 1) * won), z))
    return float(np.trapezoid(own * ratio, z)), accuracy, (z, ratio)


def gaussian(rng: np.random.Generator, n: int, n_dims: int, noise: float, kind: str, bits: float) -> dict:
    """Errors of one test set of `n` queries."""
    shown = rng.standard_normal((n, n_dims))
    decoded = shown + noise * rng.standard_normal(shown.shape)
    lengths = np.linalg.norm(decoded, axis=1)
    table = decoded @ shown.T
    own = np.diag(table) / lengths
    if kind == "cosine":
        table = table / lengths[:, None] / np.linalg.norm(shown, axis=1)
        cosine = np.diag(table)
        own = cosine / np.sqrt(1 - cosine**2) * np.sqrt(n_dims - 1)
        won = stats.t.logcdf(own, n_dims - 1)
    else:
        won = stats.norm.logcdf(own)
    found = surprisal(table, np.arange(n))
    predicted, told = predicted_top1(found, WAYS).mean(), information(found).mean()
    _, accuracy, ratio = analytic(n_dims, noise, kind)
    return {
        "same_queries": predicted - np.exp((WAYS - 1) * won).mean(),
        "all_queries": predicted - accuracy,
        "bits": told / bits - 1,
        "bits_same": told / np.interp(own, *ratio).mean() - 1,
        "bits_known": np.interp(own, *ratio).mean() / bits - 1,
        "pilot": pilot(table) - np.exp((WAYS - 1) * won).mean(),
    }


def pilot(table: np.ndarray) -> float:
    """Accuracy that a Gaussian of each row's mean and SD would promise."""
    n = len(table)
    others = table[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    z = (np.diag(table) - others.mean(1)) / others.std(1)
    return float(np.exp((WAYS - 1) * stats.norm.logcdf(z)).mean())


def embedded(rng: np.random.Generator, n: int, spectrum: float, clusters: int) -> dict:
    """Errors where variance falls over 100 dimensions and items may come in clusters; cosine, exact in the gallery."""
    n_gallery = 20_000
    scale = np.arange(1, 101) ** (-spectrum / 2)
    scale = (scale / np.sqrt((scale**2).mean())).astype(np.float32)
    items = rng.standard_normal((n_gallery, 100), dtype=np.float32) * scale
    if clusters:
        centres = rng.standard_normal((clusters, 100), dtype=np.float32) * scale
        items = np.sqrt(0.5) * (items + centres[rng.integers(0, clusters, n_gallery)])
    noise = np.float32(1.6)
    decoded = (
        (items[:n] + noise * rng.standard_normal((n, 100), dtype=np.float32))
        * scale**2
        / (scale**2 + noise**2)
    )
    table = decoded @ items.T / np.linalg.norm(decoded, axis=1)[:, None] / np.linalg.norm(items, axis=1)
    better = (table > table[np.arange(n), np.arange(n)][:, None]).sum(1)
    true = stats.hypergeom.pmf(0, n_gallery - 1, better, WAYS - 1).mean()
    small = table[:, :n].astype(np.float64)
    return {
        "error": predicted_top1(surprisal(small, np.arange(n)), WAYS).mean() - true,
        "pilot": pilot(small) - true,
    }


def summary(name: str, rows: list[dict]) -> list[dict]:
    """Lines of one size of test set."""
    kinds = {
        "same_queries": 0.03,
        "all_queries": 0.03,
        "bits": 0.05,
        "bits_same": 0.05,
        "bits_known": 0.05,
        "pilot": 0.03,
    }
    names = {
        "bits": "bits_relative", "bits_same": "bits_same_queries_relative", "pilot": "gaussian_same_queries",
        "bits_known": "bits_relative_if_all_densities_were_known",
    }  # fmt: skip
    return [
        line(f"{name}_{names.get(k, k)}", np.array([row[k] for row in rows]), limit)
        for k, limit in kinds.items()
    ]


def line(name: str, errors: np.ndarray, limit: float = 0.03) -> dict:
    """Mean, SD and largest error over worlds, and how many stay within the limit."""
    return {
        "name": name, "unit": "error", "n": len(errors), "mean": round(float(errors.mean()), 4),
        "sd": round(float(errors.std(ddof=1)), 4), "median": round(float(np.median(errors)), 4),
        "range": [round(float(errors.min()), 4), round(float(errors.max()), 4)], "limit": limit,
        "within_limit": int((np.abs(errors) <= limit).sum()),
    }  # fmt: skip


def write(values: list[dict], seconds: float) -> None:
    """The table as JSON beside this file."""
    record = {
        "measured": True,
        "command": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python {' '.join(sys.argv)}",
        "seconds": round(seconds),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "gpu": None},
        "versions": {
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "scipy": version("scipy"),
        },
        "values": values,
    }
    path = Path(__file__).parent / "results" / "pool_free.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
