"""What keeps pictures of noiseless embeddings from their scenes: the embedding, the choice among draws, or the drawing.

Run     OMP_NUM_THREADS=1 python benchmarks/generator_limits.py [--small]    (no result file where small)
Writes  benchmarks/results/generator_limits.json

read      Objects that a small network names of the embedding alone, in the scenes of `generator.py`; it is trained on
          other scenes. What the embedding holds is at least this.
nearest   Cosine of a scene's embedding with that of the same scene, one object changed into another shape: the nearest
          of seven, by size. A picture whose own embedding lies nearer than that has the shape, or fools the network.
drawn     Objects that the judge names in the demo's pictures, and in the best of four by the embedding.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import cpu_name
from generator import SEED, named, pictures, share, ways_of
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from braindec.data.simulated import network, scenes
from braindec.generators import reranked
from braindec.targets import tiny_openclip

RESULT = Path(__file__).parent / "results" / "generator_limits.json"
BLUR = 0.3  # of the noise added to entries of unit variance in training, against overfitting


@dataclass(frozen=True)
class Size:
    """How much is done."""

    n_scenes: int = 200
    n_drawn: int = 50
    n_training: int = 12_000
    n_steps: int = 1000


SMALL = Size(n_scenes=12, n_drawn=4, n_training=400, n_steps=20)


def main() -> None:
    """Prints what was measured and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    size = SMALL if parser.parse_args().small else Size()
    torch.set_num_threads(1)
    target = tiny_openclip.build(tiny_openclip.Config())
    drawn = scenes.sample_scenes(size.n_scenes, np.random.default_rng(SEED))
    values = {
        "read": read(size, target, drawn),
        "nearest": nearest(target, drawn),
        "drawn": chosen(size, target, drawn),
    }
    print(json.dumps(values))
    if size is SMALL:
        return
    record = {
        "measured": True,
        "command": "OMP_NUM_THREADS=1 python benchmarks/generator_limits.py",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None, "load_average": os.getloadavg()},
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "values": values,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read(size: Size, target: Any, drawn: list[scenes.Scene]) -> dict[str, Any]:
    """Shares of objects whose factors are named rightly of the embedding alone, told at which places objects are."""
    training = scenes.sample_scenes(size.n_training, np.random.default_rng(SEED + 1))
    reader = fitted(size, embedded(target, training), network.cell_labels(training))
    labels = network.cell_labels(drawn)
    with torch.no_grad():
        said = split(reader(embedded(target, drawn)))
    there = labels["shape"] > 0
    small = there & (labels["size"] == labels["size"][there].min())
    right = {name: 1 + said[name][..., 1:].argmax(2) == labels[name] for name in said}
    return {
        **{name: share(hit[there]) for name, hit in right.items()},
        "shape of small ones": share(right["shape"][small]),
    }


def fitted(size: Size, told: Tensor, labels: dict[str, Tensor]) -> nn.Module:
    """Two hidden layers from embeddings to the factors of what is where."""
    torch.manual_seed(SEED)
    wide = network.N_CELLS * sum(network.CELL_CLASSES.values())
    reader = nn.Sequential(
        nn.Linear(told.shape[1], 384), nn.SiLU(), nn.Linear(384, 384), nn.SiLU(), nn.Linear(384, wide)
    )
    adam = torch.optim.AdamW(reader.parameters(), weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=size.n_steps)
    generator = torch.Generator().manual_seed(SEED)
    for _ in tqdm(range(size.n_steps), desc="read"):
        batch = torch.randint(len(told), (256,), generator=generator)
        noise = torch.randn(256, told.shape[1], generator=generator)
        said = split(reader(told[batch] + BLUR * noise))
        there = labels["shape"][batch] > 0
        losses = [F.cross_entropy(said[name][there], labels[name][batch][there]) for name in said]
        loss = torch.stack(losses).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        rates.step()
    return reader


def split(said: Tensor) -> dict[str, Tensor]:
    """Logits by factor: (n, place, class)."""
    parts = said.split([network.N_CELLS * c for c in network.CELL_CLASSES.values()], 1)
    return {
        name: x.unflatten(1, (network.N_CELLS, -1))
        for name, x in zip(network.CELL_CLASSES, parts, strict=True)
    }


def embedded(target: Any, drawn: list[scenes.Scene]) -> Tensor:
    """Embeddings with entries of unit variance (n, dim), a thousand pictures at a time."""
    parts = [
        target.embed_images(scenes.render_all(drawn[i : i + 1000]))[:, 0]
        for i in tqdm(range(0, len(drawn), 1000), desc="embed")
    ]
    told = F.normalize(torch.from_numpy(np.concatenate(parts)).float(), dim=1)
    return told * told.shape[1] ** 0.5


def nearest(target: Any, drawn: list[scenes.Scene]) -> dict[str, dict[str, float]]:
    """Percentiles of the cosine with the nearest scene that differs in one object's shape, by that object's size."""
    own = F.normalize(embedded(target, drawn), dim=1)
    found: dict[str, list[float]] = {name: [] for name in scenes.SIZES}
    others, which = [], []
    for i, scene in enumerate(drawn):
        for j, thing in enumerate(scene.objects):
            for shape in (s for s in scenes.SHAPES if s != thing.shape):
                changed = (*scene.objects[:j], replace(thing, shape=shape), *scene.objects[j + 1 :])
                others.append(scenes.Scene(changed, scene.background, scene.pattern))
            which.append((i, thing.size))
    alike = F.normalize(embedded(target, others), dim=1).unflatten(0, (len(which), -1))
    for (i, kind), seven in zip(which, alike, strict=True):
        found[kind].append(float((seven @ own[i]).max()))
    return {
        kind: {f"{p} %": round(float(np.percentile(values, p)), 4) for p in (5, 50, 95)} | {"n": len(values)}
        for kind, values in found.items()
        if values
    }


def chosen(size: Size, target: Any, drawn: list[scenes.Scene]) -> dict[str, dict[str, Any]]:
    """What the judge names in the first scenes, in the demo's pictures of them and in the best of four."""
    drawn = drawn[: size.n_drawn]
    shown, judge = scenes.render_all(drawn), network.load_scene_network()
    told, labels = target.embed_images(shown), network.cell_labels(drawn)
    one = ways_of(target)["the demo's"]
    best = reranked.build(reranked.Config(n_candidates=4), one, target.embed_images)
    made = {"the scenes": shown, "one": pictures(one, told), "the best of four": pictures(best, told)}
    return {name: named(judge, images, labels) for name, images in made.items()}


if __name__ == "__main__":
    main()
