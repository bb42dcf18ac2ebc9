"""Time and memory of a training step at NSD's size: voxels of several subjects to OpenCLIP tokens, on a GPU.

Run     python benchmarks/train_step_gpu.py            (make bench-gpu)
Small   python benchmarks/train_step_gpu.py --small    (any machine; no result file)
Writes  benchmarks/results/train_step_gpu.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.decoder import versions
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import soft_clip
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

NSD_VOXELS = (15724, 14278, 13039, 12682)  # nsdgeneral of subjects 1, 2, 5, 7
FULL = {"voxels": NSD_VOXELS, "shared": 1024, "width": 2048, "tokens": 256, "dims": 1664, "batch": 24, "steps": 50}
SMALL = {"voxels": (60, 50), "shared": 16, "width": 32, "tokens": 4, "dims": 8, "batch": 8, "steps": 3}
RESULT = Path(__file__).parent / "results" / "train_step_gpu.json"


def main() -> None:
    """Prints a line and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    if not small and not torch.cuda.is_available():
        found: dict[str, object] = {"measured": "not measured: no GPU"}
    else:
        found = measured(SMALL if small else FULL, "cuda" if torch.cuda.is_available() else "cpu")
    print(json.dumps(found))
    if not small:
        record = {"command": " ".join(["python", *sys.argv]), "size": FULL, "versions": versions(), **found}
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


def measured(size: dict, device: str) -> dict[str, object]:
    """Seconds a step (after warm-up), trials a second and peak memory."""
    trainee = built(size).to(device)
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=3e-4)
    batch = drawn(size, device)
    generator = torch.Generator(device).manual_seed(0)
    n_warm = max(1, size["steps"] // 5)
    start = 0.0
    for step in range(n_warm + size["steps"]):
        if step == n_warm:
            _wait(device)
            start = time.perf_counter()
        with torch.autocast(device, dtype=torch.bfloat16):
            loss = sum(objective(trainee, batch, 0.9, generator).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    _wait(device)
    seconds = (time.perf_counter() - start) / size["steps"]
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    n_parameters = sum(p.numel() for p in trainee.parameters())
    return {
        "seconds_per_step": seconds,
        "trials_per_second": size["batch"] * len(size["voxels"]) / seconds,
        "peak_GiB": peak,
        "parameters": n_parameters,
        "loss": float(loss.detach()),
    }


def built(size: dict) -> Trainee:
    """Encoder of all subjects and the SoftCLIP loss."""
    signals = [SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(size["voxels"])]
    info = SignalInfo({s.key: s for s in signals})
    outputs = {"main": (size["tokens"], size["dims"])}
    backbone = mlp.Config(width=size["width"], n_blocks=2, skip_linear=False)
    encoder = Encoder.build(info, outputs, linear.Config(size["shared"]), backbone, 0)
    return Trainee(encoder, {"main": soft_clip.build(soft_clip.Config())}, {"main": 1.0})


def drawn(size: dict, device: str) -> dict:
    """A batch of noise for every subject."""
    keys = [f"sub-{i + 1:02d}_fmri" for i in range(len(size["voxels"]))]
    batch: dict = {"keys": keys}
    for number, (key, n) in enumerate(zip(keys, size["voxels"], strict=True)):
        batch[f"signals/{key}"] = torch.randn(size["batch"], n, device=device)
        batch[f"stimuli/{key}"] = torch.arange(size["batch"], device=device) + number * size["batch"]
        batch[f"main/{key}"] = torch.randn(size["batch"], size["tokens"], size["dims"], device=device)
    return batch


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
