"""Two separately trained spaces joined without training: a classifier of one reads the other through shared anchors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from braindec import checks, registry, seeding
from braindec.evaluate import study
from braindec.similarity.relative import identified, relative, stitch
from braindec.stats.intervals import wilson
from braindec.types import Report

PENALTY = 0.1  # of the mean square of a feature
LIMIT = (
    "Anchors are pictures that both networks saw: the spaces are not joined without any correspondence. Both networks "
    "are small and the pictures simple; what stitching reaches between large models is not measured here."
)


@dataclass(frozen=True)
class Settings:
    """Parts of the stimuli, and how often anchors are drawn.

    Parameters
    ----------
    n_anchors : tuple of int
        Ascending; scores are of the largest.
    n_test : int
        Held-out stimuli, on which everything is judged. Neither anchors nor what a classifier learns from.
    n_null : int
        Draws with the partners of anchors permuted, and of anchors.
    seed : int
    """

    n_anchors: tuple[int, ...] = (16, 32, 64, 128, 256)
    n_test: int = 400
    n_null: int = 19
    seed: int = 0


def stitching_study(
    first: Tensor, second: Tensor, labels: np.ndarray, settings: Settings = Settings(), *,
    names: tuple[str, str] = ("first", "second"), protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """A classifier learned in the first space, read from the second: by relative representations and by rotation.

    Parameters
    ----------
    first, second : Tensor, shapes (n, p) and (n, q)
        Of the same stimuli.
    labels : array, shape (n,)
    settings : Settings
    names : (str, str)
        Of the networks.
    protocol : str

    Notes
    -----
    Moschella et al. 2023, arXiv:2209.15430 (relative); Maiorca et al. 2023, arXiv:2311.00664 (rotation).
    """
    n = checks.same_length("stimulus", first=first, second=second, labels=labels)
    most = settings.n_anchors[-1]
    checks.at_least("stimuli", n, most + settings.n_test + 2)
    classes, y = np.unique(labels, return_inverse=True)
    truth = torch.from_numpy(y)
    generator = seeding.torch_generator(settings.seed, "stitching")
    order = torch.randperm(n, generator=generator)
    test, pool = order[: settings.n_test], order[settings.n_test :]
    a, b = (x - x[pool].mean(0) for x in (first, second))
    a, b = (x / x[pool].std() for x in (a, b))
    ways = {way: partial(_judged, rule, a, b, truth, pool, test, len(classes)) for way, rule in RULES.items()}
    anchors = [pool[torch.randperm(len(pool), generator=generator)[:most]] for _ in range(settings.n_null)]
    grown = {
        (way, size, wrong): np.array([_one(rule, one[:size], wrong, generator) for one in anchors])
        for way, rule in ways.items()
        for size in settings.n_anchors
        for wrong in (False, True)
    }  # (draw, (accuracy, identified))
    own = {
        name: _accuracy(x[pool], truth[pool], x[test], truth[test], len(classes))
        for name, x in zip(names, (a, b))
    }
    chance = float(np.bincount(y[test.numpy()]).max() / len(test))
    found = []
    for way in ways:
        right, wrong = (grown[way, most, flag] for flag in (False, True))
        ends = wilson(right[:, 0].mean() * len(test), len(test))
        found += study.scores(
            f"stitched_accuracy_{way}", right[:, 0].mean(), (ends.low, ends.high), wrong[:, 0], len(test),
            chance=chance, subject="networks", protocol=protocol, own_space=own[names[1]],
        )  # fmt: skip
    for way, rule in RULES.items():
        right, wrong = (grown[way, most, flag][:, 1] for flag in (False, True))
        found += study.scores(
            f"stitched_identified_{way}", right.mean(), _interval(rule, a, b, test, anchors, settings.seed), wrong,
            len(test), chance=0.5, subject="networks", protocol=protocol,
        )  # fmt: skip
    subspace = registry.load("similarity", "subspace").MEASURES
    spaces = {name: m.compare(first[test], second[test], 99, generator) for name, m in subspace.items()}
    best = grown["relative", most, False][:, 0].mean()
    said = [
        f"A classifier of {len(classes)} classes learned on {names[0]} reads {names[1]} through {most} anchors in "
        f"{best:.3f} of {len(test)} new stimuli (relative) and {grown['rotation', most, False][:, 0].mean():.3f} "
        f"(rotation); anchors permuted {grown['relative', most, True][:, 0].mean():.3f} and "
        f"{grown['rotation', most, True][:, 0].mean():.3f}; most frequent class {chance:.3f}.",
        f"Classifiers of their own space: {', '.join(f'{k} {v:.3f}' for k, v in own.items())}.",
        "Leading subspaces: " + "; ".join(
            f"{k.replace('_', ' ')} {v.value:.2f} (stimuli permuted {float(v.nulls.mean()):.2f}, p {v.p:.2f})"
            for k, v in spaces.items()
        ) + ".",
    ]  # fmt: skip
    accuracy, told_apart = (_curves(grown, ways, settings, column) for column in (0, 1))
    caption = f"A classifier of {names[1]} itself reaches {own[names[1]]:.3f}, the most frequent class {chance:.3f}."
    x = settings.n_anchors
    panels: list[study.Panel] = [
        ("A classifier of one space reads the other", "curve",
         study.lines(x, accuracy, "anchors", "accuracy", caption)),
        ("Stimuli told apart across spaces", "curve",
         study.lines(x, told_apart, "anchors", "identified (chance 0.5)")),
    ]  # fmt: skip
    panels.append((
        "How much of the leading subspaces is shared", "regions",
        study.bars([k.replace("_", " ") for k in spaces], {
            "as they are": [v.value for v in spaces.values()],
            "stimuli permuted": [float(v.nulls.mean()) for v in spaces.values()],
        }, "share of ten leading axes"),
    ))  # fmt: skip
    return study.report("Two spaces joined by anchors", said, found, panels, LIMIT, own_space=own)


Rule = Callable[[Tensor, Tensor], tuple[float, float]]


def _one(rule: Rule, anchors: Tensor, wrong: bool, generator: torch.Generator) -> tuple[float, float]:
    other = anchors[torch.randperm(len(anchors), generator=generator)] if wrong else anchors
    return rule(anchors, other)


def _relative(a: Tensor, b: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both spaces (n, n_anchors) as likeness to their anchors."""
    return relative(a, a[one]), relative(b, b[other])


def _rotated(a: Tensor, b: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """The first space, and the second one brought onto it; both about the anchors' mean."""
    centre = a[one].mean(0)
    return a - centre, stitch(b, b[other], a[one]) - centre


RULES = {"relative": _relative, "rotation": _rotated}


def _judged(
    rule: Callable[..., tuple[Tensor, Tensor]], a: Tensor, b: Tensor, y: Tensor, pool: Tensor, test: Tensor, k: int,
    one: Tensor, other: Tensor,
) -> tuple[float, float]:  # fmt: skip
    learned, read = rule(a, b, one, other)
    return (
        _accuracy(learned[pool], y[pool], read[test], y[test], k),
        float(identified(read[test], learned[test])),
    )


def _interval(
    rule: Callable[..., tuple[Tensor, Tensor]], a: Tensor, b: Tensor, test: Tensor, anchors: list[Tensor], seed: int
) -> tuple[float, float]:  # fmt: skip
    """95 % limits of the share told apart, mean over draws of anchors, for other test stimuli."""
    sides = [[x[test] for x in rule(a, b, one, one)] for one in anchors]

    def mean(rows: Tensor) -> float:
        return float(np.mean([float(identified(read[rows], learned[rows])) for learned, read in sides]))

    return study.jackknife(mean, torch.arange(len(test)), seed=seed)


def _accuracy(x: Tensor, y: Tensor, new: Tensor, truth: Tensor, n_classes: int) -> float:
    """Share of new rows whose class ridge regression on classes names."""
    mean, spread = x.mean(0), x.std(0).clamp_min(1e-6)
    features = ((x - mean) / spread).double()
    wanted = torch.nn.functional.one_hot(y, n_classes).double()
    gram = features.T @ features + PENALTY * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, features.T @ (wanted - wanted.mean(0)))
    made = ((new - mean) / spread).double() @ weights + wanted.mean(0)
    return float((made.argmax(1) == truth).double().mean())


def _curves(grown, ways, settings, column: int) -> dict:
    return {
        way + (", anchors permuted" if wrong else ""): [
            grown[way, size, wrong][:, column].mean() for size in settings.n_anchors
        ]
        for wrong in (False, True)
        for way in ways
    }
