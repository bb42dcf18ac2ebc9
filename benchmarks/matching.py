"""One-to-one matching of two dictionaries' atoms, from atoms to mean cosine, beside plain numpy and a shortcut.

Run     python benchmarks/matching.py [--sizes 2048 4096 --dims 768 --repeats 3]
Writes  benchmarks/results/matching.json

Dictionaries share all, two thirds, a third or none of their atoms (cosine about 0.89 between shared ones). Systems take
turns. "numpy" writes down the definition (cosines in float64, scipy's solver); its mean must be ours to 1e-5.
"mutual first" pairs what is mutually nearest before it asks the solver: quicker, and not the best pairing, which is
why it is here and not in the library.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name
from scipy.optimize import linear_sum_assignment

from braindec.sparse.matching import cosines, mcc

RESULTS = Path(__file__).parent / "results" / "matching.json"
SHARED = (1.0, 2 / 3, 1 / 3, 0.0)


def main() -> None:
    """Times all on every size and share, prints a table and writes it."""
    options = parse()
    rows = [
        row
        for size in options.sizes
        for share in SHARED
        for row in timed(*dictionaries(size, options.dims, share), share, options.repeats)
    ]
    for r in rows:
        print(
            f"{r['n_latents']:6d} latents, {r['shared']:4.2f} shared  {r['system']:12s} "
            f"{r['median']:7.3f} s, {r['over_ours']:5.2f} times ours   mean cosine {r['mean']:.6f}"
        )
    record = {
        "measured": True,
        "command": f"python {' '.join(sys.argv)}",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()}
        | {p: version(p) for p in ("torch", "scipy", "numpy")},
        "values": rows,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 4096])
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def dictionaries(size: int, dims: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of atoms (size, dims), of which a share is nearly the same, in different orders."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(size, dims, generator=generator) for _ in range(2))
    n = round(share * size)
    second[:n] = first[:n] + 0.5 * second[:n]
    return first, second[torch.randperm(size, generator=generator)]


def in_numpy(first: torch.Tensor, second: torch.Tensor) -> float:
    """The definition, in float64."""
    a, b = (x.double().numpy() for x in (first, second))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    similarity = a @ b.T
    return float(similarity[linear_sum_assignment(similarity, maximize=True)].mean())


def mutual_first(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mutually nearest atoms are paired, the solver gets the rest."""
    similarity = cosines(first, second).numpy()
    nearest = similarity.argmax(1)
    mutual = similarity.argmax(0)[nearest] == np.arange(len(similarity))
    rest = similarity[~mutual][:, np.setdiff1d(np.arange(similarity.shape[1]), nearest[mutual])]
    found = rest[linear_sum_assignment(rest, maximize=True)]
    return float(np.concatenate([similarity[mutual, nearest[mutual]], found]).mean())


def timed(first: torch.Tensor, second: torch.Tensor, share: float, repeats: int) -> list[dict]:
    """A row for each system, after the exact ones were found equal."""
    systems = {"braindec": mcc, "numpy": in_numpy, "mutual first": mutual_first}
    took: dict[str, list[float]] = {name: [] for name in systems}
    means = {}
    for _ in range(repeats):
        for name, solve in systems.items():
            start = time.perf_counter()
            means[name] = solve(first, second)
            took[name].append(time.perf_counter() - start)
    if abs(means["braindec"] - means["numpy"]) > 1e-5:
        raise SystemExit(f"the pairings differ: {means}")
    ours = statistics.median(took["braindec"])
    return [
        {
            "system": name,
            "n_latents": len(first),
            "shared": round(share, 2),
            "unit": "s",
            "n": repeats,
            "median": round(statistics.median(seconds), 4),
            "range": [round(min(seconds), 4), round(max(seconds), 4)],
            "over_ours": round(statistics.median(seconds) / ours, 2),
            "mean": means[name],
        }
        for name, seconds in took.items()
    ]


if __name__ == "__main__":
    main()
