"""A training step of MindEye2's model, published form and braindec's, from equal weights on equal batches.

Run     python benchmarks/train_step.py                  (2 processor cores: hidden 512, 24 trials, no prior)
Small   python benchmarks/train_step.py --small --out FILE
Writes  benchmarks/results/train_step.json

Both make the same step: voxels of eight subjects, a linear layer each, four mixer blocks, one linear layer to
256 x 1664 tokens, the projector, SoftCLIP on projected tokens and the mean squared error of the tokens, AdamW.
The published form is what its code does: a loop over subjects, all mixer blocks, plain layers, the default optimiser.
The losses of the first steps are compared before anything is timed, and systems take turns. What the published run pays
beside it, embedding its images with OpenCLIP bigG in every step, is not part of either.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from _record import cpu_name
from torch.nn import functional
from train_step_parts.encoder import NSD_VOXELS, Published, copy_, decay_groups

from braindec import train
from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.decoder import versions
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import mse, soft_clip
from braindec.maths import gemm, heap
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

RESULT = Path(__file__).parent / "results" / "train_step.json"
FULL = {"voxels": NSD_VOXELS, "hidden": 512, "tokens": 256, "dims": 1664, "batch": 24}
SMALL = {"voxels": (60, 50), "hidden": 16, "tokens": 4, "dims": 8, "batch": 8}
DECAY, RATE, PROGRESS = 1e-2, 3e-4, 0.9


def main() -> None:
    """Checks that both make equal steps, times them in turns, prints a line and writes it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    torch.manual_seed(0)
    published = Published(size)
    steps = {"braindec": ours(size, published), "published": theirs(size, published)}
    batch = drawn(size)
    first = {name: [step(batch) for _ in range(2)] for name, step in steps.items()}
    off = max(abs(a / b - 1) for a, b in zip(first["braindec"], first["published"], strict=True))
    if off > 1e-4:
        raise SystemExit(f"losses of the first two steps differ: {first}")
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, step in steps.items():
            took[name].append(seconds_of(step, batch, heap.kept() if name == "braindec" else nullcontext()))
    ours_median = statistics.median(took["braindec"])
    values = [
        {"name": name, "unit": "s a step", "n": len(t), "median": statistics.median(t), "range": [min(t), max(t)],
         "over_ours": statistics.median(t) / ours_median}
        for name, t in took.items()
    ]  # fmt: skip
    for row in values:
        print(f"{row['name']:10s} {row['median']:7.3f} s a step   {row['over_ours']:5.2f} times ours")
    record = {
        "measured": True, "command": " ".join(["python", *sys.argv]), "size": size, "losses_off": off,
        "machine": {"processor": cpu_name(), "cores": os.cpu_count(),
                    "threads": torch.get_num_threads()},
        "load_average": os.getloadavg()[0], "versions": versions(), "roofline": roofline(size, ours_median),
        "values": values,
    }  # fmt: skip
    options.out.write_text(json.dumps(record, indent=1) + "\n")


def seconds_of(step: Callable[[dict], float], batch: dict, around: AbstractContextManager[None]) -> float:
    """Of a step in the midst of others; `fit` makes its steps inside the context, where memory settles in two."""
    with around:
        for _ in range(2):
            step(batch)
        start = time.perf_counter()
        step(batch)
        return time.perf_counter() - start


def theirs(size: dict, model: Published) -> Callable[[dict], float]:
    """A step as published: its decay groups, torch's default AdamW."""
    optimizer = torch.optim.AdamW(decay_groups(model, DECAY), lr=RATE)
    temperature = soft_clip.build(soft_clip.Config()).temperature(PROGRESS)

    def step(batch: dict) -> float:
        optimizer.zero_grad()
        tokens, projected = model([batch[f"signals/{key}"] for key in batch["keys"]])
        target = torch.cat([batch[f"clip/{key}"] for key in batch["keys"]])
        a = functional.normalize(projected.flatten(1), dim=-1)
        b = functional.normalize(target.flatten(1), dim=-1)
        soft, logits = (b @ b.T / temperature).softmax(-1), a @ b.T / temperature
        contrast = (
            -(logits.log_softmax(-1) * soft).sum(-1).mean() - (logits.T.log_softmax(-1) * soft).sum(-1).mean()
        )
        loss = contrast / 2 + functional.mse_loss(tokens, target)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def ours(size: dict, published: Published) -> Callable[[dict], float]:
    """A step by the same calls that `BrainDecoder.fit` makes, from the published form's weights."""
    signals = [SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(size["voxels"])]
    info = SignalInfo({s.key: s for s in signals})
    shape = (size["tokens"], size["dims"])
    config = mixer.Config("published", dropout=0.0, projected=(("clip", "tokens"),))
    encoder = Encoder.build(info, {"tokens": shape, "clip": shape}, linear.Config(size["hidden"]), config, 0)
    copy_(encoder, published)
    losses = {"tokens": mse.build(mse.Config()), "clip": soft_clip.build(soft_clip.Config())}
    trainee = Trainee(encoder, losses, {"tokens": 1.0, "clip": 1.0}).train()
    optimizer = train.optimizer_of(trainee, train.Config(lr=RATE, weight_decay=DECAY))
    generator = torch.Generator().manual_seed(0)

    def step(batch: dict) -> float:
        loss = torch.stack([*objective(trainee, batch, PROGRESS, generator).values()]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def roofline(size: dict, seconds: float) -> dict[str, float]:
    """What a step must compute and move, at this machine's own speeds, and the share of our seconds that this is.

    Products on tokens are counted as computing. The layers behind voxels and before tokens have few rows: they are
    counted as reading and writing their weights, which AdamW does seven times (weight, gradient and two moments) and
    passes forward and backward three times (two for the adapters: voxels need no gradient).
    """
    dims, n = size["dims"], size["batch"] // len(size["voxels"]) * len(size["voxels"])
    computed = 9 * 2 * n * size["tokens"] * dims**2
    weights = [sum(size["voxels"]) * size["hidden"], size["hidden"] * size["tokens"] * dims]
    moved = 4.0 * (9 * weights[0] + 10 * weights[1])
    a, b = torch.randn(n * size["tokens"], dims), torch.randn(dims, dims)
    product = fastest(lambda: gemm.mm(a, b))
    x, y = torch.ones(2, 2**26 if dims > 100 else 2**16).unbind()
    speed, bandwidth = (
        2 * len(a) * dims**2 / product,
        3 * 4 * len(x) / fastest(lambda: torch.add(x, y, out=x)),
    )
    floor = computed / speed + moved / bandwidth
    return {
        "operations": computed, "bytes": moved, "operations_a_second": speed, "bytes_a_second": bandwidth,
        "floor_seconds": floor, "of_floor": floor / seconds,
    }  # fmt: skip


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of five calls."""
    took = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


def drawn(size: dict) -> dict:
    """A batch of noise, equal numbers of trials from every subject."""
    made = torch.Generator().manual_seed(1)
    keys = [f"sub-{i + 1:02d}_fmri" for i in range(len(size["voxels"]))]
    n = size["batch"] // len(keys)
    batch: dict = {"keys": keys}
    for number, (key, voxels) in enumerate(zip(keys, size["voxels"], strict=True)):
        batch[f"signals/{key}"] = torch.randn(n, voxels, generator=made)
        batch[f"stimuli/{key}"] = torch.arange(n) + number * n
        target = torch.randn(n, size["tokens"], size["dims"], generator=made)
        batch[f"tokens/{key}"] = batch[f"clip/{key}"] = target
    return batch


if __name__ == "__main__":
    main()
