"""Trials to embeddings, without gradients: modules as published beside braindec's, from equal weights on equal trials.

Run     python benchmarks/encode.py                      (minutes on 2 processor cores; 7 GB for hidden 512)
Small   python benchmarks/encode.py --small --out FILE
Writes  benchmarks/results/encode.json

MindEye2's encoder at hidden 512 (its eight subjects, 256 x 1664 tokens and the projected ones), NICE's and ATM's on
1,024 epochs of 63 channels and 250 samples. Both sides are in evaluation mode, in float32; their outputs are compared
before anything is timed, and they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _record import cpu_name
from torch import Tensor
from train_step import FULL, SMALL
from train_step_eeg import CHANNELS, TIMES, Pair
from train_step_parts.encoder import Published, copy_

from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.decoder import versions
from braindec.encoder import Encoder
from braindec.maths import heap
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

RESULT = Path(__file__).parent / "results" / "encode.json"
CLOSE = 1e-4  # largest difference, of the largest value
Sides = dict[str, Callable[[], tuple[Tensor, ...]]]


def main() -> None:
    """Compares and times every system, prints a line each and writes them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    size, n_epochs = (SMALL, 8) if options.small else (FULL, 1024)
    systems: dict[str, Callable[[], Sides]] = {
        "mindeye2": lambda: mindeye2(size),
        "nice": lambda: eeg("nice", n_epochs),
        "atm": lambda: eeg("atm", n_epochs),
    }
    values = [measured(name, make(), options.repeats) for name, make in systems.items()]
    record = {
        "measured": True, "command": " ".join(["python", *sys.argv]), "size": {**size, "epochs": n_epochs},
        "machine": {"processor": cpu_name(), "cores": os.cpu_count(),
                    "threads": torch.get_num_threads()},
        "load_average": os.getloadavg()[0], "versions": versions(), "values": values,
    }  # fmt: skip
    options.out.write_text(json.dumps(record, indent=1) + "\n")


@torch.inference_mode()
def measured(name: str, sides: Sides, repeats: int) -> dict[str, object]:
    """Seconds of both sides in turns, and how far their outputs are apart."""
    first = {side: encode() for side, encode in sides.items()}
    off = max(
        float((a - b).abs().max() / a.abs().max())
        for a, b in zip(first["published"], first["braindec"], strict=True)
    )
    if off > CLOSE:
        raise SystemExit(f"{name}: outputs differ by {off:.2g} of the largest value")
    took: dict[str, list[float]] = {side: [] for side in sides}
    with heap.kept():
        for _ in range(repeats):
            for side, encode in sides.items():
                start = time.perf_counter()
                encode()
                took[side].append(time.perf_counter() - start)
    median = {side: statistics.median(t) for side, t in took.items()}
    ratio = median["published"] / median["braindec"]
    print(
        f"{name:9s} published {median['published']:.4f} s   braindec {median['braindec']:.4f} s   {ratio:.2f} times"
    )
    return {
        "system": name, "unit": "s for all trials", "n": repeats, "outputs_off": off, "median": median,
        "range": {side: [min(t), max(t)] for side, t in took.items()}, "ratio": ratio,
    }  # fmt: skip


def mindeye2(size: dict) -> Sides:
    """Voxels of every subject to tokens and projected tokens."""
    torch.manual_seed(0)
    published = Published(size).eval()
    signals = [SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(size["voxels"])]
    shape = (size["tokens"], size["dims"])
    config = mixer.Config("published", dropout=0.0, projected=(("clip", "tokens"),))
    info = SignalInfo({s.key: s for s in signals})
    encoder = Encoder.build(info, {"tokens": shape, "clip": shape}, linear.Config(size["hidden"]), config, 0)
    copy_(encoder, published)
    encoder.eval()
    n = size["batch"] // len(signals)
    voxels = {s.key: torch.randn(n, *s.shape) for s in signals}

    def ours() -> tuple[Tensor, ...]:
        made = encoder(voxels)
        return tuple(torch.cat([made[s.key][name] for s in signals]) for name in ("tokens", "clip"))

    return {"published": lambda: published([voxels[s.key] for s in signals]), "braindec": ours}


def eeg(name: str, n_epochs: int) -> Sides:
    """Epochs to embeddings, by NICE or ATM."""
    torch.manual_seed(0)
    pair = Pair(name)
    pair.theirs.eval()
    pair.ours.eval()
    signal = torch.randn(n_epochs, CHANNELS, TIMES)
    return {
        "published": lambda: (pair.forward("theirs", signal),),
        "braindec": lambda: (pair.forward("ours", signal),),
    }


if __name__ == "__main__":
    main()
