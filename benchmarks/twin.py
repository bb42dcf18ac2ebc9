"""Whether a twin's band holds the score of a recording, and what leaks lie above it.

Run  OMP_NUM_THREADS=1 BRAINDEC_REAL_DATA=DIR python benchmarks/twin.py [worlds] [leaks] [real] [subjects]

worlds  20 simulated recordings that are not made by the twin's model (noise that is smooth, shared, drifting and
        heavy-tailed, signal in few features, part of it nonlinear, gain that differs between runs). The twin is fitted
        to one recording; its band must hold that recording's score and that of a second recording of the same brain.
leaks   10 recordings whose folds leak: a picture in training and test under two names (4), one trial under two names
        (2), classes in blocks that lie on both sides of interleaved "runs" (4). Their scores must lie above the band.
real    the recipes on three real recordings with their own decoders, 20 copies each.
subjects  populations of simulated people, everyone recorded and decoded by nearest class mean. Pilots of few of them
        say how many a group interval above chance, or of +-0.03, needs; 200 studies of that size are drawn.

A part that is not asked for keeps its numbers in results/twin.json.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import cpu_name
from scipy import stats

from braindec import recipe
from braindec.data import NeuralDataset, Split, catalogue
from braindec.data.preprocessing import Standardise
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.evaluate.twin import folds_of, twin
from braindec.evaluate.twin_copies import scores
from braindec.evaluate.twin_result import Settings, TwinResult
from braindec.stats import sample_size
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

RESULT = Path(__file__).parent / "results" / "twin.json"
REAL = {
    "haxby2001_category": ("haxby2001", "fmri_haxby2001_slice"),
    "digits69_reconstruct": ("digits69", "fmri_digits69"),
    "faces_houses_eeg": ("faces_houses_eeg", "eeg_faces_houses"),
}


@dataclass(frozen=True)
class MiniRecipe:
    """What of a recipe a twin needs."""

    protocol: str
    label_column: str | None = None
    preprocessing: Any = (Standardise(),)
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class World:
    """A brain that can be recorded twice."""

    recipe: MiniRecipe
    embeddings: Embeddings
    table: Table
    stimuli: StimulusSet
    folds: list[Split] | None
    signal: np.ndarray
    draw_noise: Any

    def record(self, rng: np.random.Generator) -> NeuralDataset:
        """One recording."""
        responses = (self.signal + self.draw_noise(rng)).astype(np.float32)
        trials = Trials(responses, self.table, ArraySpace(responses.shape[1]), "a.u.", 1, "fmri")
        return NeuralDataset.from_trials([trials], self.stimuli, self.folds[0] if self.folds else None)


def noise_of(rng: np.random.Generator, run: np.ndarray, p: int, drift: float, rank: int = 3) -> Any:
    """A function that draws noise: smooth over features, shared, drifting within runs, with heavy tails."""
    place = np.arange(p)
    smooth = np.exp(-0.5 * ((place[:, None] - place) / rng.uniform(1, 4)) ** 2)
    shared = rng.standard_normal((int(rng.integers(2, 6)), p))
    tail = rng.choice([4.0, 8.0, 30.0])

    def draw(generator: np.random.Generator) -> np.ndarray:
        n = len(run)
        local = generator.standard_normal((n, p)) @ smooth / np.sqrt((smooth**2).sum(0).mean())
        out = local + generator.standard_normal((n, len(shared))) @ shared / np.sqrt(len(shared))
        out += 0.5 * generator.standard_normal((n, p))
        out *= np.sqrt(tail / generator.chisquare(tail, (n, 1)))
        for r in np.unique(run):
            rows = np.flatnonzero(run == r)
            walk = np.cumsum(generator.standard_normal((len(rows), rank)), 0) / np.sqrt(len(rows))
            out[rows] += drift * (walk - walk.mean(0)) @ generator.standard_normal((rank, p))
            out[rows] += generator.standard_normal(p)
        return out

    return draw


def table_of(ids: np.ndarray, run: np.ndarray, repeat: np.ndarray | None = None, **more: Any) -> Table:
    """The trial table of a recording in one session."""
    n = np.arange(len(ids))
    return Table(
        {
            "stimulus_id": ids, "session": np.full(len(n), "1"), "run": run.astype(str),
            "repeat": np.zeros(len(n), dtype=int) if repeat is None else repeat, "onset_s": 2.0 * n,
            "acquisition_order": n, "exchangeability_block": run.astype(str), **more,
        }
    )  # fmt: skip


def class_world(rng: np.random.Generator, *, blocks: bool = False) -> World:
    """Classes in runs, each run held out; with `blocks` classes come in blocks, and every fourth trial is a run."""
    n_classes, p = int(rng.integers(2, 7)), int(rng.integers(60, 250))
    if blocks:
        label = np.repeat(np.arange(n_classes).repeat(1)[np.arange(3 * n_classes) % n_classes], 12)
        real_run, run = np.zeros(len(label), dtype=int), np.arange(len(label)) % 4
    else:
        n_runs, times = int(rng.integers(6, 11)), int(rng.integers(2, 7))
        label = np.concatenate(
            [rng.permutation(np.repeat(np.arange(n_classes), times)) for _ in range(n_runs)]
        )
        real_run = run = np.repeat(np.arange(n_runs), n_classes * times)
    pattern = rng.standard_normal((n_classes, p)) * (rng.random(p) < rng.uniform(0.1, 0.6))
    strength = rng.uniform(0.02, 0.08) if blocks else rng.uniform(0.1, 0.5)
    gain = rng.uniform(0.8, 1.2, real_run.max() + 1)[real_run]
    signal = strength * gain[:, None] * pattern[label]
    names = np.array([f"class-{c}" for c in range(n_classes)])
    table = table_of(names[label], run, category=names[label])
    stimuli = StimulusSet(tuple(names), "none", table=Table({"category": names}))
    values = np.eye(n_classes, dtype=np.float32)[:, None]
    embeddings = Embeddings(tuple(names), values, "one-hot", {"model": "classes"}, "0" * 64)
    mini = MiniRecipe("leave_one_run_out_categories", "category")
    drift = rng.uniform(8, 12) if blocks else rng.uniform(0, 1)
    return World(
        mini, embeddings, table, stimuli, None, signal, noise_of(rng, real_run, p, drift, 20 if blocks else 3)
    )


def picture_world(rng: np.random.Generator, leak: str = "") -> World:
    """Pictures with embeddings, some held out; `leak`: the ``"picture"`` or ``"trial"`` is in training too."""
    n, d, p = int(rng.integers(100, 180)), int(rng.integers(8, 30)), int(rng.integers(60, 250))
    if leak == "picture":  # enough features to remember pictures by
        p = int(rng.integers(400, 600))
    n_repeats = 1 if leak else int(rng.integers(1, 4))
    values = rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -0.5
    weights = rng.standard_normal((d, p)) * (rng.random(p) < rng.uniform(0.3, 0.9))
    linear = values @ weights
    other = (
        np.tanh(values @ rng.standard_normal((d, 3 * d))) @ rng.standard_normal((3 * d, p)) / np.sqrt(3 * d)
    )
    if leak == "picture":  # what a brain responds to and no feature tells
        other = 3 * rng.standard_normal((n, p)) * (rng.random(p) < 0.5)
    signal = (0.1 if leak else rng.uniform(0.2, 0.6)) * linear + 0.3 * other
    names = np.array([f"picture-{i:03d}" for i in range(n)])
    if leak:
        double = np.array([f"other-{i:03d}" for i in range(n)])
        names, values, signal = np.r_[names, double], np.r_[values, values], np.r_[signal, signal]
        tested = rng.permutation(n)[:40]
        test = names[tested]
    else:
        test = rng.permutation(names)[:40]
    train = np.setdiff1d(names, test)
    order = rng.permutation(np.repeat(np.arange(len(names)), n_repeats))
    run = np.arange(len(order)) * 5 // len(order)
    repeat = np.array([int((order[:i] == o).sum()) for i, o in enumerate(order)])
    split = Split("default", "stimulus", {"train": tuple(train), "test": tuple(test)})
    embeddings = Embeddings(
        tuple(names), values.astype(np.float32)[:, None], "features", {"model": "features"}, "0" * 64
    )
    stimuli = StimulusSet(tuple(names), "none")
    draw = noise_of(rng, run, p, rng.uniform(0, 1))
    if leak == "trial":
        draw = shared_by_doubles(draw, order, n)
    return World(MiniRecipe("heldout_stimuli"), embeddings, table_of(names[order], run, repeat), stimuli, [split],
                 signal[order], draw)  # fmt: skip


def shared_by_doubles(draw: Any, order: np.ndarray, n: int) -> Any:
    """Noise that the two names of a picture have in common: they are one trial."""

    def same(generator: np.random.Generator) -> np.ndarray:
        noise = draw(generator)
        first = np.empty(n, dtype=int)
        first[order[order < n]] = np.flatnonzero(order < n)
        doubled = order >= n
        noise[doubled] = noise[first[order[doubled] - n]] + 0.05 * noise[doubled]
        return noise

    return same


def system_of(world: World) -> RidgeFitter:
    """A fast stand-in for a recipe's decoder; unlike the twin's anchor it sees signals that are not standardised."""
    return RidgeFitter(signal_features(()))


def judge(world: World, rng: np.random.Generator, n_copies: int = 20) -> tuple[TwinResult, NeuralDataset]:
    """The twin of one recording of a world."""
    dataset = world.record(rng)
    settings = Settings("ridge", n_copies=n_copies, n_growth=0, sizes=())
    found = twin(
        world.recipe, dataset, world.embeddings, world.folds, settings=settings, fit=system_of(world), progress=False
    )  # fmt: skip
    return found, dataset


def worlds() -> list[dict]:
    """Bands of 20 worlds against the recording's own score and a second recording's."""
    rows = []
    for number in range(20):
        rng = np.random.default_rng(1000 + number)
        world = class_world(rng) if number % 2 else picture_world(rng)
        found, _ = judge(world, rng)
        metric = protocol_named(world.recipe.protocol).metrics[0]
        expected = found.of(metric)
        again = world.record(rng)
        folds = world.folds or folds_of(world.recipe, again)
        exam = Exam(
            again,
            world.embeddings,
            folds,
            protocol_named(world.recipe.protocol),
            0,
            world.recipe.label_column,
        )
        fresh = scores(exam, system_of(world))["sub-01_fmri"][metric]
        rows.append(row_of(f"world-{number}", expected) | {"second_recording": fresh,
                    "second_inside": bool(expected.band[0] <= fresh <= expected.band[1])})  # fmt: skip
        print(rows[-1], file=sys.stderr)
    return rows


def leaks() -> list[dict]:
    """Bands of 10 leaking recordings against the leaked score."""
    rows = []
    for number in range(10):
        rng = np.random.default_rng(2000 + number)
        kind = ("picture", "trial", "blocks", "picture", "blocks")[number % 5]
        world = class_world(rng, blocks=True) if kind == "blocks" else picture_world(rng, kind)
        found, _ = judge(world, rng)
        expected = found.of(protocol_named(world.recipe.protocol).metrics[0])
        rows.append(row_of(f"leak-{number}-{kind}", expected) | {"folds_of_the_anchor": found.honest_folds})
        print(rows[-1], file=sys.stderr)
    return rows


def real() -> list[dict]:
    """Bands of the recipes on real recordings, with their own decoders."""
    rows = []
    raw = Path(os.environ["BRAINDEC_REAL_DATA"])
    for name, (dataset_name, folder) in REAL.items():
        with tempfile.TemporaryDirectory() as prepared:
            catalogue.load(dataset_name)["prepare"](raw / folder, prepared)
            chosen = recipe.load(name).recipe
            dataset = chosen.data.read(prepared)
            embeddings = chosen.embed(dataset, prepared, progress=False)
            started = time.time()
            found = twin(chosen, dataset, embeddings, settings=Settings(n_growth=0, sizes=()), progress=False)
            for expected in found.expectations:
                rows.append(
                    row_of(f"{name}/{expected.metric}", expected) | {"seconds": round(time.time() - started)}
                )
                print(rows[-1], file=sys.stderr)
    return rows


def population(rng: np.random.Generator, strength: float, n: int = 300) -> np.ndarray:
    """Held-out accuracy of people who follow four classes by as much as they happen to."""
    made = []
    while len(made) < n:
        label = np.concatenate([rng.permutation(np.repeat(np.arange(4), 3)) for _ in range(6)])
        run = np.repeat(np.arange(6), 12)
        own = strength * rng.lognormal(0, 0.4)
        shared = rng.standard_normal((len(label), 3)) @ rng.standard_normal((3, 40))
        responses = own * rng.standard_normal((4, 40))[label] + shared + rng.standard_normal((len(label), 40))
        centres = np.array(
            [[responses[(run != r) & (label == c)].mean(0) for c in range(4)] for r in range(6)]
        )
        gap = ((responses[:, None] - centres[run]) ** 2).sum(2)
        made.append(float((gap.argmin(1) == label).mean()))
    return np.array(made)


def subjects() -> list[dict]:
    """Whether studies of the size that pilots name reach what was wanted: 60 pilots, 200 studies each."""
    rows = []
    for strength in (0.0, 0.1, 0.2, 0.4):
        rng = np.random.default_rng(3000 + round(100 * strength))
        people = population(rng, strength)
        for k in (3, 5, 8):
            above: list[float] = []
            sizes: list[int] = []
            narrow: list[float] = []
            for _ in range(60):
                pilot = rng.choice(people, k, replace=False)
                n = sample_size.subjects_above(pilot, 0.25)
                if n is not None:
                    sizes.append(n)
                    above.append(float(np.mean(limits(rng, people, n)[0] > 0.25)))
                n = sample_size.subjects_within(pilot, 0.03)
                narrow.append(float(np.mean(np.ptp(limits(rng, people, min(n or 2, 2000)), axis=0) <= 0.06)))
            rows.append({
                "name": f"strength-{strength:g}/pilot-of-{k}", "unit": "share of 200 studies", "n": 60,
                "mean_score": round(float(people.mean()), 4), "sd_between": round(float(people.std()), 4),
                "pilots_that_name_a_number": len(sizes), "median_subjects": float(np.median(sizes)) if sizes else None,
                "reach_above_chance": round(float(np.mean(above)), 4) if above else None,
                "reach_within": round(float(np.mean(narrow)), 4),
            })  # fmt: skip
            print(rows[-1], file=sys.stderr)
    return rows


def limits(rng: np.random.Generator, people: np.ndarray, n: int) -> np.ndarray:
    """Lower and upper end of the t interval of 200 studies, (2, 200)."""
    found = rng.choice(people, (200, n))
    half = stats.t.ppf(0.975, n - 1) * found.std(1, ddof=1) / np.sqrt(n)
    return np.array([found.mean(1) - half, found.mean(1) + half])


def row_of(name: str, expected: Any) -> dict:
    """One line of the table."""
    low, high = expected.band
    return {
        "name": name, "metric": expected.metric, "unit": "score", "n": len(expected.copies),
        "value": round(expected.value, 4), "expected": round(float(expected.copies.mean()), 4),
        "band": [round(low, 4), round(high, 4)], "verdict": expected.verdict,
    }  # fmt: skip


def main() -> None:
    """Runs the parts that are named, all by default, and writes results/twin.json."""
    torch.set_num_threads(1)
    parts = {"worlds": worlds, "leaks": leaks, "real": real, "subjects": subjects}
    asked = [p for p in parts if p in sys.argv[1:]] or list(parts)
    made = {part: parts[part]() for part in asked}
    values = (json.loads(RESULT.read_text())["values"] if RESULT.is_file() else {}) | made
    summary = {
        "worlds_inside": sum(r["verdict"] == "inside" for r in values.get("worlds", [])),
        "second_recordings_inside": sum(r["second_inside"] for r in values.get("worlds", [])),
        "leaks_above": sum(r["verdict"] == "above" for r in values.get("leaks", [])),
        "real_inside": sum(r["verdict"] == "inside" for r in values.get("real", [])),
    }
    record = {
        "measured": True,
        "command": "OMP_NUM_THREADS=1 BRAINDEC_REAL_DATA=DIR python benchmarks/twin.py",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None},
        "versions": {
            "python": platform.python_version(),
            "torch": version("torch"),
            "numpy": version("numpy"),
        },
        "summary": summary,
        "values": values,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(summary)


if __name__ == "__main__":
    main()
