"""Anonymous memory (RssAnon) that preprocessing and training take at the size of a prepared NSD subject.

Run     OMP_NUM_THREADS=1 python benchmarks/memory.py [--folder /tmp/memory] [--only Pca training] [--small]
Needs   40 GB of disk in --folder, 29 GB of it for the embeddings; what is generated is removed
Writes  benchmarks/results/memory.json

30,000 trials x 15,724 voxels (27,000 of them train), and float16 tokens (257 x 768) of 73,000 images; --images takes
fewer where the disk is smaller. Every row is a process of its own: `grown_mb` is the most that its RssAnon rose,
sampled every 20 ms, after all is imported and the model built; of the training (preprocessing, then 50 steps of
64 trials) also without what the model, its gradients and the optimiser's two moments hold (`beyond_model_mb`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name

from braindec import store, train
from braindec.adapters import linear as adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, Split, layout, mapped
from braindec.data.preprocessing import (
    AlignShared,
    ClipMad,
    Detrend,
    Pca,
    PercentSignalChange,
    Preprocessing,
    RobustScale,
    SelectReliable,
    Standardise,
    Step,
)
from braindec.decoder import BrainDecoder, Settings, rows
from braindec.losses import mse
from braindec.types import ArraySpace, Embeddings, Table, Trials

TRIALS, VOXELS, REPEATS, SESSION, RUN = 30_000, 15_724, 3, 750, 62
IMAGES, TOKENS, DIMS = 73_000, 257, 768
LIMIT_MB = 2000
STEPS: dict[str, tuple[Step, ...]] = {
    "Standardise": (Standardise(),),
    "Standardise by session": (Standardise("session", "unit_unlabelled"),),
    "Standardise so far": (Standardise("session", "causal"),),
    "PercentSignalChange": (PercentSignalChange(),),
    "RobustScale": (RobustScale(),),
    "ClipMad": (ClipMad(),),
    "Detrend": (Detrend("run"),),
    "SelectReliable": (SelectReliable(n=4000),),
    "SelectReliable by halves": (SelectReliable(n=4000, measure="split_half"),),
    "Pca": (Pca(50),),
    "SelectReliable, AlignShared": (SelectReliable(n=4000), AlignShared(20)),
}
CHAIN = (Standardise("session", "unit_train_rows"), ClipMad(), SelectReliable(n=8000))


def main() -> None:
    """Generates the data, measures every row in a process of its own, and writes the table."""
    options = parse()
    if options.job:
        print(json.dumps(measured(options.job, Path(options.folder), options)))
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="memory-"))
    values = []
    try:
        generate(folder, options)
        for job in options.only or [*STEPS, "training"]:
            command = [
                sys.executable,
                __file__,
                "--job",
                job,
                "--folder",
                str(folder),
                "--images",
                str(options.images),
            ]
            run = subprocess.run(
                command + ["--small"] * options.small, stdout=subprocess.PIPE, text=True, check=True
            )
            values.append({"job": job} | json.loads(run.stdout.splitlines()[-1]))
            print(values[-1], flush=True)
    finally:
        shutil.rmtree(folder)
    write(values, options)


def parse() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--images", type=int, default=IMAGES, help="how many have embeddings")
    parser.add_argument("--only", nargs="+", choices=[*STEPS, "training"])
    parser.add_argument("--small", action="store_true", help="tiny data, for the tests")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "memory.json"))
    options = parser.parse_args()
    options.trials, options.voxels, options.tokens, options.dims = TRIALS, VOXELS, TOKENS, DIMS
    if options.small:
        options.trials, options.voxels, options.tokens, options.dims = 1500, 10_000, 4, 8
        options.images = 500
    return options


class Responses:
    """Noise about the mean of each stimulus, far above zero as raw signals are; a row is a function of its number."""

    dtype = np.dtype(np.float32)

    def __init__(self, n_trials: int, n_voxels: int):
        self.shape = (n_trials, n_voxels)
        self._noise = np.random.default_rng(0).standard_normal(4 * n_voxels, dtype=np.float32)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        n = self.shape[1]
        starts = np.arange(self.shape[0])[rows]
        stimulus = starts % (self.shape[0] // REPEATS)
        out = np.stack([self._noise[(s * 7919) % (3 * n) :][:n] for s in starts.tolist()])
        out += np.stack([self._noise[(s * 104_729) % (3 * n) :][:n] for s in stimulus.tolist()])
        return out + 100


def generate(folder: Path, options: argparse.Namespace) -> None:
    """A prepared folder, and the embeddings of more images than it shows."""
    n = options.trials
    ids = [f"s{i:05d}" for i in range(n // REPEATS)]
    order = np.arange(n)
    session, run = order // SESSION, order // RUN
    table = Table(
        {
            "stimulus_id": np.array(ids)[order % len(ids)], "session": session.astype(str), "run": run.astype(str),
            "repeat": order // len(ids), "onset_s": 4.0 * (order % RUN), "acquisition_order": order,
            "exchangeability_block": session.astype(str),
        }
    )  # fmt: skip
    trials = Trials(Responses(n, options.voxels), table, ArraySpace(options.voxels), "a.u.", 1, "fmri")
    n_test = len(ids) // 10
    split = Split("default", "stimulus", {"train": tuple(ids[n_test:]), "test": tuple(ids[:n_test])})
    layout.write_stimuli(folder, ids, kind="none", table=Table({"n": np.arange(len(ids))}))
    layout.write_manifest(folder, name="generated", licence="none", source="this script", splits={"default": split},
                          recordings=[layout.write_trials(folder, trials)])  # fmt: skip
    with store.writer(folder / "tokens.h5") as out:
        bulk = out.bulk("values", (options.images, options.tokens, options.dims), np.float16)
        some = (
            np.random.default_rng(1).standard_normal((101, options.tokens, options.dims)).astype(np.float16)
        )
        for start in range(0, options.images, 100):
            chosen = (np.arange(start, min(start + 100, options.images)) * 37 + start // 100) % 101
            bulk.append(some[chosen])


def measured(job: str, folder: Path, options: argparse.Namespace) -> dict:
    """What one job takes."""
    part = NeuralDataset.read(folder).part("train")
    if options.small:
        rows.IN_MEMORY_BYTES = 1 << 20
    torch.ones(3, requires_grad=True).sum().backward()  # its threads and buffers are there
    if job != "training":
        trials = part.trials["sub-01_fmri"]
        chain, place = Preprocessing(STEPS[job]), mapped.Scratch(folder / "scratch")
        return peak(lambda: mapped.fit_apply(chain, trials, place)) | {"shape": list(trials.responses.shape)}
    return training(part, folder, options)


def training(part: NeuralDataset, folder: Path, options: argparse.Namespace) -> dict:
    """Fits a decoder on tokens that are read by row."""
    ids = part.stimuli.ids + tuple(f"t{i:05d}" for i in range(options.images - len(part.stimuli.ids)))
    values = store.Stored(folder / "tokens.h5").rows("values")
    tokens = Embeddings(ids, values, "tokens", {}, "0" * 64)
    settings = Settings(
        adapter=adapter.Config(shared_dim=16), backbone=linear.Config(), loss=mse.Config(), preprocessing=CHAIN,
        n_folds=0, calibrate=False,
        train=train.Config(n_steps=50, batch_size=64, ridge_start=False, device="cpu"),
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, part.info, tokens.info)
    found = peak(lambda: decoder.fit(part, tokens, prior=False, progress=False))
    model = 16 * sum(p.numel() for p in decoder.encoder.parameters()) / 1e6  # weights, gradients, two moments
    return found | {
        "beyond_model_mb": round(found["grown_mb"] - model),
        "model_mb": round(model),
        "shape": list(part.trials["sub-01_fmri"].responses.shape),
        "embeddings": list(values.shape),
    }


def peak(call: Callable[[], object]) -> dict:
    """The most that anonymous memory rose during a call, and how long it took."""
    before, most, done = rss_anon_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], rss_anon_mb() - before)

    watching, start = threading.Thread(target=watch), time.perf_counter()
    watching.start()
    try:
        call()
    finally:
        done.set()
        watching.join()
    return {
        "grown_mb": round(max(most[0], rss_anon_mb() - before)),
        "seconds": round(time.perf_counter() - start, 1),
    }


def rss_anon_mb() -> float:
    """Anonymous memory of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / 1e6


def write(values: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON; rows that were not measured now are kept."""
    path = Path(options.out)
    before = json.loads(path.read_text())["values"] if path.is_file() else []
    threads = os.environ.get("OMP_NUM_THREADS")
    record = {
        "measured": True,
        "command": f"{f'OMP_NUM_THREADS={threads} ' if threads else ''}python {' '.join(sys.argv)}",
        "unit": "MB",
        "limit_mb": LIMIT_MB,
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None},
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in ("torch", "numpy", "h5py")},
        "values": [row for row in before if row["job"] not in {v["job"] for v in values}] + values,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
