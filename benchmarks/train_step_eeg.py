"""A training step of NICE and of ATM: the modules as published beside braindec's, from the same weights.

Run     python benchmarks/train_step_eeg.py [--batch 1024 --repeats 5]      (make bench)
        python benchmarks/train_step_eeg.py --device cuda                   (make bench-gpu; bfloat16 autocast)
Small   python benchmarks/train_step_eeg.py --small                         (seconds; no result file)
Writes  benchmarks/results/train_step_eeg.json, or train_step_eeg_gpu.json

A step is forward, contrastive loss, backward and AdamW, with dropout. Both sides start from the same weights and take
turns on the same batch. Before anything is timed, outputs and every gradient of both are compared in float64 without
dropout, and the losses of one batch in the precision that is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _record import machine
from torch import Tensor, nn

from braindec.adapters import subject_token
from braindec.backbones import _dropout, channel_transformer, temporal_spatial
from braindec.decoder import versions
from braindec.losses import clip
from braindec.types import SensorSpace, SubjectSignal

RESULTS = Path(__file__).parent / "results"
CHANNELS, TIMES, SUBJECTS = 63, 250, 10  # THINGS-EEG2 at 250 Hz
FULL = {"batch": 1024, "repeats": 5, "check": 48}
SMALL = {"batch": 8, "repeats": 1, "check": 4}
WANTED = 2.0  # times as fast
EXACT = 1e-9  # largest difference in float64, of the largest value


# The published modules, plain -------------------------------------------------------------------------------------


class Residual(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.inner(x)


def published_convolution() -> nn.Sequential:
    """(trial, 1, channel, time) to (trial, filter, 1, step); NICE's and ATM's."""
    return nn.Sequential(
        nn.Conv2d(1, 40, (1, 25)),
        nn.AvgPool2d((1, 51), (1, 5)),
        nn.BatchNorm2d(40),
        nn.ELU(),
        nn.Conv2d(40, 40, (CHANNELS, 1)),
        nn.BatchNorm2d(40),
        nn.ELU(),
        nn.Dropout(0.5),
        nn.Conv2d(40, 40, (1, 1)),
    )


def published_head(n_dims: int) -> nn.Sequential:
    """(trial, 1440) to (trial, n_dims)."""
    hidden = nn.Sequential(nn.GELU(), nn.Linear(n_dims, n_dims), nn.Dropout(0.5))
    return nn.Sequential(nn.Linear(1440, n_dims), Residual(hidden), nn.LayerNorm(n_dims))


class PublishedNice(nn.Module):
    """Song et al. 2024, arXiv:2308.13234: convolution and head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = published_convolution(), published_head(768)

    def forward(self, signal: Tensor) -> Tensor:
        """(trial, channel, time) to (trial, 768)."""
        maps = self.convolution(signal.unsqueeze(1))  # (trial, filter, 1, step)
        return self.head(maps.flatten(2).transpose(1, 2).flatten(1))


class PublishedAttention(nn.Module):
    """Query, key, value and out of 4 heads of 62."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(TIMES, 248) for _ in range(3))
        self.out, self.dropout = nn.Linear(248, TIMES), nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """(trial, row, time), the same shape."""
        heads = [part(x).unflatten(2, (4, 62)) for part in (self.query, self.key, self.value)]
        scores = torch.einsum("blhe,bshe->bhls", heads[0], heads[1])
        weights = self.dropout(torch.softmax(scores / math.sqrt(62), dim=-1))
        return self.out(torch.einsum("bhls,bshd->blhd", weights, heads[2]).flatten(2))


class PublishedAtm(nn.Module):
    """Li et al. 2024, arXiv:2403.07721: linear over time, subject token, one encoder layer, convolution and head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.tokens = nn.Linear(TIMES, TIMES), nn.Embedding(SUBJECTS, TIMES)
        self.attention = PublishedAttention()
        self.widen, self.narrow = nn.Conv1d(TIMES, 256, 1), nn.Conv1d(256, TIMES, 1)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(TIMES) for _ in range(3))
        self.dropout = nn.Dropout(0.25)
        self.convolution, self.head = published_convolution(), published_head(1024)

    def forward(self, signal: Tensor, subjects: Tensor) -> Tensor:
        """(trial, channel, time) and (trial,) to (trial, 1024)."""
        x = self.dropout(torch.cat([self.tokens(subjects).unsqueeze(1), self.embed(signal)], 1))
        x = y = self.norm_1(x + self.dropout(self.attention(x)))
        y = self.dropout(nn.functional.gelu(self.widen(y.transpose(-1, 1))))
        y = self.dropout(self.narrow(y).transpose(-1, 1))
        x = self.norm_3(self.norm_2(x + y))[:, 1:]
        maps = self.convolution(x.unsqueeze(1))
        return self.head(maps.flatten(2).transpose(1, 2).flatten(1))


# One weight of theirs, one of ours --------------------------------------------------------------------------------

CONVOLUTION = {"0": "temporal", "2": "temporal_norm", "4": "spatial", "5": "spatial_norm", "8": "mix"}
HEAD = {"0": "project", "1.inner.1": "hidden.1", "2": "norm"}
SHARED = {f"convolution.{a}.": f"tsconv.{b}." for a, b in CONVOLUTION.items()} | {
    f"head.{a}.": f"heads.heads.to_main.{b}." for a, b in HEAD.items()
}
LAYER = {
    "embed.": "embed.", "widen.": "layer.widen.", "narrow.": "layer.narrow.", "norm_1.": "layer.norm_1.",
    "norm_2.": "layer.norm_2.", "norm_3.": "layer.norm_3.", "attention.out.": "layer.attention.out.",
}  # fmt: skip


def in_our_names(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights, or gradients, of a published module by braindec's names."""
    names = SHARED | LAYER
    ours = {}
    for key, value in theirs.items():
        for old, new in names.items():
            if key.startswith(old):
                value = value.squeeze(2) if old in ("widen.", "narrow.") and value.ndim == 3 else value
                ours[new + key.removeprefix(old)] = value
    for kind in ("weight", "bias"):
        parts = [theirs.get(f"attention.{part}.{kind}") for part in ("query", "key", "value")]
        if parts[0] is not None:
            ours[f"layer.attention.query_key_value.{kind}"] = torch.cat(parts)
    return ours


class Nice(nn.Module):
    """braindec's, with the published biases."""

    def __init__(self) -> None:
        super().__init__()
        config = temporal_spatial.Config(variant="published")
        self.backbone = temporal_spatial.build((CHANNELS, TIMES), {"main": (1, 768)}, config)

    def forward(self, signal: Tensor) -> Tensor:
        """(trial, channel, time) to (trial, 768)."""
        return self.backbone(signal)["main"]


class Atm(nn.Module):
    """braindec's adapter and backbone of one subject, with the published biases."""

    def __init__(self) -> None:
        super().__init__()
        names = tuple(f"E{i}" for i in range(CHANNELS))
        space = SensorSpace(names, torch.zeros(CHANNELS, 3).numpy(), ("eeg",) * CHANNELS)
        signal = SubjectSignal(1, "eeg", (CHANNELS, TIMES), space, sfreq=250.0, tmin=0.0)
        self.adapter = subject_token.build(signal, subject_token.Config())
        config = channel_transformer.Config(variant="published")
        self.backbone = channel_transformer.build(self.adapter.shared_shape, {"main": (1, 1024)}, config)

    def forward(self, signal: Tensor) -> Tensor:
        """(trial, channel, time) to (trial, 1024)."""
        return self.backbone(self.adapter(signal))["main"]


class Pair:
    """A published module and ours with its weights."""

    def __init__(self, name: str):
        self.name = name
        self.theirs: nn.Module = PublishedNice() if name == "nice" else PublishedAtm()
        self.ours: nn.Module = Nice() if name == "nice" else Atm()
        self.ours.backbone.load_state_dict(in_our_names(self.theirs.state_dict()), strict=True)
        if name == "atm":
            self.ours.adapter.token.data.copy_(self.theirs.tokens.weight[0])

    def forward(self, side: str, signal: Tensor) -> Tensor:
        """Embeddings (trial, dim) of one side."""
        if side == "ours":
            return self.ours(signal).squeeze(1)
        if self.name == "nice":
            return self.theirs(signal)
        return self.theirs(signal, torch.zeros(len(signal), dtype=torch.long, device=signal.device))

    def gradients(self, side: str) -> dict[str, Tensor]:
        """Gradients of one side by our names."""
        if side == "ours":
            found = {name: p.grad for name, p in self.ours.backbone.named_parameters()}
            return found | ({"token": self.ours.adapter.token.grad} if self.name == "atm" else {})
        found = in_our_names({name: p.grad for name, p in self.theirs.named_parameters()})
        return found | ({"token": self.theirs.tokens.weight.grad[0]} if self.name == "atm" else {})


# Measuring --------------------------------------------------------------------------------------------------------


def difference(pair: Pair, n_trials: int, device: str) -> dict[str, float]:
    """Largest relative difference of outputs, and of gradients, in float64 without dropout."""
    pair = copy.deepcopy(pair)
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(n_trials, CHANNELS, TIMES, generator=generator, dtype=torch.float64).to(device)
    outputs, gradients = [], []
    for side, module in (("theirs", pair.theirs), ("ours", pair.ours)):
        module.to(device).double().train()
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
            if isinstance(part, _dropout.Dropout):
                part.share = 0.0
        made = pair.forward(side, signal)
        weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        (made * weights.to(device)).sum().backward()
        outputs.append(made.detach())
        gradients.append(pair.gradients(side))
    largest = max(float(g.abs().max()) for g in gradients[0].values())
    # A bias before a norm has no gradient but rounding: that is compared with the largest of the others.
    inert = pair.ours.backbone.inert
    worst = max(
        float((gradients[1][name] - g).abs().max()) / (largest if name in inert else float(g.abs().max()))
        for name, g in gradients[0].items()
    )
    output = float((outputs[1] - outputs[0]).abs().max() / outputs[0].abs().max())
    return {"output": output, "worst_gradient": worst, "gradients_compared": len(gradients[0])}


def stepper(pair: Pair, side: str, signal: Tensor, target: Tensor, device: str) -> Callable[[], float]:
    """One training step of one side; returns the loss."""
    module = (pair.ours if side == "ours" else pair.theirs).to(device).train()
    # What a user of each gets: torch's plain AdamW, and what braindec.train takes.
    extra = {"fused": True} if side == "ours" else {}
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-4, **extra)
    labels = torch.arange(len(signal), device=device)
    ours = clip.build(clip.Config()).to(device)

    def loss_of(made: Tensor) -> Tensor:
        if side == "ours":
            return ours(made.unsqueeze(1), target.unsqueeze(1), labels, 0.0, None)
        made, true = made / made.norm(dim=1, keepdim=True), target / target.norm(dim=1, keepdim=True)
        logits = made @ true.t() / 0.07
        cross_entropy = nn.functional.cross_entropy
        return (cross_entropy(logits, labels) + cross_entropy(logits.t(), labels)) / 2

    def step() -> float:
        optimizer.zero_grad()
        with precision(device):
            loss = loss_of(pair.forward(side, signal))
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def precision(device: str) -> contextlib.AbstractContextManager:
    """bfloat16 autocast on a GPU, float32 elsewhere."""
    if device == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def first_losses(pair: Pair, steps: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Losses of both sides before any step, without dropout; nothing is changed."""
    losses = {}
    for side, module in (("theirs", pair.theirs), ("ours", pair.ours)):
        kept = copy.deepcopy(module.state_dict())
        drops = [part for part in module.modules() if isinstance(part, nn.Dropout | _dropout.Dropout)]
        for part in drops:
            part.eval()
        losses[side] = steps[side]()
        module.load_state_dict(kept)
        module.train()
    return losses


def measured(name: str, size: dict[str, int], device: str) -> dict[str, object]:
    """Equality and seconds a step of one system."""
    torch.manual_seed(0)
    pair = Pair(name)
    exact = difference(pair, size["check"], device)
    if max(exact["output"], exact["worst_gradient"]) > EXACT:
        raise SystemExit(f"{name}: ours and the published are not the same function: {exact}")
    signal = torch.randn(size["batch"], CHANNELS, TIMES).to(device)
    target = torch.randn(size["batch"], 768 if name == "nice" else 1024).to(device)
    steps = {side: stepper(pair, side, signal, target, device) for side in ("theirs", "ours")}
    losses = first_losses(pair, steps)
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    peaks = {}
    for turn in range(size["repeats"] + 1):
        for side, step in steps.items():
            took, peak = timed(step, device)
            if turn > 0:  # the first is a warm-up
                seconds[side].append(took)
                peaks[side] = peak
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    return {
        "system": name,
        "equality_float64": exact,
        "first_loss": losses,
        "unit": "s a step",
        "n": size["repeats"],
        "median": medians,
        "range": {side: [min(v), max(v)] for side, v in seconds.items()},
        "ratio": medians["theirs"] / medians["ours"],
        "peak_GiB": peaks if device == "cuda" else None,
    }


def timed(step: Callable[[], float], device: str) -> tuple[float, float]:
    """Seconds a step, and peak GiB on a GPU; there the mean of ten, because one is over too soon."""
    if device == "cpu":
        start = time.perf_counter()
        step()
        return time.perf_counter() - start, 0.0
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / 10, torch.cuda.max_memory_allocated() / 2**30


def main() -> None:
    """Prints a line a system and, at full size, writes them with the machine, the versions and the command."""
    options = parse()
    size = dict(SMALL if options.small else FULL)
    size |= {key: value for key in size if (value := getattr(options, key)) is not None}
    if options.device == "cuda" and not torch.cuda.is_available():
        record: dict[str, object] = {"measured": "not measured: no GPU"}
    else:
        rows = [measured(name, size, options.device) for name in options.systems]
        record = {"measured": True, "wanted_ratio": WANTED, "size": size, "values": rows}
    for row in record.get("values", []):  # type: ignore[attr-defined]  # rows as above
        print(
            f"{row['system']}: {row['median']['theirs']:.4f} s published, {row['median']['ours']:.4f} s ours, "
            f"ratio {row['ratio']:.2f}"
        )
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    record |= {"machine": machine(options.device), "versions": versions(), "command": command}
    print(json.dumps(record))
    if not options.small:
        suffix = "_gpu" if options.device == "cuda" else ""
        out = options.out or RESULTS / f"train_step_eeg{suffix}.json"
        out.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--systems", nargs="+", choices=("nice", "atm"), default=("nice", "atm"))
    for name in FULL:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
