"""How good a prior is, beside ground-truth embeddings: scores with interval and refitted null, and panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Repeats, group_repeats
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.panels import Panel
from braindec.evaluate.prior_measures import (
    Drawn,
    inside,
    measures,
    rank_of_means,
    ranks,
    spread_over_error,
)
from braindec.evaluate.scoring import parse_key
from braindec.stats.intervals import mean_interval, proportion_interval, t_interval
from braindec.stats.permutation import p_value
from braindec.types import Embeddings, Score

N_SAMPLES = 39
N_RESAMPLES = 1000
PREFIX = "prior_"
# name -> (direction, what a prior has that knows the training embeddings and no brain; a calibrated one for coverage)
SHOWN = {
    "embedding_error": ("lower", 1.0),
    "energy_score": ("lower", None),
    "two_way": ("higher", 0.5),
    "top1": ("higher", None),
    "diversity": ("higher", 1.0),
    "coverage_random": ("higher", 0.9),
    "coverage_principal": ("higher", 0.9),
}
SHARES = ("two_way", "top1", "coverage_random", "coverage_principal")  # in [0, 1]
LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))


@dataclass(frozen=True, eq=False)
class Quality:
    """Scores, and by signal key the draws that they are of."""

    scores: tuple[Score, ...]
    drawn: Mapping[str, Drawn]


def draws_of(
    decoder: BrainDecoder,
    part: NeuralDataset,
    embeddings: Embeddings,
    *,
    repeats: Repeats = "after",
    n_samples: int = N_SAMPLES,
    most: int | None = None,
    seed: int = 0,
) -> dict[str, Drawn]:
    """What a fitted decoder's prior draws for a part's stimuli, by signal key.

    Parameters
    ----------
    decoder : BrainDecoder
        With a prior.
    part : NeuralDataset
        Not the one it was fitted on.
    embeddings : Embeddings
        Ground truth, in the decoder's target space.
    most : int, optional
        At most so many rows of each subject, the first ones.
    """
    known = np.asarray(decoder.scaler(decoder.main).restore(_frame(decoder)).cpu())
    found = {}
    for key, trials in part.trials.items():
        prediction = decoder.predict(trials, repeats=repeats)
        prediction = prediction.take(np.arange(len(prediction.ids))[:most])
        samples = decoder.imagine(prediction, seed=seed, n_samples=n_samples)
        found[key] = Drawn(prediction.ids, samples, embeddings.of(prediction.ids), known)
    return found


def _frame(decoder: BrainDecoder) -> Tensor:
    """Centred training embeddings that the decoder kept out of fold."""
    if not decoder.held_out:
        raise ValueError(
            "this decoder holds no out-of-fold predictions (they are not saved); fit it here with n_folds of 2 or more."
        )
    values = torch.cat([held.truth for held in decoder.held_out.values()])
    return values.flatten(1).unique(dim=0).reshape(-1, *values.shape[1:])


def prior_quality(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    n_samples: int = N_SAMPLES,
    most: int | None = None,
) -> Quality:
    """Scores of a decoder's prior on the test part of every subject.

    Parameters
    ----------
    nulls : sequence of BrainDecoder
        Decoders fitted to permuted pairs, priors too (`evaluate.fit_nulls`).
    recipe : Recipe
        Its protocol says where repeats are averaged.
    n_samples : int
        39 make intervals of exactly 90 and 95 %.
    """
    test, protocol = dataset.part("test"), protocol_named(recipe.protocol)

    def asked(one: BrainDecoder) -> dict[str, Drawn]:
        return draws_of(
            one,
            test,
            embeddings,
            repeats=protocol.repeats,
            n_samples=n_samples,
            most=most,
            seed=recipe.seed,
        )

    drawn, others = asked(decoder), [asked(null) for null in nulls]
    rows: list[Score] = []
    for key in drawn:
        told = [other[key] for other in others]
        rows += quality(drawn[key], told, key, protocol=protocol.name, seed=recipe.seed)
    return Quality(tuple(rows), drawn)


def quality(
    drawn: Drawn,
    nulls: Sequence[Drawn],
    key: str,
    *,
    protocol: str = "",
    system: str = "braindec",
    seed: int = 0,
) -> list[Score]:
    """Scores of one subject's draws.

    Parameters
    ----------
    drawn : Drawn
    nulls : sequence of Drawn
        Of priors refitted to permuted pairs, for the same rows; at least one.
    key : str
        Signal key, ``"sub-01_fmri"``.
    system : str
        As in `Score`.

    Returns
    -------
    list of Score
        ``prior_embedding_error``, ``prior_energy_score``, ``prior_two_way``, ``prior_top1``, ``prior_diversity``,
        ``prior_coverage_random``, ``prior_coverage_principal`` (nominal 0.9 stands as their chance; neither more nor
        less is better), ``prior_miscalibration`` (absolute log2 of spread over error; details tell the ratio) and
        ``prior_rank_ratio`` (effective rank of mean draws over that of truths; details tell both). Of repeated rows the
        stimulus is resampled.
    """
    checks.at_least("number of nulls", len(nulls), 1)
    found, null = measures(drawn, seed), [measures(n, seed) for n in nulls]
    subject, modality = parse_key(key)
    units = None if len(set(drawn.ids)) == len(drawn.ids) else np.array(drawn.ids)
    draw = seeding.numpy_generator(seed, "prior quality", key)
    rows = []

    def add(name: str, value: float, interval: tuple[float, float], chance: float, null_values: list[float],
            direction: str, **more: Any) -> None:  # fmt: skip
        sign = 1.0 if direction == "higher" else -1.0
        nominal = name.startswith("coverage")  # neither more nor less is better
        rows.append(
            Score(
                PREFIX + name, system, protocol, subject, modality, value, interval, chance,
                float(np.mean(null_values)), len(set(drawn.ids)), direction, null_n=len(null_values),
                p=None if nominal else p_value(sign * value, sign * np.array(null_values)), **more,
            )
        )  # fmt: skip

    chances = {"energy_score": _without_a_brain(drawn, seed), "top1": 1 / len(set(drawn.ids))}
    for name, (direction, chance) in SHOWN.items():
        spread = (
            proportion_interval(found[name], units=units)
            if name in SHARES
            else mean_interval(found[name], draw, units=units)
        )
        add(
            name, float(found[name].mean()), (float(spread.low), float(spread.high)),
            chances[name] if chance is None else chance, [float(n[name].mean()) for n in null], direction,
            per_sample=found[name], sample_ids=None if units is not None else drawn.ids,
        )  # fmt: skip
    ratio, about, low_high = _miscalibration(found, drawn.ids, draw)
    add(
        "miscalibration", abs(float(np.log2(ratio))), about, 0.0,
        [abs(float(np.log2(spread_over_error(n)))) for n in null], "lower",
        details={"spread over error": ratio, "interval of that": list(low_high)},
    )  # fmt: skip
    value, about, told = _rank_ratio(drawn, draw)
    add("rank_ratio", value, about, 1.0, [_rank_ratio(n, draw, 0)[0] for n in nulls], "higher", details=told)
    return rows


def _miscalibration(
    found: dict[str, np.ndarray], ids: tuple[str, ...], draw: np.random.Generator
) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Spread over error, the interval of its log2's distance from 0, and its own; stimuli are resampled."""
    group, first = group_repeats(np.array(ids))
    n = len(first)
    sums = {name: np.bincount(group, weights=found[name]) for name in ("variance", "squared_error")}
    ratios = np.array([spread_over_error(sums, draw.integers(0, n, n)) for _ in range(N_RESAMPLES)])
    low, high = (float(q) for q in np.quantile(ratios, (0.025, 0.975)))
    far = sorted(abs(float(np.log2(q))) for q in (low, high))
    nearest = 0.0 if low <= 1 <= high else far[0]
    return spread_over_error(found), (nearest, far[1]), (low, high)


def _rank_ratio(
    drawn: Drawn, draw: np.random.Generator, n_parts: int = 20
) -> tuple[float, tuple[float, float], dict[str, Any]]:
    """Ratio of effective ranks, its interval by the jackknife over parts of the stimuli, and both ranks."""
    predicted, true = rank_of_means(drawn)
    value = predicted / max(true, 1.0)
    told = {"rank of mean draws": predicted, "rank of truths": true}
    group, first = group_repeats(np.array(drawn.ids))
    n_parts = min(n_parts, len(first))
    if n_parts < 3:
        return value, (value, value), told
    part = (draw.permutation(len(first)) % n_parts)[group]
    left = []
    for number in range(n_parts):
        rows = np.flatnonzero(part != number)
        fewer = Drawn(
            tuple(drawn.ids[i] for i in rows), drawn.samples[:, rows], drawn.truth[rows], drawn.known
        )
        here, there = rank_of_means(fewer)
        left.append(here / max(there, 1.0))
    error = float(np.sqrt((n_parts - 1) * np.var(left)))
    ends = t_interval(value, error, n_parts)
    return value, (ends.low, ends.high), told


def _without_a_brain(drawn: Drawn, seed: int) -> float:
    """Energy score of training embeddings drawn at random: what a prior without a brain has at best."""
    rows = seeding.numpy_generator(seed, "without a brain").integers(
        len(drawn.known), size=(len(drawn.samples), len(drawn.ids))
    )
    other = Drawn(drawn.ids, drawn.known[rows], drawn.truth, drawn.known)
    return float(measures(other)["energy_score"].mean())


def panels(found: Quality) -> list[Panel]:
    """A table of all scores, and for each subject how often intervals of the samples hold the truth."""
    rows = [
        [f"sub-{s.subject:02d} {s.modality}", s.name.removeprefix(PREFIX).replace("_", " "), f"{s.value:.3f}",
         f"[{s.interval[0]:.3f}, {s.interval[1]:.3f}]", f"{s.null:.3f}", f"{s.chance:.3f}", str(s.n)]
        for s in found.scores
    ]  # fmt: skip
    columns = [
        "subject",
        "of the prior's samples",
        "value",
        "95 % interval",
        "shuffled pairs",
        "reference",
        "n",
    ]
    caption = (
        "Against the true embeddings of stimuli that nothing was fitted on. Reference: what samples without a brain "
        "have; for coverage, what calibrated ones have. Error and energy score: lower is better."
    )
    made: list[Panel] = [
        ("The prior", "table", {"columns": columns, "rows": rows, "caption": caption, "section": "controls"})
    ]
    for key, drawn in found.drawn.items():
        n = len(drawn.samples)
        kinds = dict(zip(("random directions", "principal directions"), ranks(drawn), strict=True))
        series = {
            name: np.array([float(inside(rank, n, level).mean()) for level in LEVELS])
            for name, rank in kinds.items()
        }
        payload = {
            "step": np.array(LEVELS), "series": {**series, "calibrated": np.array(LEVELS)},
            "xlabel": "interval of the samples", "ylabel": "share that holds the truth", "section": "controls",
            "caption": "Above the line samples spread too far, below it not far enough.",
        }  # fmt: skip
        made.append((f"Do samples spread as far as they err? {key.replace('_', ' ')}", "curve", payload))
    return made
