"""Seconds and memory of a training step on 1, 2 and 4 processes, with whole weights and with shares of them (FSDP).

Run     OMP_NUM_THREADS=1 python benchmarks/ranks.py [--ranks 1 2 4] [--small]
Writes  benchmarks/results/ranks.json

One thread a process, gloo, one machine. `strong`: the same batch cut among the ranks, what torchrun does to a recipe.
`alone` is that step's arithmetic without anybody to wait for: one process with a rank's share of the batch. What ranks
add to it is the gathering of predictions, the mean of gradients and, where ranks outnumber cores, waiting for a core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import _record
import torch

SUBJECTS = 2
FULL = {"voxels": 15_000, "tokens": 16, "dim": 768, "hidden": 512, "batch": 96, "steps": 14}
SMALL = {"voxels": 60, "tokens": 1, "dim": 8, "hidden": 16, "batch": 8, "steps": 6}
RESULT = Path(__file__).parent / "results" / "ranks.json"
WARM = 3  # the first steps make room


def main() -> None:
    """Starts every number of ranks, prints a line each and, at full size, writes them."""
    options = parse()
    sizes = SMALL if options.small else FULL
    if options.worker:
        print(json.dumps(worker(sizes | {"batch": options.batch}, shard=options.shard)))
        return
    values = []
    for n in options.ranks:
        values.append(measured(options, n, sizes["batch"], "strong"))
        if n > 1:
            values.append(measured(options, n, sizes["batch"], "strong", shard=True))
            values.append(measured(options, 1, sizes["batch"] // n, f"alone, the share of one of {n}"))
    record = {
        "measured": True, "command": _record.command("--out"), "machine": _record.machine(),
        "versions": _record.versions(), "sizes": sizes | {"subjects": SUBJECTS}, "unit": "seconds a step, median",
        "values": values, "cost": costs(values),
    }  # fmt: skip
    print(json.dumps(record["cost"]))
    if not options.small or options.out:
        (options.out or RESULT).write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--small", action="store_true", help="tiny sizes, for the tests")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shard", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(
    options: argparse.Namespace, n: int, batch: int, kind: str, *, shard: bool = False
) -> dict[str, Any]:
    """One line: what the first of n processes says of its steps."""
    runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"] if n > 1 else []
    told = ["--worker", "--batch", str(batch), *["--small"] * options.small, *["--shard"] * shard]
    run = subprocess.run(
        [sys.executable, *runner, str(Path(__file__).resolve()), *told],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(f"{n} ranks ended with {run.returncode}:\n{run.stderr[-3000:]}")
    said = next(line for line in run.stdout.splitlines() if line.startswith("{"))
    row = {"kind": kind, "ranks": n, "weights": "shares" if shard else "whole", "batch": batch} | json.loads(
        said
    )
    print(json.dumps(row), flush=True)
    return row


def worker(sizes: dict[str, int], *, shard: bool) -> dict[str, Any]:
    """Trains on random numbers and tells how long its steps took, and the memory that this rank came to."""
    from braindec import train
    from braindec.adapters import linear
    from braindec.backbones import mlp
    from braindec.decoder.batches import Trainee, objective
    from braindec.encoder import Encoder
    from braindec.losses import soft_clip
    from braindec.ranks import Ranks
    from braindec.types import ArraySpace, SignalInfo, SubjectSignal

    torch.set_num_threads(1)
    ranks = Ranks.start()
    tokens, n = (sizes["tokens"], sizes["dim"]), sizes["batch"] // SUBJECTS
    subjects = (
        SubjectSignal(i + 1, "fmri", (sizes["voxels"],), ArraySpace(sizes["voxels"])) for i in range(SUBJECTS)
    )
    info = SignalInfo({s.key: s for s in subjects})
    encoder = Encoder.build(
        info, {"main": tokens}, linear.Config(sizes["hidden"]), mlp.Config(sizes["hidden"], 4), 0
    )
    weights = sum(p.numel() for p in encoder.parameters())
    trainee = Trainee(encoder, {"main": soft_clip.build(soft_clip.Config())}, {"main": 1.0})
    made = torch.Generator().manual_seed(0)
    batch: dict[str, Any] = {"keys": list(info.signals)}
    for key in info.signals:
        batch[f"signals/{key}"] = torch.randn(n, sizes["voxels"], generator=made)
        batch[f"stimuli/{key}"] = torch.arange(n)
        batch[f"main/{key}"] = torch.randn(n, *tokens, generator=made)
    began: list[float] = []

    def at(step: int) -> dict[str, Any]:
        began.append(time.perf_counter())
        return batch

    settings = train.Config(
        n_steps=sizes["steps"], batch_size=sizes["batch"], lr=1e-4, device="cpu", shard=shard
    )
    train.fit(trainee, at, objective, settings, seed=0, progress=False)
    if not ranks.first:
        raise SystemExit(0)
    took = [after - before for before, after in itertools.pairwise(began)][WARM:]
    return {
        "n": len(took), "median": statistics.median(took), "range": [min(took), max(took)],
        "million_weights": weights / 1e6,
        "peak_mb_of_first_rank": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    }  # fmt: skip


def costs(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each number of ranks: how many times one process's pace, and the seconds that being several adds."""
    alone = {row["kind"]: row["median"] for row in values}
    whole = [row for row in values if row["kind"] == "strong"]
    one = next(row["median"] for row in whole if row["ranks"] == 1) if whole[0]["ranks"] == 1 else None
    out = []
    for row in whole:
        if row["ranks"] > 1:
            share = alone[f"alone, the share of one of {row['ranks']}"]
            pace = None if one is None else one / row["median"]
            out.append({"ranks": row["ranks"], "weights": row["weights"], "times_the_pace_of_one": pace,
                        "seconds_added_to_a_rank's_share": row["median"] - share})  # fmt: skip
    return out


if __name__ == "__main__":
    main()
