"""One training step of a TopK sparse autoencoder beside the libraries that people use, from equal weights.

Run     python benchmarks/sae.py [--dims 768 --latents 12288 --active 32 --batch 4096 --repeats 5]
Writes  benchmarks/results/sae.json
Peers   pip install sae-lens eai-sparsify   (what is not installed is named in the results and not measured)

A step is forward, loss, backward, gradient clipping and Adam. Systems take turns, so that a busy machine meets all
alike. Every system starts from the same weights and sees the same samples; the loss of the first step is compared
before anything is timed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from _record import cpu_name

from braindec._compat import ensure_torchvision

RESULTS = Path(__file__).parent / "results" / "sae.json"
PEERS = {"sae_lens": "sae-lens", "sparsify": "eai-sparsify"}


def main() -> None:
    """Checks that all start equal, times them in turns, prints a table and writes it."""
    options = parse()
    ensure_torchvision()  # before a peer imports transformers
    torch.manual_seed(0)
    inputs, weights = problem(options)
    made = {"braindec": ours(options, weights)}
    if importlib.util.find_spec("sparsify"):
        made["sparsify"] = sparsify(options, weights)
    if importlib.util.find_spec("sae_lens"):
        made["sae_lens"] = sae_lens(options, weights)
    losses = {name: step(inputs) for name, step in made.items()}
    for name, loss in losses.items():
        if abs(loss / losses["braindec"] - 1) > 1e-4:
            raise SystemExit(
                f"{name} starts at a loss of {loss}, braindec at {losses['braindec']}: not the same problem"
            )
    took: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(options.repeats):
        for name, step in made.items():
            start = time.perf_counter()
            step(inputs)
            took[name].append(time.perf_counter() - start)
    rows = [row(name, seconds, took["braindec"], losses[name]) for name, seconds in took.items()]
    for r in rows:
        print(
            f"{r['name']:12s} {r['median']:7.3f} s a step, {r['over_ours']:5.2f} times ours   "
            f"first loss {r['first_loss']:.6f}"
        )
    write(rows, options)


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"dims": 768, "latents": 12_288, "active": 32, "batch": 4096, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def problem(options: argparse.Namespace) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Samples (batch, dims) and the weights all begin with: unit atoms, the encoder as large as they are."""
    atoms = torch.nn.functional.normalize(torch.randn(options.latents, options.dims), dim=1)
    weights = {
        "atoms": atoms,
        "bias": torch.zeros(options.dims),
        "encoder_bias": torch.zeros(options.latents),
    }
    return torch.randn(options.batch, options.dims), weights


def ours(options: argparse.Namespace, weights: dict[str, torch.Tensor]) -> Callable[[torch.Tensor], float]:
    """braindec, by the same calls that `sparse.fit` makes."""
    from braindec.sparse import Config, SparseAutoencoder, losses, steps

    model = SparseAutoencoder(options.dims, Config(options.latents, "topk", options.active)).train()
    fill(model.atoms, weights["atoms"])
    fill(model.encoder, weights["atoms"])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, eps=steps.ADAM_EPS, fused=True)
    loss_config = losses.Config(aux_weight=0.0)

    def step(inputs: torch.Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        found = losses.terms(model, inputs, loss_config, variance=torch.tensor(1.0))
        found.total.backward()
        steps.orthogonal_to_atoms_(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.atoms.copy_(torch.nn.functional.normalize(model.atoms, dim=1))
        return float(found.total.detach())

    return step


def sparsify(
    options: argparse.Namespace, weights: dict[str, torch.Tensor]
) -> Callable[[torch.Tensor], float]:
    """EleutherAI's sparsify: its SparseCoder, its unit-norm decoder and projection, Adam."""
    from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(
        options.dims, SparseCoderConfig(num_latents=options.latents, k=options.active), dtype=torch.float32
    )
    fill(coder.W_dec, weights["atoms"])
    fill(coder.encoder.weight, weights["atoms"])
    optimizer = torch.optim.Adam(coder.parameters(), lr=2e-4, fused=True)

    def step(inputs: torch.Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        out = coder(inputs)
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimizer.step()
        coder.set_decoder_norm_to_unit_norm()
        spread = float((inputs - inputs.mean(0)).square().sum()) / len(inputs)
        return float(out.fvu.detach()) * spread

    return step


def sae_lens(
    options: argparse.Namespace, weights: dict[str, torch.Tensor]
) -> Callable[[torch.Tensor], float]:
    """SAELens: the forward pass of its training class, clipping and Adam, as its trainer calls them."""
    from sae_lens.saes.sae import TrainStepInput
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=options.dims, d_sae=options.latents, k=options.active))
    fill(sae.W_dec, weights["atoms"])
    fill(sae.W_enc, weights["atoms"].T)
    optimizer = torch.optim.Adam(sae.parameters(), lr=2e-4)

    def step(inputs: torch.Tensor) -> float:
        optimizer.zero_grad()
        given = TrainStepInput(
            sae_in=inputs, coefficients={}, dead_neuron_mask=None, n_training_steps=0, is_logging_step=False
        )
        out = sae.training_forward_pass(given)
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()
        return float(out.loss.detach())

    return step


def fill(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Overwrites a weight."""
    with torch.no_grad():
        parameter.copy_(value)


def row(name: str, seconds: list[float], base: list[float], loss: float) -> dict:
    """One line of the table."""
    return {
        "name": name,
        "unit": "s a step",
        "n": len(seconds),
        "median": round(statistics.median(seconds), 4),
        "range": [round(min(seconds), 4), round(max(seconds), 4)],
        "over_ours": round(statistics.median(seconds) / statistics.median(base), 2),
        "first_loss": loss,
    }


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON, with machine, versions and command."""
    absent = [pip for name, pip in PEERS.items() if not importlib.util.find_spec(name)]
    packages = ("torch", *(pip for name, pip in PEERS.items() if pip not in absent))
    record = {
        "measured": True,
        "command": f"python {' '.join(sys.argv)}",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "not_installed": absent,
        "gpu": "not measured: no GPU",
        "options": {k: v for k, v in vars(options).items() if k != "out"},
        "values": rows,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
