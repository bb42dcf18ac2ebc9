"""What the shipped generator's pictures hold of noiseless embeddings, and of decoded ones what these themselves hold.

Run     OMP_NUM_THREADS=1 python benchmarks/generator.py [--folder DIR] [--small]    (no result file where small)
Writes  benchmarks/results/generator.json

noiseless  Scenes of a seed used for nothing else; objects of their pictures are named by a network that is neither the
           target nor the generator's. Beside them the scenes themselves and what the autoencoder alone makes of them.
brains     The world in which settings are developed, not the demo's gallery; the demo's decoder. Readouts of the
           training embeddings name the first object, the background and its pattern: from the decoded embedding, and
           from that of the picture drawn of it. A picture limited by noise alone is right as often, and says the same.
Times are processor time: they bear other load, though not without loss.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import cpu_name
from torch.nn.functional import pixel_unshuffle

from braindec import evaluate, recipe, registry
from braindec.data import catalogue
from braindec.data.simulated import network, scenes
from braindec.decoder import BrainDecoder
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.evaluate.pictures import first
from braindec.generators import Generator, embedded_unclip, guided
from braindec.stats.intervals import wilson
from braindec.targets import differentiable, tiny_openclip

RESULT = Path(__file__).parent / "results" / "generator.json"
SEED = 991
COLUMNS = {
    "colour": "object_1_colour", "shape": "object_1_shape", "texture": "object_1_texture",
    "place": "object_1_place", "background": "background", "pattern": "pattern",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How much is done."""

    n_scenes: int = 200
    n_pictures: int = 100
    world: str = "development"
    subjects: tuple[int, ...] = (1, 5)


SMALL = Size(n_scenes=12, n_pictures=8, world="smoke")


def main() -> None:
    """Prints what was measured and, at full size, writes it with the machine, the versions and the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the simulated world is made or was made before")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = SMALL if options.small else Size()
    target = tiny_openclip.build(tiny_openclip.Config())
    ways = ways_of(target)
    with tempfile.TemporaryDirectory() as temporary:
        values = {
            "noiseless": noiseless(size, target, ways),
            "brains": brains(size, target, ways, options.folder or Path(temporary)),
        }
    print(json.dumps(values))
    if options.small:
        return
    record = {
        "measured": True,
        "command": "OMP_NUM_THREADS=1 python benchmarks/generator.py",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None, "load_average": os.getloadavg()},
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "diffusers")},
        "values": values,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def ways_of(target: Any) -> dict[str, Generator]:
    """The generators that are compared: the demo's, and what is taken from it or added to it."""
    features = differentiable(target)

    def base(**settings: Any) -> embedded_unclip.EmbeddedUnclip:
        return embedded_unclip.build(embedded_unclip.Config(guidance=1.0, batch_size=25, **settings))

    demo = recipe.load("demo").recipe
    chosen = replace(demo.generator, batch_size=25)
    return {
        "10 steps": base(n_steps=10),
        "10 steps, looking at each": guided.build(guided.Config(), base(n_steps=10), features),
        "the draft": base(draft=True, strength=0.0),
        "the demo's": guided.build(demo.settings["looks"], embedded_unclip.build(chosen), features),
    }


def noiseless(size: Size, target: Any, ways: dict[str, Generator]) -> dict[str, Any]:
    """Shares of objects that the judge names rightly, by picture."""
    drawn = scenes.sample_scenes(size.n_scenes, np.random.default_rng(SEED))
    shown = scenes.render_all(drawn)
    labels, judge = network.cell_labels(drawn), network.load_scene_network()
    embeddings = target.embed_images(shown)
    made: dict[str, Callable[[], np.ndarray]] = {
        "the scenes": lambda: shown,
        "the autoencoder's": lambda: reencoded(shown),
    }
    made |= {name: (lambda way=way: pictures(way, embeddings)) for name, way in ways.items()}
    found = {}
    for name, make in made.items():
        begun = time.process_time()
        images = make()
        spent = (time.process_time() - begun) / len(shown)
        found[name] = {
            **named(judge, images, labels),
            "cosine": round(float(cosines(target.embed_images(images), embeddings).mean()), 4),
            "pixel_correlation": round(float(np.corrcoef(images.ravel(), shown.ravel())[0, 1]), 4),
            "processor_milliseconds_a_picture": round(1000 * spent, 1),
        }
    return found


def named(judge: Any, images: np.ndarray, labels: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Shares of objects whose factors the judge names, with Wilson's interval and n; of small ones the shape."""
    names = [*network.CELL_CLASSES, *network.GROUND_CLASSES]
    widths = [network.N_CELLS * c for c in network.CELL_CLASSES.values()]
    with torch.no_grad():
        said = torch.cat([judge(network.to_input(images[i : i + 100])) for i in range(0, len(images), 100)])
    parts = dict(zip(names, said.split([*widths, *network.GROUND_CLASSES.values()], 1), strict=True))
    there = labels["shape"] > 0
    small = there & (labels["size"] == labels["size"][there].min())
    right = {
        name: parts[name].unflatten(1, (network.N_CELLS, -1)).argmax(2) == labels[name]
        for name in network.CELL_CLASSES
    }
    occupied = parts["shape"].unflatten(1, (network.N_CELLS, -1)).argmax(2) > 0
    return {
        **{name: share(hit[there]) for name, hit in right.items()},
        "shape of small ones": share(right["shape"][small]),
        "which places hold objects": share((occupied == there).all(1)),
        **{name: share(parts[name].argmax(1) == labels[name]) for name in network.GROUND_CLASSES},
    }


def brains(
    size: Size, target: Any, ways: dict[str, Generator], folder: Path
) -> dict[str, dict[str, dict[str, Any]]]:
    """By subject and picture, what is named rightly from embedding and picture, and how often both say the same."""
    decoder, part, test, embeddings, dataset = fitted(size, folder)
    attributes = evaluate.attributes_of(part, dataset, embeddings, COLUMNS)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key in test.keys:
        prediction = first(decoder.predict(test.trials[key], repeats="after"), size.n_pictures)
        shown = test.stimuli.images(prediction.ids)
        sources = {
            "decoded": decoder.image_embedding(prediction, seed=0),
            "true": embeddings.of(prediction.ids),
        }
        for source, told in sources.items():
            row = found.setdefault(f"{key}, {source} embedding", {})
            row["embedding"] = {a.name: share(read(a, told) == a.of(prediction.ids)) for a in attributes}
            for name, way in ways.items():
                images = pictures(way, told)
                again = target.embed_images(images)
                row[name] = {
                    "right": {a.name: share(read(a, again) == a.of(prediction.ids)) for a in attributes},
                    "as the embedding says": {
                        a.name: share(read(a, again) == read(a, told)) for a in attributes
                    },
                    **alike(images, shown),
                }
    return found


def fitted(size: Size, folder: Path) -> tuple[BrainDecoder, Any, Any, Any, Any]:
    """The demo's decoder, its training and test part, the true embeddings and the dataset."""
    raw, prepared = folder / f"raw-{size.world}", folder / f"prepared-{size.world}"
    if not (prepared / "dataset.json").is_file():
        dataset = catalogue.load("simulated")
        dataset["synthetic"](raw, world=size.world)
        dataset["prepare"](raw, prepared)
    chosen = recipe.load("demo").recipe
    chosen = replace(chosen, data=replace(chosen.data, subjects=size.subjects))
    data = chosen.data.read(prepared)
    embeddings = chosen.embed(data, prepared, everything=True, progress=False)
    part = evaluate.training_part(chosen, data, embeddings)
    decoder = BrainDecoder.build(chosen, data.info, embeddings.info)
    decoder.fit(part, embeddings, progress=False)
    return decoder, part, data.part("test"), embeddings, data


def pictures(way: Generator, embeddings: np.ndarray) -> np.ndarray:
    """From equal noise for every way."""
    return way.generate(embeddings, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def reencoded(shown: np.ndarray) -> np.ndarray:
    """What the autoencoder keeps of pictures."""
    module = registry.load("generators", "embedded_unclip")
    one = module.build(module.Config())
    x = torch.as_tensor(shown).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = one.autoencoder.encode(pixel_unshuffle(x, module.FOLDED)).latent_dist.mode()
    return one._decode(latents)


def read(attribute: Attribute, embeddings: np.ndarray) -> np.ndarray:
    """The likeliest class of each."""
    return attribute.read(embeddings).argmax(1)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of rows."""
    return (a * b).sum((1, 2)) / np.linalg.norm(a, axis=(1, 2)) / np.linalg.norm(b, axis=(1, 2))


def alike(made: np.ndarray, shown: np.ndarray) -> dict[str, float]:
    """Two-way identification by the correlation of pixels, and that correlation."""
    flat = [x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True) for x in (made, shown)]
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in flat)
    values = a @ b.T
    other = ~np.eye(len(values), dtype=bool)
    beaten = (np.diag(values)[:, None] > values)[other].mean()
    return {
        "two_way": round(float(beaten), 4),
        "pixel_correlation": round(float(np.diag(values).mean()), 4),
    }


def share(hits: Any) -> dict[str, Any]:
    """A share with Wilson's interval, and n."""
    hits = np.asarray(hits)
    found = wilson(int(hits.sum()), hits.size)
    return {
        "value": round(float(hits.mean()), 4),
        "interval": [round(found.low, 4), round(found.high, 4)],
        "n": hits.size,
    }


if __name__ == "__main__":
    main()
