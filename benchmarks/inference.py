"""Bootstrap inference on RDMs beside rsatoolbox in one run: the same resamples give the same scores and ceilings.

Run     python benchmarks/inference.py [--small --out FILE]
Writes  benchmarks/results/inference.json

rsatoolbox resamples by gathering RDMs, one draw at a time; it is given a few draws and its time is stated per draw.
braindec is given a thousand (a few where a draw is long). Both resample subjects and stimuli and compute both ceilings.
Scores of models and ceilings are compared on draws that are handed to both: they must agree to 5e-15 (5e-14 for
1,000 conditions).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name

from braindec.rdm.bootstrap import bootstrap
from braindec.rdm.resampling import draw_counts

warnings.filterwarnings("ignore")
RESULTS = Path(__file__).parent / "results" / "inference.json"
REST = 0.1  # s before each run: until idle threads of the library that ran last no longer wait in loops
PEERS = {"pearson": "corr", "rho_a": "rho-a"}
# conditions, subjects, models, comparator, our draws, their draws
CASES = ((92, 20, 5, "pearson", 1000, 10), (92, 20, 5, "rho_a", 300, 4), (1000, 8, 5, "pearson", 60, 2),
         (1000, 8, 5, "rho_a", 40, 2))  # fmt: skip
SMALL = ((14, 5, 2, "pearson", 20, 2), (14, 5, 2, "rho_a", 20, 2))


def main() -> None:
    """Times every case, prints a table and writes it."""
    options = parse()
    rows = []
    for case in SMALL if options.small else CASES:
        r = measured(*case)
        print(
            f"{r['task']:48s} braindec {r['braindec_ms']:9.3f} ms a draw ({r['braindec_s']:.2f} s in all), rsatoolbox "
            f"{r['rsatoolbox_ms']:9.1f} ms: {r['ratio']:.0f} times as fast, equal to {r['difference']:.1g}",
            flush=True,
        )
        rows.append(r)
    record = {
        "measured": True,
        "command": f"python {' '.join(sys.argv)}",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": None},
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("torch", "numpy", "rsatoolbox")},
        "values": rows,
    }  # fmt: skip
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="does it run at all?")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def measured(n: int, n_subjects: int, n_models: int, comparator: str, n_ours: int, n_theirs: int) -> dict:
    """One case: our draws, their draws, and the same draw in both."""
    from rsatoolbox.inference import eval_bootstrap
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    rng = np.random.default_rng(0)
    models = rng.random((n_models, n * (n - 1) // 2))
    data = rng.random((n_subjects, models.shape[1])) + models[:1]
    generator = torch.Generator().manual_seed(0)
    given = tuple(torch.from_numpy(a) for a in (data, models))
    bootstrap(*given, comparator, 2, generator)  # first calls allocate
    time.sleep(REST)
    start = time.perf_counter()
    bootstrap(*given, comparator, n_ours, generator, factors=("both",))  # what eval_bootstrap does
    ours = time.perf_counter() - start
    theirs = RDMs(
        data, pattern_descriptors={"index": np.arange(n)}, rdm_descriptors={"index": np.arange(n_subjects)}
    )
    fixed = [
        ModelFixed(f"m{i}", RDMs(m[None], pattern_descriptors={"index": np.arange(n)}))
        for i, m in enumerate(models)
    ]
    time.sleep(REST)
    start = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        eval_bootstrap(fixed, theirs, method=PEERS[comparator], N=n_theirs)
    peer = (time.perf_counter() - start) / n_theirs
    difference = agreement(data, models, comparator, theirs, generator)
    # Sums over half a million pairs round further: the peer is off by 2e-14 from extended precision, braindec by 1e-16.
    if not difference <= 5e-15 * max(1.0, data.shape[1] / 50_000):
        raise SystemExit(f"{comparator}, {n} conditions: results of one draw differ by {difference:.2g}.")
    return {
        "task": f"{comparator}, {n} conditions, {n_subjects} subjects, {n_models} models",
        "n": n_ours, "unit": "ms a draw", "braindec_ms": round(1000 * ours / n_ours, 4), "braindec_s": round(ours, 3),
        "rsatoolbox_ms": round(1000 * peer, 2), "ratio": round(peer / (ours / n_ours), 1), "difference": difference,
    }  # fmt: skip


def agreement(
    data: np.ndarray, models: np.ndarray, comparator: str, theirs, generator: torch.Generator
) -> float:
    """Largest difference on one draw: models over resampled subjects and conditions, ceilings over conditions."""
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs, compare

    n = theirs.n_cond
    counts = draw_counts(n, 2, generator), draw_counts(len(data), 2, generator)
    given = tuple(torch.from_numpy(a) for a in (data, models))
    found = bootstrap(*given, comparator, 2, generator, counts=counts)
    conditions, subjects = (np.repeat(np.arange(c.shape[1]), c[0].int()) for c in counts)
    drawn = theirs.subsample_pattern("index", conditions)
    predicted = RDMs(models, pattern_descriptors={"index": np.arange(n)}).subsample_pattern(
        "index", conditions
    )
    method = PEERS[comparator]
    scores = compare(drawn.subsample("index", subjects), predicted, method).mean(0)
    limits = boot_noise_ceiling(drawn, method)
    n_models = len(models)
    return max(
        float(np.abs(found.both[0, :n_models].numpy() - scores).max()),
        float(np.abs(found.conditions[0, n_models:].numpy() - np.array(limits)).max()),
    )


if __name__ == "__main__":
    main()
