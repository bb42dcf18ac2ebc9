"""Seconds a step of training on 1, 2 and 4 processes, with whole weights and with shares of them.

Run     OMP_NUM_THREADS=1 python benchmarks/ranks.py [--ranks 1 2 4] [--smoke]

One thread a process, so 4 ranks on 2 cores say what they cost, not what they gain.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

VOXELS, TOKENS = (15_724, 14_278), (16, 768)


def worker(hidden: int, batch_size: int, n_steps: int, *, shard: bool) -> None:
    """Trains on random numbers and says how long its steps took."""
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
    subjects = (SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(VOXELS))
    info = SignalInfo({s.key: s for s in subjects})
    encoder = Encoder.build(info, {"main": TOKENS}, linear.Config(hidden), mlp.Config(hidden, 4), 0)
    trainee = Trainee(encoder, {"main": soft_clip.build(soft_clip.Config())}, {"main": 1.0})
    made = torch.Generator().manual_seed(0)
    n = batch_size // len(VOXELS)
    batch: dict[str, Any] = {"keys": list(info.signals)}
    for key, v in zip(info.signals, VOXELS, strict=True):
        batch[f"signals/{key}"] = torch.randn(n, v, generator=made)
        batch[f"stimuli/{key}"] = torch.arange(n)
        batch[f"main/{key}"] = torch.randn(n, *TOKENS, generator=made)
    began: list[float] = []

    def at(step: int) -> dict[str, Any]:
        began.append(time.perf_counter())
        return batch

    settings = train.Config(n_steps=n_steps, batch_size=batch_size, lr=1e-4, device="cpu", shard=shard)
    train.fit(trainee, at, objective, settings, seed=0, progress=False)
    if ranks.first:
        took = [after - before for before, after in itertools.pairwise(began)][
            2:
        ]  # the first steps make room
        print(json.dumps({"ranks": ranks.n, "shard": shard, "n": len(took), "s_a_step": statistics.median(took),
                          "range": [min(took), max(took)]}))  # fmt: skip


def main() -> None:
    """Starts every number of ranks and writes a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--shard", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.hidden, options.batch, options.steps = 16, 8, 5
    if options.worker:
        worker(options.hidden, options.batch, options.steps, shard=options.shard)
        return
    sizes = ["--hidden", options.hidden, "--batch", options.batch, "--steps", options.steps]
    said = [str(Path(__file__).resolve()), "--worker", *map(str, sizes)]
    print(json.dumps({"cores": os.cpu_count(), "load_average": os.getloadavg(), "torch": torch.__version__}))
    for n in options.ranks:
        for shard in (False, True) if n > 1 else (False,):
            runner = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"] if n > 1 else []
            command = [sys.executable, *runner, *said, *(["--shard"] if shard else [])]
            run = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            print(run.stdout.strip() or run.stderr[-2000:], flush=True)


if __name__ == "__main__":
    main()
