"""Trains the network that drafts pictures of embeddings, behind the shipped models; resumable, a checkpoint a stage.

Run     python datasets/simulated/train_draft.py --cache CACHE [--stage scenes reader draft export]
Needs   about two hours of one core with bf16 (AVX-512), 4 GB of memory and 1 GB in CACHE
Writes  braindec/weights: draft.safetensors (fp16), draft.json; its stages in training.json, its sums in SHA256SUMS

`reader` learns to name every factor of a scene from its latents. `draft` learns latents of embeddings: their squared
error, that of the reader's features, and what the reader then names. It is not the network of the simulated brains, by
which pictures are judged. A stage that is interrupted goes on from its last checkpoint with the same draws.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _loop import Stage, fit  # type: ignore[import-not-found]  # the files beside this one
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from train_weights import (  # type: ignore[import-not-found]  # as above
    blurred,
    factor_loss,
    half,
    seconds_of,
    ship,
    write_json,
)

from braindec import weights
from braindec.data.simulated import network, rendering, scenes
from braindec.generators import embedded_unclip
from braindec.generators._draft import Draft, Residual
from braindec.targets import tiny_openclip

SEED = 4711
N_SCENES = 120_000
DRAFT = {"embedding_dim": 128, "hidden_dim": 768, "widths": [224, 128, 80], "n_channels": 6}
STAGES = {
    "reader": Stage(n_steps=2500, batch_size=96, lr=2e-3, weight_decay=0.02, ema=0.99, n_scenes=N_SCENES),
    "draft": Stage(n_steps=7000, batch_size=64, lr=2e-3, weight_decay=0.02, ema=0.998, n_scenes=N_SCENES),
}
READER_NOISE = 0.4  # largest noise of latents of unit variance that the reader is trained on
NOISE = (
    0.3  # the same where the draft is compared through it: against features that a network alone would see
)
FEATURES, NAMES = 0.5, 0.02  # weights beside the squared error of latents


class Reader(nn.Module):
    """Names the factors of scenes from their latents (n, 6, 16, 16), by maps of three sizes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 112, 144)
        self.maps = nn.ModuleList([
            nn.Sequential(nn.Conv2d(6, widths[0], 3, padding=1), Residual(widths[0])),
            nn.Sequential(nn.Conv2d(widths[0], widths[1], 3, stride=2, padding=1), Residual(widths[1])),
            nn.Sequential(nn.Conv2d(widths[1], widths[2], 3, stride=2, padding=1), Residual(widths[2]),
                          nn.GroupNorm(8, widths[2]), nn.SiLU()),
        ])  # fmt: skip
        n = network.N_CELLS * sum(network.CELL_CLASSES.values()) + sum(network.GROUND_CLASSES.values())
        self.named = nn.Sequential(nn.Linear(16 * widths[2], 256), nn.SiLU(), nn.Linear(256, n))

    def forward(self, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits of all factors as `network.SceneNetwork` gives them, and the maps."""
        found = []
        for part in self.maps:
            latents = part(latents)
            found.append(latents)
        return self.named(latents.flatten(1)), found


def make_scenes(cache: Path) -> None:
    """Latents of unit variance, unit embeddings and labels of scenes, by the shipped models."""
    drawn = scenes.sample_scenes(N_SCENES, np.random.default_rng(SEED))
    generator = embedded_unclip.build(embedded_unclip.Config())
    target = tiny_openclip.build(tiny_openclip.Config())
    latents, embeddings = [], []
    for start in tqdm(range(0, N_SCENES, 500), desc="scenes"):
        pictures = rendering.render_all(drawn[start : start + 500])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            latents.append(generator.clean(pictures).half())
        embeddings.append(F.normalize(torch.from_numpy(target.embed_images(pictures)[:, 0]).float(), dim=1))
    found = {"latents": torch.cat(latents), "embeddings": torch.cat(embeddings)}
    torch.save(found | {"labels": network.cell_labels(drawn)}, cache / "scenes.pt")


def kept(cache: Path) -> dict[str, Any]:
    """What `make_scenes` kept."""
    found: dict[str, Any] = torch.load(cache / "scenes.pt", weights_only=True)
    return found | {"latents": found["latents"].float()}


def train_reader(cache: Path) -> None:
    """The reader, on latents with noise of random strength."""
    found = kept(cache)
    torch.manual_seed(SEED)

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = found["latents"][batch] + noise(len(batch), READER_NOISE, generator)
        with torch.autocast("cpu", torch.bfloat16):
            said, _ = model(x.contiguous(memory_format=torch.channels_last))
        return {"factors": factor_loss(said, {k: v[batch] for k, v in found["labels"].items()})}

    model = channels_last(Reader())
    fit("reader", STAGES["reader"], model, loss_of, cache)
    torch.save(model.state_dict(), cache / "reader_done.pt")


def train_draft(cache: Path) -> None:
    """The draft: latents of embeddings, half of them with noise, as a reader of them sees them."""
    found = kept(cache)
    reader = Reader().requires_grad_(False).eval()
    reader.load_state_dict(torch.load(cache / "reader_done.pt", weights_only=True), strict=True)
    channels_last(reader)
    torch.manual_seed(SEED + 1)

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x, some = found["latents"][batch], noise(len(batch), NOISE, generator)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(blurred(found["embeddings"][batch], generator))
            with torch.no_grad():
                _, wanted = reader((x + some).contiguous(memory_format=torch.channels_last))
            said, seen = reader((y + some).contiguous(memory_format=torch.channels_last))
        alike = [F.mse_loss(unit(a), unit(b)) for a, b in zip(seen, wanted, strict=True)]
        labels = {k: v[batch] for k, v in found["labels"].items()}
        return {
            "latents": F.mse_loss(y.float(), x),
            "features": FEATURES * torch.stack(alike).mean(),
            "names": NAMES * factor_loss(said, labels),
        }

    model = channels_last(Draft(DRAFT))
    fit("draft", STAGES["draft"], model, loss_of, cache)
    ship("draft", half(model), cache)
    write_json(cache / "export" / "draft.json", DRAFT)


def noise(n: int, most: float, generator: torch.Generator) -> Tensor:
    """Of latents (n, 6, 16, 16), each row's of a strength of its own."""
    strength = most * torch.rand(n, 1, 1, 1, generator=generator)
    return strength * torch.randn(n, 6, 16, 16, generator=generator)


def unit(maps: Tensor) -> Tensor:
    """Maps (n, channel, height, width) of unit mean square at every place."""
    maps = maps.float()
    return maps * torch.rsqrt(maps.square().mean(1, keepdim=True) + 1e-3)


def channels_last(model: nn.Module) -> nn.Module:
    """The model with the channels last in memory."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a keyword torch's stubs lack


def export(cache: Path) -> None:
    """Copies the draft into braindec/weights, with its checksums and the record of its training."""
    record = json.loads((weights.FOLDER / "training.json").read_text())
    for name, stage in STAGES.items():
        record["stages"][name] = asdict(stage) | {"seconds": seconds_of(cache / f"{name}.pt")}
    write_json(weights.FOLDER / "training.json", record)
    sums = weights.expected_sha256()
    for name in ("draft.json", "draft.safetensors"):
        (weights.FOLDER / name).write_bytes((cache / "export" / name).read_bytes())
    for name in ("draft.json", "draft.safetensors", "training.json"):
        sums[name] = weights.sha256(weights.FOLDER / name)
    (weights.FOLDER / "SHA256SUMS").write_text("".join(f"{sums[n]}  {n}\n" for n in sorted(sums)))


TRAIN = {"scenes": make_scenes, "reader": train_reader, "draft": train_draft, "export": export}


def main() -> None:
    """Runs the asked stages in order."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cache", type=Path, required=True, help="folder of scenes and checkpoints")
    parser.add_argument("--stage", nargs="+", choices=list(TRAIN), default=list(TRAIN))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    for stage in args.stage:
        TRAIN[stage](args.cache)


if __name__ == "__main__":
    main()
