"""A training step of MindEye2 at its published shapes on a GPU, published form and braindec's, from equal weights.

Run     python benchmarks/train_step_gpu.py [--blurry] [--compile]    (make bench-gpu)
Small   python benchmarks/train_step_gpu.py --small                   (any machine; no result file)
Needs   a GPU of 80 GB, 32 GB of memory
Writes  benchmarks/results/train_step_gpu.json

Voxels of eight subjects, 4,096 hidden values, 256 x 1664 tokens, 42 // 8 trials a subject (the published code divides
its batch of 42 by the subjects), SoftCLIP on projected tokens, 30 times the diffusion prior's error (6 blocks, 32
heads), AdamW, bfloat16 autocast. `--blurry` adds the head of blurry latents, the same module in both.

The published form is written out plainly: a loop over subjects, mixer blocks that reach nothing, attention and norms
operation by operation, all tokens of the prior to its end, torch's default optimiser. Ours takes the calls of
`BrainDecoder.fit`. Losses of the first step are compared before anything is timed. What the published run does beside
it, embedding its images with OpenCLIP bigG in every step, is timed alone (a tower of that size with random weights),
beside reading the same batch from a cache of embeddings. `of_matmul_peak` is the arithmetic that the losses need, over
the seconds and the speed of a large bfloat16 product on the same device.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from train_step_parts.encoder import NSD_VOXELS, Published, copy_, decay_groups
from train_step_parts.prior import PlainPrior, Tower

from braindec import seeding, train
from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.decoder import rows, versions
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import Loss, Mix, l1, soft_clip
from braindec.priors import diffusion
from braindec.targets import _cache
from braindec.types import ArraySpace, Embeddings, SignalInfo, SubjectSignal

RESULT = Path(__file__).parent / "results" / "train_step_gpu.json"
FULL = {"voxels": NSD_VOXELS, "hidden": 4096, "tokens": 256, "dims": 1664, "batch": 42, "width": 1664, "depth": 6,
        "heads": 32, "side": 28, "steps": 20, "product": 8192, "cached": 256,
        "tower": {"layers": 48, "heads": 16, "hidden": 8192, "side": 224, "patch": 14}}  # fmt: skip
SMALL = {"voxels": (60, 50), "hidden": 16, "tokens": 4, "dims": 8, "batch": 9, "width": 16, "depth": 2,
         "heads": 2, "side": 8, "steps": 2, "product": 256, "cached": 16,
         "tower": {"layers": 2, "heads": 2, "hidden": 16, "side": 28, "patch": 14}}  # fmt: skip
DECAY, RATE = 1e-2, 3e-4
WANTED, PROGRESS, PRIOR_WEIGHT, BLURRY_WEIGHT = 2.0, 0.9, 30.0, 0.5
LOSSES_OFF = 0.02  # bfloat16 keeps 8 bits, and the contrast divides similarities by a temperature of 0.007

Step = Callable[[Mapping, int], float]


def main() -> None:
    """Prints a line and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag in ("--small", "--blurry", "--compile"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    size = {**(SMALL if options.small else FULL), "blurry": options.blurry, "compile": options.compile}
    found: dict[str, object] = {"measured": "not measured: no GPU"}
    if options.small or torch.cuda.is_available():
        found = {"measured": True, **measured(size, "cuda" if torch.cuda.is_available() else "cpu")}
    print(json.dumps(found))
    out = options.out or (None if options.small else RESULT)
    if out is not None:
        record = {"command": " ".join(["python", *sys.argv]), "size": size, "wanted": WANTED,
                  "versions": versions(), **found}  # fmt: skip
        out.write_text(json.dumps(record, indent=1) + "\n")


def measured(size: dict, device: str) -> dict[str, object]:
    """Both systems one after the other (they do not fit beside each other), the peak, and the embedding's price."""
    with seeding.seeded(0, "benchmark"):
        ours, theirs = built(size)
    peak = matmul_speed(size, device)
    values, first = [], {}
    for name, module, made in (("braindec", ours, our_step), ("published", theirs, their_step)):
        first[name], row = alone(module, made, size, device)
        values.append({"name": name, "unit": "s a step", **row})
    off = abs(first["braindec"] / first["published"] - 1)
    if off > LOSSES_OFF:
        raise SystemExit(f"losses of the first step differ: {first}")
    for row in values:
        row["over_ours"] = row["median"] / values[0]["median"]
        row["of_matmul_peak"] = operations(size) / row["median"] / peak
    return {"values": values, "first_losses": first, "losses_off": off, "matmul_tflops": peak / 1e12,
            "operations": operations(size), "embedding": embedding(size, device)}  # fmt: skip


def alone(
    module: nn.Module, made: Callable[[Any, dict], Step], size: dict, device: str
) -> tuple[float, dict[str, Any]]:
    """The first loss of a system and what its steps take, with nothing else on the device."""
    module.to(device)
    step, batch = made(module, size), drawn(size, device)
    first = step(batch, 0)
    found = timed(lambda number: step(batch, number), size, device)
    module.zero_grad(set_to_none=True)
    module.to("cpu")
    return first, found


def timed(step: Callable[[int], object], size: dict, device: str) -> dict[str, Any]:
    """Median and range of the seconds of a step, each waited for, and the most memory held."""
    for number in range(1, 4):
        step(number)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    took = []
    for number in range(size["steps"]):
        wait(device)
        start = time.perf_counter()
        step(4 + number)
        wait(device)
        took.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return {
        "n": len(took),
        "median": statistics.median(took),
        "range": [min(took), max(took)],
        "peak_GiB": memory,
    }


# The two systems --------------------------------------------------------------------------------------------------


class PriorLoss(Loss):
    """The error of a diffusion prior that is trained with the encoder, as MindEye2 trains it."""

    generator: torch.Generator

    def __init__(self, prior: diffusion.DiffusionPrior):
        super().__init__()
        self.prior = prior

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> None:
        """Nothing is mixed."""

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        return self.prior.objective(prediction, target, self.generator)


class Plain(nn.Module):
    """The published encoder and prior, and the blurry head where there is one."""

    def __init__(self, size: dict, blurry: nn.Module | None):
        super().__init__()
        self.encoder = Published(size)
        self.prior = PlainPrior((size["tokens"], size["dims"]), size["width"], size["depth"], size["heads"])
        self.blurry = blurry


def built(size: dict) -> tuple[Trainee, Plain]:
    """Both, with equal weights."""
    signals = [SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(size["voxels"])]
    info, shape = SignalInfo({s.key: s for s in signals}), (size["tokens"], size["dims"])
    outputs = {"tokens": shape, "clip": shape} | ({"blur": (4, size["side"] ** 2)} if size["blurry"] else {})
    config = mixer.Config("published", dropout=0.0, projected=(("clip", "tokens"),), latent_dropout=0.0,
                          latents="blur" if size["blurry"] else None)  # fmt: skip
    encoder = Encoder.build(info, outputs, linear.Config(size["hidden"]), config, 0)
    prior = diffusion.build(shape, diffusion.Config(
        "mindeye2", size["width"], size["depth"], size["heads"], condition_dropout=0.2, image_dropout=0.2,
        standardise=False))  # fmt: skip
    losses: dict[str, Loss] = {"tokens": PriorLoss(prior), "clip": soft_clip.build(soft_clip.Config())}
    weights = {"tokens": PRIOR_WEIGHT, "clip": 1.0}
    if size["blurry"]:
        losses["blur"], weights["blur"] = l1.build(l1.Config()), BLURRY_WEIGHT
    plain = Plain(size, copy.deepcopy(encoder.backbone.blurry))
    copy_(encoder, plain.encoder)
    plain.prior.load_state_dict(prior.network.state_dict())
    return Trainee(encoder, losses, weights).train(), plain.train()


def our_step(trainee: Trainee, size: dict) -> Step:
    """The calls of `BrainDecoder.fit`."""
    optimizer = train.optimizer_of(trainee, train.Config(lr=RATE, weight_decay=DECAY))
    told = next(loss for loss in trainee.losses.values() if isinstance(loss, PriorLoss))
    if size["compile"]:
        trainee.encoder.backbone.compile()
        told.prior.network.compile()

    def step(batch: Mapping, number: int) -> float:
        device = batch["ids"].device
        told.generator = torch.Generator(device).manual_seed(number)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            losses = objective(trainee, batch, PROGRESS, told.generator)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(total.detach()) if number == 0 else 0.0

    return step


def their_step(plain: Plain, size: dict) -> Step:
    """The published step, in its order."""
    optimizer = torch.optim.AdamW(decay_groups(plain, DECAY), lr=RATE)
    temperature = soft_clip.build(soft_clip.Config()).temperature(PROGRESS)
    alphas = diffusion.cosine_alphas_cumprod(100).float()

    def step(batch: Mapping, number: int) -> float:
        device = batch["ids"].device
        generator = torch.Generator(device).manual_seed(number)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            optimizer.zero_grad()
            x = plain.encoder.mixed([batch[f"signals/{key}"] for key in batch["keys"]])
            tokens, projected = plain.encoder.read(x)
            target = torch.cat([batch[f"clip/{key}"] for key in batch["keys"]])
            loss = PRIOR_WEIGHT * plain.prior.loss(tokens, target, alphas.to(device), generator)
            a = functional.normalize(projected.flatten(1), dim=-1)
            b = functional.normalize(target.flatten(1), dim=-1)
            soft, logits = (b @ b.T / temperature).softmax(-1), a @ b.T / temperature
            rows_, columns = logits.log_softmax(-1), logits.T.log_softmax(-1)
            loss = loss - ((rows_ * soft).sum(-1).mean() + (columns * soft).sum(-1).mean()) / 2
            if plain.blurry is not None:
                latents = torch.cat([batch[f"blur/{key}"] for key in batch["keys"]])
                loss = loss + BLURRY_WEIGHT * functional.l1_loss(plain.blurry(x.flatten(1))["blur"], latents)
        loss.backward()
        optimizer.step()
        return float(loss.detach()) if number == 0 else 0.0

    return step


def drawn(size: dict, device: str) -> dict:
    """A batch of noise, equal numbers of trials from every subject."""
    made = torch.Generator().manual_seed(1)
    keys = [f"sub-{i + 1:02d}_fmri" for i in range(len(size["voxels"]))]
    n = size["batch"] // len(keys)
    batch: dict = {"keys": keys, "ids": torch.arange(n * len(keys), device=device)}
    for number, (key, voxels) in enumerate(zip(keys, size["voxels"], strict=True)):
        batch[f"signals/{key}"] = torch.randn(n, voxels, generator=made).to(device)
        batch[f"stimuli/{key}"] = (torch.arange(n) + number * n).to(device)
        target = torch.randn(n, size["tokens"], size["dims"], generator=made).to(device)
        batch[f"tokens/{key}"] = batch[f"clip/{key}"] = target
        batch[f"blur/{key}"] = torch.randn(n, 4, size["side"] ** 2, generator=made).to(device)
    return batch


# What it takes ----------------------------------------------------------------------------------------------------


def operations(size: dict) -> float:
    """Floating-point operations that a step's losses and gradients need: nothing for what reaches no loss."""
    n, tokens, dims, width = (
        size["batch"] // len(size["voxels"]) * len(size["voxels"]), size["tokens"], size["dims"], size["width"],
    )  # fmt: skip
    signals = sum(size["voxels"]) * size["hidden"] * (n // len(size["voxels"]))
    encoder = n * size["hidden"] * tokens * dims + 3 * n * tokens * dims**2
    every, read = (
        2 * tokens + 1,
        tokens,
    )  # of the prior's tokens; its last block answers for those that are read
    one, head = width * dims, width // size["heads"]
    prior = 0.0
    for last in [False] * (size["depth"] - 1) + [True]:
        asked = read if last else every
        prior += every * dims * 2 * head + asked * (2 * one + 12 * dims**2) + 2 * asked * (every + 1) * width
    prior = n * (prior + read * dims**2)
    # Forward, and backward to inputs and weights; voxels need no gradient.
    return 2.0 * (2 * signals + 3 * (encoder + prior))


def matmul_speed(size: dict, device: str) -> float:
    """Operations a second of a large square bfloat16 product."""
    a = torch.randn(size["product"], size["product"], device=device, dtype=torch.bfloat16)
    found = timed(lambda _: a @ a, size, device)
    return 2 * size["product"] ** 3 / found["median"]


@torch.no_grad()
def embedding(size: dict, device: str) -> dict[str, object]:
    """Seconds to embed a batch of images by a tower of bigG's size, and to read it from the cache of embeddings."""
    n = size["batch"]
    tower = Tower(size["dims"], **size["tower"]).to(device, torch.bfloat16).eval()
    images = torch.randn(
        n, 3, size["tower"]["side"], size["tower"]["side"], device=device, dtype=torch.bfloat16
    )
    embedded = timed(lambda _: tower(images), size, device)
    draw = np.random.default_rng(0)
    ids = [str(i) for i in range(size["cached"])]
    shape = (size["tokens"], size["dims"])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        about = {"space": "noise", "identity": {}, "provenance": "0" * 64}
        made = lambda some: draw.standard_normal((len(some), *shape), np.float32).astype(np.float16)  # noqa: E731
        kept = _cache.kept(folder / "noise.h5", ids, made, about, text="", progress=False)
        cached = rows.of_embeddings(Embeddings(tuple(ids), kept.rows("values"), "noise", {}, "0" * 64), ids)
        chosen = [torch.from_numpy(draw.permutation(len(ids))[:n]) for _ in range(4)]
        read = timed(lambda i: cached[chosen[i % 4]].to(device), size, device)
    return {
        "trials": n, "by_tower": embedded, "from_cache": read,
        "ratio": embedded["median"] / read["median"],
    }  # fmt: skip


def wait(device: str) -> None:
    """For all that was asked of the device."""
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
