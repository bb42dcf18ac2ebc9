"""Concepts planted in cubes: each is in half of the stimuli, carried by one cube of eight; the rest is noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from braindec.adapters import volume_patches
from braindec.backbones import masked_transformer
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, localisation
from braindec.losses import mse
from braindec.train import Config
from braindec.types import Embeddings, StimulusSet, Table, Trials, VoxelSpace

N, N_DIMS, N_TEST = 240, 4, 80
CONCEPTS = ("star", "ring", "heart", "cross")
CUBES = volume_patches.Config((2, 2, 2), 2)
IDS = tuple(f"stimulus-{i:03d}" for i in range(N))
SETTINGS = Settings(
    CUBES,
    masked_transformer.Config(patch=8, width=16, n_layers=1, pool="all"),
    mse.Config(),
    preprocessing=(Standardise(),),
    train=Config(n_steps=60, batch_size=240, validate_every=60, lr=1e-2, device="cpu"),
    n_folds=0,
    calibrate=False,
)
DIRECTIONS = np.eye(N_DIMS, dtype=np.float32)[:, None]


def recorded() -> tuple[NeuralDataset, np.ndarray]:
    """The dataset, with a split and captions that say what is there, and what is there (stimulus, concept)."""
    rng = np.random.default_rng(0)
    present = rng.random((N, N_DIMS)) < 0.5
    space = VoxelSpace(np.ones((4, 4, 4), bool), np.eye(4))
    cube = localisation.cubes_of(space, CUBES)
    responses = rng.standard_normal((N, 64))
    for concept in range(N_DIMS):
        responses[:, cube == 2 * concept] += 1.5 * np.where(present[:, [concept]], 1, -1)
    table = Table({
        "stimulus_id": np.array(IDS), "session": np.ones(N, int), "run": np.arange(N) // 50, "repeat": np.zeros(N, int),
        "onset_s": 3.0 * (np.arange(N) % 50), "acquisition_order": np.arange(N),
        "exchangeability_block": np.ones(N, int),
    })  # fmt: skip
    trials = Trials(responses.astype(np.float32), table, space, "a.u.", 1, "fmri")
    said = [
        " ".join(["thing", *(c for c, there in zip(CONCEPTS, row, strict=True) if there)]) for row in present
    ]
    stimuli = StimulusSet(IDS, "none", captions=dict(zip(IDS, said, strict=True)))
    split = Split("planted", "stimulus", {"train": IDS[N_TEST:], "test": IDS[:N_TEST]})
    return NeuralDataset.from_trials([trials], stimuli, split), present


def fitted(known: NeuralDataset, present: np.ndarray, shuffle: int | None, n_steps: int = 60) -> BrainDecoder:
    """A decoder fitted to what is there, or with the seed `shuffle` to other stimuli's."""
    values = np.where(present, 1, -1).astype(np.float32)
    if shuffle is not None:
        values = values[np.random.default_rng(shuffle).permutation(N)]
    embeddings = Embeddings(IDS, values[:, None], "planted", {"model": "planted"}, "0" * 64)
    settings = replace(SETTINGS, train=replace(SETTINGS.train, n_steps=n_steps, validate_every=n_steps))
    return BrainDecoder.build(settings, known.info, embeddings.info).fit(known, embeddings, progress=False)
