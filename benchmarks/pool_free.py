"""How well a small test set tells bits per trial and the accuracy of a gallery of 10,000: 50 worlds with known answers.

Run  OMP_NUM_THREADS=1 python benchmarks/pool_free.py        (about three minutes)

In a Gaussian world a vector x of unit variance is shown and x + noise is decoded; 6 to 100 dimensions and noise are
drawn so that a trial tells 1 to 16 bits. Distractors of a dot product are exactly Gaussian, those of a cosine follow a
t distribution, so the divergence of true from other similarities is an integral; the accuracy among 10,000 is one too.
A prediction has two errors: that of the queries drawn and that of the extrapolation. `same_queries` compares with the
exact value of the very queries, and three observers say what the queries alone cost:

- `if_all_densities_were_known`: averages the true log ratio, or the true chance to win, over the queries drawn. Where
  nothing is assumed of the true entries' scores, no regular estimator has a smaller limiting variance (it is the
  efficient influence function), and by Anderson's lemma none lies within a limit more often: `expected_within_limit`
  is its number of hits by integration.
- `if_the_tail_were_known`: knows the family (Gaussian, t) of distractors, and takes mean and SD of a row from the row.
- `covers`: how many intervals of `stats.pool_free_intervals` hold the analytic value.
Worlds with uneven and clustered embeddings have no integral; their truth is a gallery of 20,000.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from _record import cpu_name
from scipy import stats

from braindec.stats.pool_free_intervals import pool_free

WAYS, N_WORLDS = 10_000, 50
N_AGAIN = 10  # further test sets of 200 from every world: one a world leaves much to luck


@dataclass(frozen=True, eq=False)
class Truth:
    """Of a world: bits, accuracy among `WAYS`, SD of both over queries, and the bits at each score."""

    bits: float
    accuracy: float
    bits_sd: float
    accuracy_sd: float
    score: np.ndarray
    ratio: np.ndarray


def main() -> None:
    """Measures all worlds and writes results/pool_free.json."""
    started = time.time()
    rng = np.random.default_rng(0)
    worlds = [draw_world(rng, i) for i in range(N_WORLDS)]
    values = []
    for n in (200, 1000, 2500):
        rows = [gaussian(rng, n, **world) for world in worlds]
        values += [*summary(f"gaussian_{n}", rows), *bounds(n, worlds), *coverage(f"gaussian_{n}", rows)]
        print(f"{n} queries: {time.time() - started:.0f} s", file=sys.stderr)
    again = [gaussian(np.random.default_rng([7, i]), 200, **w) for i in range(N_AGAIN) for w in worlds]
    values += [*summary("gaussian_200_again", again), *coverage("gaussian_200_again", again)]
    for shape, spectrum, clusters in (("uneven", 1.0, 0), ("clustered", 1.0, 20)):
        for n in (200, 1000):
            rows = [embedded(rng, n, spectrum, clusters) for _ in range(8)]
            error, pilot = (np.array([row[k] for row in rows]) for k in ("error", "pilot"))
            values += [
                line(f"{shape}_{n}_same_queries", error),
                line(f"{shape}_{n}_mean_and_sd_alone", pilot),
                covered(f"{shape}_{n}_covered_accuracy", rows, "covers"),
            ]
    write(values, time.time() - started)


def draw_world(rng: np.random.Generator, number: int) -> dict:
    """Dimensions, noise and similarity of a world whose bits lie in 1 .. 16."""
    while True:
        n_dims, noise = int(rng.integers(6, 101)), float(np.exp(rng.uniform(np.log(0.8), np.log(4))))
        kind = ("dot", "cosine")[number % 2]
        truth = analytic(n_dims, noise, kind)
        if 1 <= truth.bits <= 16:
            return {"n_dims": n_dims, "noise": noise, "kind": kind, "truth": truth}


def analytic(n_dims: int, noise: float, kind: str) -> Truth:
    """By integration over the decoded vector's length."""
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
    first = np.exp((WAYS - 1) * won)
    bits, accuracy = (float(np.trapezoid(own * x, z)) for x in (ratio, first))
    spreads = [
        np.sqrt(max(np.trapezoid(own * (x - m) ** 2, z), 0.0)) for x, m in ((ratio, bits), (first, accuracy))
    ]
    return Truth(bits, accuracy, float(spreads[0]), float(spreads[1]), z, ratio)


def gaussian(rng: np.random.Generator, n: int, n_dims: int, noise: float, kind: str, truth: Truth) -> dict:
    """Errors of one test set of `n` queries."""
    shown = rng.standard_normal((n, n_dims))
    decoded = shown + noise * rng.standard_normal(shown.shape)
    lengths = np.linalg.norm(decoded, axis=1)
    table = straight = decoded @ shown.T
    own = np.diag(table) / lengths
    family = stats.norm
    if kind == "cosine":
        table = table / lengths[:, None] / np.linalg.norm(shown, axis=1)
        straight = table / np.sqrt(1 - table**2) * np.sqrt(n_dims - 1)
        own, family = np.diag(straight), stats.t(n_dims - 1)
    first = np.exp((WAYS - 1) * family.logcdf(own)).mean()
    told = np.interp(own, truth.score, truth.ratio).mean()
    standard = standardised(straight) * family.std()
    found = pool_free(table, np.arange(n), np.random.default_rng(n), ways=WAYS)
    return {
        "same_queries": found.top1 - first,
        "all_queries": found.top1 - truth.accuracy,
        "known": first - truth.accuracy,
        "tail": np.exp((WAYS - 1) * family.logcdf(standard)).mean() - truth.accuracy,
        "bits": found.bits / truth.bits - 1,
        "bits_same": found.bits / told - 1,
        "bits_known": told / truth.bits - 1,
        "bits_tail": np.interp(standard, truth.score, truth.ratio).mean() / truth.bits - 1,
        "pilot": np.exp((WAYS - 1) * stats.norm.logcdf(standardised(table))).mean() - first,
        "covers": found.top1_interval.low <= truth.accuracy <= found.top1_interval.high,
        "bits_covers": found.bits_interval.low <= truth.bits <= found.bits_interval.high,
        "bits_half": (found.bits_interval.high - found.bits_interval.low) / 2 / truth.bits,
    }


def standardised(table: np.ndarray) -> np.ndarray:
    """Scores of the truth in SDs of its row's other entries."""
    n = len(table)
    others = table[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    return (np.diag(table) - others.mean(1)) / others.std(1)


def pilot(table: np.ndarray) -> float:
    """Accuracy that a Gaussian of each row's mean and SD would promise."""
    return float(np.exp((WAYS - 1) * stats.norm.logcdf(standardised(table))).mean())


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
    found = pool_free(small, np.arange(n), np.random.default_rng(n), ways=WAYS)
    return {
        "error": found.top1 - true, "pilot": pilot(small) - true,
        "covers": found.top1_interval.low <= true <= found.top1_interval.high,
    }  # fmt: skip


def summary(name: str, rows: list[dict]) -> list[dict]:
    """Lines of one size of test set."""
    names = {
        "same_queries": "same_queries", "all_queries": "all_queries",
        "known": "all_queries_if_all_densities_were_known", "tail": "all_queries_if_the_tail_were_known",
        "pilot": "gaussian_same_queries", "bits": "bits_relative", "bits_same": "bits_same_queries_relative",
        "bits_known": "bits_relative_if_all_densities_were_known",
        "bits_tail": "bits_relative_if_the_tail_were_known",
    }  # fmt: skip
    return [
        line(f"{name}_{names[k]}", np.array([row[k] for row in rows]), 0.05 if k.startswith("bits") else 0.03)
        for k in names
    ]


def bounds(n: int, worlds: list[dict]) -> list[dict]:
    """How many worlds the observer who knows all densities is expected within the limits, and in all of them."""
    out = []
    for name, error in (
        ("all_queries", lambda t: 0.03 / t.accuracy_sd),
        ("bits_relative", lambda t: 0.05 * t.bits / t.bits_sd),
    ):
        chance = 2 * stats.norm.cdf(np.sqrt(n) * np.array([error(w["truth"]) for w in worlds])) - 1
        out.append({
            "name": f"gaussian_{n}_{name}_if_all_densities_were_known_by_integration", "unit": "worlds",
            "n": len(worlds), "expected_within_limit": round(float(chance.sum()), 1),
            "chance_of_all_worlds": float(f"{chance.prod():.2g}"),
        })  # fmt: skip
    return out


def coverage(name: str, rows: list[dict]) -> list[dict]:
    """Share of intervals that hold the analytic value, and how wide those of the bits are."""
    half = round(float(np.median([row["bits_half"] for row in rows])), 4)
    return [
        covered(f"{name}_covered_accuracy", rows, "covers"),
        covered(f"{name}_covered_bits", rows, "bits_covers") | {"median_half_width_relative": half},
    ]


def covered(name: str, rows: list[dict], key: str) -> dict:
    """Share of intervals that hold the true value."""
    share = round(float(np.mean([row[key] for row in rows])), 4)
    return {"name": name, "unit": "share", "n": len(rows), "mean": share}


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
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None},
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
