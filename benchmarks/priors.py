"""Priors beside ground-truth embeddings: a flow of 4 steps, a diffusion of 20, ridge, and what shuffled pairs give.

Run  OMP_NUM_THREADS=1 python benchmarks/priors.py        (about three minutes of one core; --small: a smaller world)

Simulated subjects: the decoder of the demo is fitted once to the world in which settings are developed, and each prior
is trained on its out-of-fold predictions as `BrainDecoder.fit` does it, several times from other seeds; draws for test
stimuli stand beside their true embeddings. Mixtures: brains = images + noise, images from twelve clusters, whose
posterior is no Gaussian. The difference flow - diffusion is paired over stimuli, seeds averaged; `over_runs` is the
t-interval over (world, seed). Shuffled: a flow trained on permuted pairs. Clusters: two-way identification
within clusters that a prior was trained without, beside as many stimuli left out of all clusters.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _record import cpu_name
from torch import Tensor

from braindec import evaluate, recipe, seeding, train
from braindec.data import catalogue
from braindec.decoder import BrainDecoder, learning
from braindec.decoder.cross_fit import CrossFit
from braindec.decoder.prior_fit import fit_prior
from braindec.decoder.settings import build_prior
from braindec.evaluate.prior_clusters import held_out_clusters
from braindec.evaluate.prior_measures import Drawn, measures, rank_of_means, spread_over_error
from braindec.evaluate.prior_quality import draws_of
from braindec.priors import diffusion, flow, ridge
from braindec.stats.intervals import t_interval
from braindec.stats.paired import paired_difference

N_SAMPLES = 19  # their two outermost bound an interval of 90 %
COMPARED = ("energy_score", "embedding_error", "draw_error", "two_way", "top1")
TOLD = ("diversity", "coverage_random", "coverage_principal")


class Sizes:
    """How much is done."""

    def __init__(self, small: bool):
        self.world = "smoke" if small else "development"
        self.subjects = (1, 5) if small else (1, 2, 3, 5)
        self.n_seeds, self.n_mixtures = (2, 2) if small else (2, 3)
        self.n_rows = 20 if small else 60
        self.n_pairs = 300 if small else 2000
        self.steps = train.Config(
            n_steps=20 if small else 200,
            batch_size=256,
            lr=1e-3,
            validate_every=10 if small else 100,
            device="cpu",
        )
        self.width = 16 if small else 96
        self.n_clusters = 2 if small else 3

    def priors(self) -> dict[str, object]:
        """Settings by name."""
        return {
            "flow": flow.Config(width=self.width),
            "diffusion": diffusion.Config(width=self.width),
            "ridge": ridge.Config(),
        }

    def variants(self) -> dict[str, object]:
        """What is told beside them, from one seed."""
        return {
            "flow from pure noise": flow.Config(width=self.width, start="noise"),
            "diffusion, DPM-solver of 4 steps": diffusion.Config(
                width=self.width, sampler="dpm", n_sample_steps=4
            ),
        }


Runs = dict[str, dict[str, list[Drawn]]]  # system -> world or subject -> draws of each seed


def main() -> None:
    """Measures, and writes results/priors.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the simulated world is made or was made before")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "priors.json")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    given = parser.parse_args()
    started, sizes = time.time(), Sizes(given.small)
    runs: Runs = {}
    with tempfile.TemporaryDirectory() as temporary:
        draws = itertools.chain(mixtures(sizes), simulated(sizes, given.folder or Path(temporary)))
        for name, key, drawn in draws:
            runs.setdefault(name, {}).setdefault(key, []).append(drawn)
            print(f"{name} {key}: {time.time() - started:.0f} s", file=sys.stderr)
    values = [
        row
        for name, worlds in runs.items()
        for key, found in worlds.items()
        for row in told(name, key, found)
    ]
    values += [*differences(runs), *clusters(sizes)]
    record = {
        "measured": True,
        "note": given.note,
        "command": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python {' '.join(sys.argv)}",
        "seconds": round(time.time() - started),
        "load_average": os.getloadavg(),
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None,
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("braindec", "torch", "numpy", "diffusers")},
        "n_samples": N_SAMPLES,
        "steps of training": sizes.steps.n_steps,
        "values": values,
    }
    given.out.write_text(json.dumps(record, indent=1) + "\n")


def simulated(sizes: Sizes, folder: Path) -> Iterator[tuple[str, str, Drawn]]:
    """(system, subject, draws) of every prior and seed."""
    decoder, fitted, test, embeddings = fitted_decoder(sizes, folder)

    def ask(config: object, seed: int, known: CrossFit) -> dict[str, Drawn]:
        new = copy.deepcopy(decoder)
        new.settings = replace(new.settings, prior=config, seed=seed, prior_train=sizes.steps)
        new.prior = build_prior(new.settings, new.outputs)
        learning.train_prior_(new, known, None, False, about="")
        return draws_of(new.eval(), test, embeddings, n_samples=N_SAMPLES, most=sizes.n_rows, seed=seed)

    for seed in range(sizes.n_seeds):
        for name, config in sizes.priors().items():
            if seed == 0 or name != "ridge":
                yield from ((name, key, drawn) for key, drawn in ask(config, seed, fitted).items())
    for name, config in sizes.variants().items():
        yield from ((name, key, drawn) for key, drawn in ask(config, 0, fitted).items())
    found = ask(sizes.priors()["flow"], 0, shuffled(fitted))
    yield from (("flow, shuffled pairs", key, drawn) for key, drawn in found.items())


def fitted_decoder(sizes: Sizes, folder: Path) -> tuple[BrainDecoder, CrossFit, object, object]:
    """The demo's decoder without its prior, its out-of-fold predictions, the test part and the true embeddings."""
    raw, prepared = folder / f"raw-{sizes.world}", folder / f"prepared-{sizes.world}"
    if not (prepared / "dataset.json").is_file():
        dataset = catalogue.load("simulated")
        dataset["synthetic"](raw, world=sizes.world)
        dataset["prepare"](raw, prepared)
    chosen = recipe.load("demo").recipe
    chosen = replace(chosen, data=replace(chosen.data, subjects=sizes.subjects), prior=ridge.Config())
    data = chosen.data.read(prepared)
    embeddings = chosen.embed(data, prepared, everything=True, progress=False)
    caught: list[CrossFit] = []
    decoder = BrainDecoder.build(chosen, data.info, embeddings.info)
    with patch.object(learning, "train_prior_", lambda one, fitted, *others: caught.append(fitted)):
        decoder.fit(evaluate.training_part(chosen, data, embeddings), embeddings, progress=False)
    return decoder, caught[0], data.part("test"), embeddings


def shuffled(fitted: CrossFit) -> CrossFit:
    """Predictions beside the truths of other stimuli, whole stimuli dealt anew."""
    out = {}
    for key, (raw, truth, mean) in fitted.held_out.items():
        images, own = truth.flatten(1).unique(dim=0, return_inverse=True)
        dealt = torch.randperm(len(images), generator=seeding.torch_generator(0, "shuffled", key))
        out[key] = (raw, images[dealt][own].reshape(truth.shape), mean)
    return CrossFit(fitted.log, out)


def mixtures(sizes: Sizes) -> Iterator[tuple[str, str, Drawn]]:
    """(system, world, draws) in worlds of clusters."""
    for number in range(sizes.n_mixtures):
        brain, image = mixture(number, sizes.n_pairs + sizes.n_rows)
        known, new = slice(0, sizes.n_pairs), slice(sizes.n_pairs, None)
        ids = tuple(map(str, range(sizes.n_rows)))
        for name, config in sizes.priors().items():
            draw = drawn_by(config, brain[known], image[known], number, sizes)
            samples = draw(brain[new], N_SAMPLES).numpy()
            yield name, f"mixture {number}", Drawn(ids, samples, image[new].numpy(), image[known].numpy())


def mixture(
    number: int, n: int, n_dims: int = 24, n_clusters: int = 12, noise: float = 2.0
) -> tuple[Tensor, Tensor]:
    """(brains, images), (n, 1, n_dims): images lie about twelve centres, and brains often leave open about which."""
    draw = seeding.torch_generator(number, "mixture")
    centre = torch.randn(n_clusters, n_dims, generator=draw)
    image = centre[torch.randint(n_clusters, (n,), generator=draw)] + 0.3 * torch.randn(
        n, n_dims, generator=draw
    )
    return (image + noise * torch.randn(n, n_dims, generator=draw))[:, None], image[:, None]


def drawn_by(
    config: object, brain: Tensor, image: Tensor, seed: int, sizes: Sizes
) -> Callable[[Tensor, int], Tensor]:
    """Draws of a prior trained on these pairs."""
    module = {flow.Config: flow, diffusion.Config: diffusion, ridge.Config: ridge}[type(config)]
    with seeding.seeded(seed, "prior"):
        prior = module.build(tuple(image.shape[1:]), config)
    fit_prior(prior, brain, image, sizes.steps, seed, None, False)
    prior.eval()
    return lambda asked, n: prior.sample(asked, generator=seeding.torch_generator(seed, "draw"), n_samples=n)


def told(name: str, key: str, found: list[Drawn]) -> Iterator[dict]:
    """Mean over seeds of each measure, with the range of seeds."""
    each = [measures(drawn) for drawn in found]
    rows = {m: [float(one[m].mean()) for one in each] for m in (*COMPARED, *TOLD)}
    rows["spread_over_error"] = [spread_over_error(one) for one in each]
    rows["effective_rank"] = [rank_of_means(drawn)[0] for drawn in found]
    rows["effective_rank_of_truths"] = [rank_of_means(found[0])[1]]
    for measure, values in rows.items():
        yield {
            "system": name, "world": key, "measure": measure, "value": float(np.mean(values)), "n_seeds": len(values),
            "range": [min(values), max(values)], "n": len(found[0].ids),
        }  # fmt: skip


def differences(runs: Runs) -> Iterator[dict]:
    """Flow at 4 steps minus diffusion at 20 on the same stimuli; for errors and energy score, below zero is better."""
    for measure in COMPARED:
        means = []
        for key, found in runs["flow"].items():
            first, second = (
                np.mean([measures(d)[measure] for d in runs[name][key]], axis=0)
                for name in ("flow", "diffusion")
            )
            paired = paired_difference(first, second, np.random.default_rng(0))
            yield row_of(measure, key, paired.value, paired.interval, paired.n) | {"p": paired.p}
            means += [
                float((measures(a)[measure] - measures(b)[measure]).mean())
                for a, b in zip(found, runs["diffusion"][key], strict=True)
            ]
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
        around = t_interval(float(np.mean(means)), error, len(means), 0.95)
        yield row_of(measure, "over_runs", float(np.mean(means)), around, len(means))


def row_of(measure: str, key: str, value: float, interval: object, n: int) -> dict:
    """A difference as JSON."""
    return {
        "system": "flow (4 steps) - diffusion (20 steps)", "world": key, "measure": measure, "value": value,
        "interval": [float(interval.low), float(interval.high)], "n": n,
    }  # fmt: skip


def clusters(sizes: Sizes) -> Iterator[dict]:
    """Clusters that a prior never saw, in the first mixture world."""
    brain, image = mixture(0, sizes.n_pairs // 3)
    short = copy.copy(sizes)
    short.steps = replace(sizes.steps, n_steps=max(1, sizes.steps.n_steps // 4))
    for name in ("flow", "ridge"):
        config = sizes.priors()[name]

        def fit(rows: Tensor, config: object = config) -> Callable[[Tensor], Tensor]:
            draw = drawn_by(config, brain[rows], image[rows], 0, short)
            return lambda asked: draw(asked, 8).mean(0)

        found = held_out_clusters(fit, brain, image, n_clusters=sizes.n_clusters)
        low, high = found.difference.interval.low, found.difference.interval.high
        yield {
            "system": name, "world": "mixture 0, clusters left out", "measure": "two_way_within_cluster",
            "unseen": float(found.unseen.mean()), "seen": float(found.seen.mean()), "value": found.difference.value,
            "interval": [float(low), float(high)], "n": found.difference.n,
        }  # fmt: skip


if __name__ == "__main__":
    main()
