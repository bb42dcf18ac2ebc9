"""What is imagined, decoded by a decoder that was fitted on seen pictures alone, and its permutation test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.simulated.imagery import imagined
from braindec.evaluate.measures import identification_interval
from braindec.evaluate.systems import System
from braindec.stats.permutation import p_value
from braindec.types import Embeddings, Score, Trials

NAME = "imagery_two_way_identification"
N_PERMUTATIONS = 999
MIN_STIMULI = 7  # 6 have 720 orders: fewer than permutations


def imagined_by(
    folder: str | Path, dataset: NeuralDataset, *, n_stimuli: int, seed: int, n_repeats: int = 8
) -> dict[str, Trials]:
    """By signal key, what each subject of a simulated dataset imagines: the first of its test stimuli.

    Parameters
    ----------
    folder : path
        Of the prepared dataset, with its truth.
    dataset : NeuralDataset
        With the split in use, whole brains.
    n_stimuli, n_repeats : int
        Pictures, and trials of each.
    seed : int
    """
    test = dataset.part("test")
    ids = list(test.stimulus_ids)[:n_stimuli]
    return {
        key: imagined(
            folder, trials, ids, seeding.numpy_generator(seed, "imagined", key), n_repeats=n_repeats
        )
        for key, trials in dataset.trials.items()
    }


def imagery(
    system: System,
    trials: Mapping[str, Trials],
    embeddings: Embeddings,
    *,
    protocol: str,
    seed: int,
    name: str = "braindec",
    n_permutations: int = N_PERMUTATIONS,
) -> tuple[Score, ...]:
    """How often what a brain imagines is more like its own picture than like another one: a score a subject.

    Repeats are averaged before the decoder, which is not fitted to imagery. Under the null, imagined pictures and
    trials have nothing to do with each other: all trials of a picture take another picture's name.

    Parameters
    ----------
    system : System
        Fitted; e.g. a `BrainDecoder`.
    trials : mapping of str to Trials
        Of imagery, by signal key.
    embeddings : Embeddings
        Of the imagined pictures.
    protocol : str
        What scores are filed under.
    seed : int
        Of the permutations.
    name : str
        System of the scores.
    n_permutations : int
    """
    return tuple(
        _score(system, name, one, embeddings, protocol, seed, n_permutations) for one in trials.values()
    )


def two_way(similarity: torch.Tensor) -> torch.Tensor:
    """Wins (n, n) of each row's own candidate, in column i of row i, over every other; ties count half; own NaN."""
    own = similarity.diagonal()[:, None]
    wins = (own > similarity).double() + 0.5 * (own == similarity).double()
    return wins.fill_diagonal_(torch.nan)


def _score(
    system: System, name: str, trials: Trials, embeddings: Embeddings, protocol: str, seed: int, n_permutations: int
) -> Score:  # fmt: skip
    found = system.predict(trials, repeats="before")
    n = len(found.ids)
    checks.at_least(f"imagined pictures of {trials.key}", n, MIN_STIMULI)
    similarity = system.similarity(found, embeddings.of(found.ids))
    wins = two_way(similarity)
    value, interval, _ = identification_interval(wins)
    draw = seeding.numpy_generator(seed, "imagery", trials.key)
    orders = (torch.from_numpy(draw.permutation(n)) for _ in range(n_permutations))
    null = np.array([float(two_way(similarity[:, order]).nanmean()) for order in orders])
    return Score(
        NAME, name, protocol, trials.subject, trials.modality, value, interval, 0.5, float(null.mean()), n,
        p=p_value(value, null, "greater"), null_n=n_permutations, per_sample=wins.nanmean(1).numpy(),
        details={"permuted": "names of the imagined pictures", "n_trials": trials.n_trials}, sample_ids=found.ids,
    )  # fmt: skip


def panel(scores: tuple[Score, ...]) -> tuple[str, str, dict[str, Any]]:
    """A table of `imagery`'s scores."""
    rows = [
        [f"sub-{s.subject:02d} {s.modality}", f"{s.value:.3f}", f"[{s.interval[0]:.3f}, {s.interval[1]:.3f}]",
         f"{s.null:.3f}", f"{s.p:.3g}", str(s.n)]
        for s in scores
    ]  # fmt: skip
    return (
        "Imagined pictures, by the decoder of seen ones",
        "table",
        {
            "columns": ["subject", "two-way identification", "95 %", "permuted", "p", "pictures"],
            "rows": rows,
            "caption": "No trial of imagery was trained on. Chance 0.5; p from permuted names of the pictures.",
        },
    )
