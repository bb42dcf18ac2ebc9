"""A training step of TopK sparse autoencoders in bfloat16 on a GPU, beside the product that bounds it.

Run     python benchmarks/sae_gpu.py            (make bench-gpu)
Small   python benchmarks/sae_gpu.py --small    (any machine; no result file)
Writes  benchmarks/results/sae_gpu.json

A step multiplies one dense product, samples by latents; decoding and all gradients touch active latents alone. So the
floor of a step is that product at the speed the device reaches on it (`roofline`), and `of_matmul_peak` is the floor's
share of the measured step. Beside the steps: where a step's time goes, and that bfloat16 selects as float32 does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from braindec.decoder import versions
from braindec.ranks import Ranks
from braindec.sparse import Config, codes, losses, starting, steps
from braindec.sparse.rows import Rows

SIZES = {
    "d768": {"dims": 768, "latents": 12_288, "active": 32, "batch": 4096, "steps": 50},
    "d1664_131k": {"dims": 1664, "latents": 131_072, "active": 64, "batch": 8192, "steps": 20},
}
SMALL = {"small": {"dims": 16, "latents": 64, "active": 4, "batch": 32, "steps": 3}}
RESULT = Path(__file__).parent / "results" / "sae_gpu.json"
WANTED = 0.5  # of the measured matmul peak


def main() -> None:
    """Prints a line a size and, at full size, writes them with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    small = parser.parse_args().small
    if not small and not torch.cuda.is_available():
        found: dict[str, object] = {"measured": "not measured: no GPU"}
    else:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        found = {name: measured(size, device) for name, size in (SMALL if small else SIZES).items()}
    print(json.dumps(found))
    if not small:
        record = {"command": " ".join(["python", *sys.argv]), "sizes": SIZES, "wanted_of_matmul_peak": WANTED,
                  "versions": versions(), **found}  # fmt: skip
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


def measured(size: dict[str, int], device: str) -> dict[str, object]:
    """Seconds a step and of its parts, the floor, memory, and the agreement of bfloat16 with float32."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(4 * size["batch"], size["dims"], generator=generator).to(device)
    state = begun(size, data, device)
    step = stepper(state, data, size)
    seconds = median(step, size["steps"], device)
    gemm = roofline(size, device)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return {
        "seconds_per_step": seconds,
        "samples_per_second": size["batch"] / seconds,
        "floor_seconds": gemm,
        "of_matmul_peak": gemm / seconds,
        "matmul_tflops": 2e-12 * size["batch"] * size["latents"] * size["dims"] / gemm,
        "peak_GiB": peak,
        "parts": parts(state, data, size, device),
        "selected_as_float32": agreement(state, data, size),
    }


def begun(size: dict[str, int], data: torch.Tensor, device: str) -> steps.State:
    """An autoencoder before its first step, by the calls that `sparse.fit` makes."""
    model = Config(size["latents"], "topk", size["active"])
    settings = steps.Config(batch_size=size["batch"], n_steps=10_000, precision="bf16",
                              loss=losses.Config(aux_weight=0.0))  # fmt: skip
    start = starting.measure(Rows(data), 0)
    return steps.State(model, settings, size["dims"], start, 0, torch.device(device))


def stepper(state: steps.State, data: torch.Tensor, size: dict[str, int]) -> Callable[[], None]:
    """The next step of training."""
    ranks, number = Ranks.here(), 0

    def step() -> None:
        nonlocal number
        rows = (torch.arange(size["batch"]) + number * size["batch"]) % len(data)
        state.step(number, lambda numbers: data[numbers.to(data.device)], rows, ranks)
        number += 1

    return step


def roofline(size: dict[str, int], device: str) -> float:
    """Seconds of the one dense product of a step, bfloat16 in and out, at the device's own speed."""
    a = torch.randn(size["batch"], size["dims"], device=device, dtype=torch.bfloat16)
    b = torch.randn(size["latents"], size["dims"], device=device, dtype=torch.bfloat16)
    return median(lambda: torch.mm(a, b.T), size["steps"], device)


def parts(state: steps.State, data: torch.Tensor, size: dict[str, int], device: str) -> dict[str, float]:
    """Seconds of selecting, decoding, both passes, and the optimiser, each alone."""
    model, inputs = state.model, data[: size["batch"]]
    cast = torch.autocast(device, torch.bfloat16)

    def forward() -> losses.Terms:
        with cast:
            return losses.terms(
                model, inputs, losses.Config(aux_weight=0.0), variance=torch.tensor(1.0, device=device)
            )

    def select() -> codes.Code:
        with cast:
            return codes.top_of_sample(
                inputs, model.encoder.detach(), model.encoder_bias.detach(), size["active"]
            )

    chosen = select()
    named: dict[str, Callable[[], object]] = {
        "select": select,
        "decode": lambda: codes.decode(chosen, model.atoms.detach()),
        "forward": forward,
        "forward_and_backward": lambda: forward().total.backward(),
        "optimiser": state.optimizer.step,
    }
    return {name: median(run, max(3, size["steps"] // 5), device) for name, run in named.items()}


def agreement(state: steps.State, data: torch.Tensor, size: dict[str, int]) -> float:
    """Share of the latents that float32 selects which bfloat16 selects too."""
    model, inputs = state.model, data[: min(256, size["batch"])]
    weights = (model.encoder.detach(), model.encoder_bias.detach())
    exact = codes.top_of_sample(inputs, *weights, size["active"]).dense() != 0
    with torch.autocast(inputs.device.type, torch.bfloat16):
        rounded = codes.top_of_sample(inputs, *weights, size["active"]).dense() != 0
    return float((exact & rounded).sum() / exact.sum())


def median(run: Callable[[], object], repeats: int, device: str) -> float:
    """Median seconds of a call after two that warm up, each waited for."""
    took = []
    for number in range(repeats + 2):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        if number > 1:
            took.append(time.perf_counter() - start)
    return statistics.median(took)


if __name__ == "__main__":
    main()
