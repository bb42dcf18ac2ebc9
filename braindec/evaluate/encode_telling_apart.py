"""Would a few well-chosen stimuli have sufficed? Rival encoding models, and clusters of voxels, told apart by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, encoding, seeding
from braindec.encoding.telling_apart import evidence, most_telling
from braindec.evaluate import encode_identification as identification
from braindec.evaluate import study
from braindec.maths import folds as fold_rules
from braindec.stats.intervals import wilson
from braindec.stats.permutation import p_value
from braindec.types import Report, Score

METRIC = "true_model_identified"
WORDS = {
    "systems": {
        "braindec": "stimuli on which fitted models disagree most",
        "shuffled": "the same stimuli, responses of other stimuli",
    },
    "null": "as many stimuli drawn at random from the pool",
}
LIMIT = (
    "These brains are linear in one of the models. Of a real one, models that are all wrong are told apart too: on "
    "stimuli on which they disagree each may be least like the brain, and the loser there may predict all others "
    "better. With responses of other stimuli the model that predicts least wins, which is the wrong one: below chance."
)


@dataclass(frozen=True)
class Design:
    """An experiment that is simulated: models are fitted, then stimuli are chosen, then responses to them are measured.

    Parameters
    ----------
    n_train : int
        Stimuli whose responses models are fitted to; all others are the pool.
    sizes : tuple of int
        Numbers of stimuli that are shown from the pool.
    n_voxels : int
    ceiling : float
        Share of a response's variance that is signal, in (0, 1].
    n_brains : int
        Drawn for each true model.
    n_random : int
        Random choices of each number of stimuli.
    seed : int
    """

    n_train: int = 200
    sizes: tuple[int, ...] = (1, 3, 10, 30)
    n_voxels: int = 15
    ceiling: float = 0.3
    n_brains: int = 30
    n_random: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_train", self.n_train, 20)
        checks.at_least("number of sizes", len(self.sizes), 1)
        checks.in_range("ceiling", self.ceiling, 1e-6, 1.0)
        checks.at_least("n_brains", self.n_brains, 1)
        checks.at_least("n_random", self.n_random, 1)


DESIGN = Design()


@dataclass(frozen=True, eq=False)
class ToldApart:
    """Whether the true model had the most evidence, by number of stimuli.

    Parameters
    ----------
    names : tuple of str
        Models.
    chosen, shuffled : bool array, shape (n_brains, n_sizes)
        With stimuli on which models disagree most; with the same and the responses of other stimuli.
    random : bool array, shape (n_random, n_brains, n_sizes)
        With stimuli drawn at random.
    """

    names: tuple[str, ...]
    chosen: np.ndarray
    shuffled: np.ndarray
    random: np.ndarray


def tell_apart(candidates: Mapping[str, Tensor], design: Design = DESIGN) -> ToldApart:
    """Makes brains of every model and lets all models compete for them, by chosen stimuli and by random ones.

    Parameters
    ----------
    candidates : mapping of str to Tensor, shape (n, n_features)
        Features of the same stimuli in every model, more than `design.n_train` and the largest of `design.sizes`.
    design : Design
    """
    n = checks.same_length("stimulus", **{f"features_{i}": x for i, x in enumerate(candidates.values())})
    checks.at_least("number of models", len(candidates), 2)
    checks.at_least("number of stimuli", n, design.n_train + max(design.sizes) + 1)
    order = torch.randperm(n, generator=seeding.torch_generator(design.seed, "telling apart"))
    train, pool = order[: design.n_train], order[design.n_train :]
    brains = _brains(candidates, design)
    # Brains are further columns: what is factorised of a model's features serves all of them.
    y = torch.cat(brains, 1)
    fits = [_fitted(x, y, train, pool) for x in candidates.values()]
    noise = torch.stack([left for _, left in fits]).mean(0)
    made = torch.stack([made for made, _ in fits])
    parts = zip(brains, made.split(design.n_voxels, 2), noise.split(design.n_voxels))
    found = [
        _judged(number, brain[pool], own, spread, design) for number, (brain, own, spread) in enumerate(parts)
    ]
    truth = np.repeat(np.arange(len(candidates)), design.n_brains)[:, None]
    chosen, shuffled, random = (np.stack([one[i] for one in found]) for i in range(3))
    right = random == truth[:, None]
    return ToldApart(tuple(candidates), chosen == truth, shuffled == truth, right.transpose(1, 0, 2))


def _brains(candidates: Mapping[str, Tensor], design: Design) -> list[Tensor]:
    """Responses of all brains to all stimuli: `n_brains` of the first model, then of the second, ..."""
    made = identification.Design(20, design.n_voxels, design.ceiling, 1, design.seed)
    return [
        identification.brain_of(x, made, seeding.torch_generator(design.seed, "brain", name, number))
        for name, x in candidates.items()
        for number in range(design.n_brains)
    ]


def _fitted(x: Tensor, y: Tensor, train: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions for the pool by a model fitted to training stimuli, and the variance that it leaves held-out."""
    scale = x[train].std(0).clamp_min(1e-6)
    z = (x - x[train].mean(0)) / scale
    model = encoding.fit(z[train], y[train], folds=fold_rules.folds_by_count(len(train), 5))
    return model.predict(z[pool]), (1 - model.cv_score).clamp_min(1e-3) * y[train].var(0)


def _judged(
    number: int, responses: Tensor, predictions: Tensor, noise: Tensor, design: Design
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Models with the most evidence by number of stimuli: chosen, shuffled (n_sizes,), random (n_random, n_sizes)."""
    best = most_telling(predictions, max(design.sizes), noise)
    draw = seeding.torch_generator(design.seed, "random stimuli", number)
    wrong = responses[torch.randperm(len(responses), generator=draw)]
    orders = torch.rand(design.n_random, len(responses), generator=draw).argsort(1)
    # What each stimulus says adds up, so every choice is a sum over its stimuli.
    each, other = (
        torch.stack([evidence(predictions[:, i : i + 1], r[i : i + 1], noise) for i in range(len(r))])
        for r in (responses, wrong)
    )
    sizes = [size - 1 for size in design.sizes]
    chosen, shuffled = (e[best].cumsum(0)[sizes].argmax(1).numpy() for e in (each, other))
    return chosen, shuffled, each[orders].cumsum(1)[:, sizes].argmax(2).numpy()


def telling_apart_study(
    candidates: Mapping[str, Tensor],
    design: Design = DESIGN,
    *,
    protocol: str = "heldout_stimuli",
) -> Report:
    """`tell_apart` as scores, sentences and a figure."""
    found = tell_apart(candidates, design)
    rows, lines = [], []
    for i, size in enumerate(design.sizes):
        null = found.random[:, :, i].mean(1)
        common: dict[str, Any] = {
            "name": METRIC, "protocol": protocol, "subject": "simulated", "modality": "fmri",
            "chance": 1 / len(found.names), "null": float(null.mean()), "n": len(found.chosen), "null_n": len(null),
            "details": {"n_stimuli": size},
        }  # fmt: skip
        for system, hits in (("braindec", found.chosen[:, i]), ("shuffled", found.shuffled[:, i])):
            share = wilson(float(hits.sum()), len(hits))
            p = p_value(float(hits.mean()), null) if system == "braindec" else None
            rows.append(
                Score(
                    system=system, value=float(hits.mean()), interval=(share.low, share.high), p=p, **common
                )
            )
        right, wrong = found.chosen[:, i].mean(), found.shuffled[:, i].mean()
        lines.append(
            f"With the {size} stimuli on which {len(found.names)} fitted models disagree most, the true model has the "
            f"most evidence in {right:.2f} of {len(found.chosen)} brains; with {size} drawn at random in "
            f"{null.mean():.2f} (chance {1 / len(found.names):.2f}, responses shuffled {wrong:.2f})."
        )
    series = {
        "models disagree most": found.chosen.mean(0), "drawn at random": found.random.mean((0, 1)),
        "responses shuffled": found.shuffled.mean(0),
    }  # fmt: skip
    curve = study.lines(design.sizes, series, "stimuli shown", "true model has the most evidence")
    return study.report(
        "Stimuli that tell models apart", lines, rows, [("How many stimuli it takes", "curve", curve)], LIMIT,
        design=config.to_json(design), models=list(found.names), words=WORDS,
    )  # fmt: skip
