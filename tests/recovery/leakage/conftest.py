"""Small recordings whose design is known: which leaks they hold, or that they hold none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braindec.data import NeuralDataset
from braindec.types import ArraySpace, SensorSpace, StimulusSet, Table, Trials

CLEAN: dict[str, Any] = {
    "label": "category",
    "betas": {
        "hrf_chosen_on": "none", "noise_regressors_on": "none", "ridge_chosen_on": "none", "z_scored_on": "none",
        "overlap": "modelled",
    },
    "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
    "features": {"selected_on": "none", "aligned_on": "none"},
}  # fmt: skip
N_CONCEPTS, N_CATEGORIES, N_RUNS, N_SESSIONS = 20, 4, 3, 3


@dataclass(frozen=True)
class World:
    """Which recordings are made: 60 pictures of 20 concepts in 4 categories, each shown `n_repeats` times."""

    seed: int = 0
    modality: str = "fmri"
    n_subjects: int = 1
    n_stimuli: int = 60
    n_repeats: int = 2
    spacing_s: float = 4.0
    order: str = "random"  # or "blocks": all pictures of a category in a row


def make(world: World, **about: Any) -> NeuralDataset:
    """A dataset without a split; `about` replaces entries of dataset.json."""
    rng = np.random.default_rng([world.seed, 91])
    ids = tuple(f"picture-{i:03d}" for i in range(world.n_stimuli))
    concept = rng.permutation(np.arange(world.n_stimuli) % N_CONCEPTS)
    table = Table(
        {
            "concept": np.array([f"concept {c}" for c in concept]),
            "category": np.array([f"category {c % N_CATEGORIES}" for c in concept]),
        }
    )
    images = rng.integers(0, 256, (world.n_stimuli, 32, 32, 3), dtype=np.uint8)
    stimuli = StimulusSet(ids, "image", lambda wanted: images[[ids.index(i) for i in wanted]], table=table)
    trials = [_trials(rng, world, ids, table["category"], s + 1) for s in range(world.n_subjects)]
    return replace(NeuralDataset.from_trials(trials, stimuli, name="planted"), about={**CLEAN, **about})


def _trials(
    rng: np.random.Generator, world: World, ids: tuple[str, ...], category: np.ndarray, subject: int
) -> Trials:
    shown = rng.permutation(np.repeat(np.arange(len(ids)), world.n_repeats))
    if world.order == "blocks":
        shown = shown[np.argsort(category[shown], kind="stable")]
    n = len(shown)
    run = np.arange(n) * N_RUNS * N_SESSIONS // n
    if world.order == "blocks":
        run = np.zeros(n, dtype=int)
    within = np.array([int((run[:i] == r).sum()) for i, r in enumerate(run)])
    columns = {
        "stimulus_id": np.array(ids)[shown],
        "session": run // N_RUNS + 1,
        "run": run % N_RUNS + 1,
        "repeat": [int((shown[:i] == s).sum()) for i, s in enumerate(shown)],
        "onset_s": np.round(world.spacing_s * within + rng.uniform(0, 0.1, n), 3),
        "acquisition_order": np.arange(n),
        "exchangeability_block": run,
        "run_position": within,
        "motion_x": 0.1 * np.cumsum(rng.standard_normal(n)),
    }
    if world.modality == "fmri":
        values = rng.standard_normal((n, 20)).astype(np.float32)
        return Trials(values, Table(columns), ArraySpace(20), "a.u.", subject, "fmri")
    space = SensorSpace(("Oz", "Pz"), np.zeros((2, 3)), ("eeg", "eeg"))
    values = rng.standard_normal((n, 2, 30)).astype(np.float32)
    return Trials(values, Table(columns), space, "V", subject, "eeg", sfreq=50.0, tmin=-0.1)
