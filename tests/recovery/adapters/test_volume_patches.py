"""Someone nobody was trained on is decoded by where voxels lie, with no layer and no training of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.adapters import volume_patches
from braindec.backbones import masked_transformer
from braindec.data import NeuralDataset
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import mse
from braindec.train import Config
from braindec.types import Embeddings, StimulusSet, Table, Trials, VoxelSpace

N, N_FEW, N_DIMS = 300, 30, 3
SHAPES = {1: (8, 8, 8), 2: (10, 7, 9), 3: (9, 9, 6)}  # grids of voxels; the head is the same
IDS = tuple(f"stimulus-{i:03d}" for i in range(N))
SETTINGS = Settings(
    volume_patches.Config((2, 2, 2), 2),
    masked_transformer.Config(patch=8, width=16, n_layers=1, pool="all"),
    mse.Config(),
    preprocessing=(Standardise(),),
    train=Config(n_steps=80, batch_size=200, validate_every=80, lr=5e-3, device="cpu"),
    n_folds=0,
    calibrate=False,
)


def recorded(subject: int, values: np.ndarray, rng: np.random.Generator) -> Trials:
    """Responses that are fields in the head, one a dimension of the stimulus, and noise."""
    shape = np.array(SHAPES[subject])
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    responses = values @ np.cos(np.pi * places).T + rng.standard_normal((N, len(places)))
    table = Table({
        "stimulus_id": np.array(IDS), "session": np.ones(N, int), "run": np.arange(N) // 50, "repeat": np.zeros(N, int),
        "onset_s": 3.0 * (np.arange(N) % 50), "acquisition_order": np.arange(N),
        "exchangeability_block": np.ones(N, int),
    })  # fmt: skip
    space = VoxelSpace(np.ones(shape, bool), np.diag([*(1 / (shape - 1)), 1]))
    return Trials(responses.astype(np.float32), table, space, "a.u.", subject, "fmri")


def decoded(shuffled: bool) -> tuple[float, BrainDecoder, BrainDecoder]:
    """Mean correlation of a third person's held-out stimuli, the decoder of two others, and its copy that met her."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N, N_DIMS)).astype(np.float32)
    told = values[rng.permutation(N)] if shuffled else values
    embeddings = Embeddings(IDS, told[:, None], "planted", {"model": "planted"}, "0" * 64)
    people = {s: recorded(s, values, rng) for s in SHAPES}
    stimuli = StimulusSet(IDS, "none")
    known = NeuralDataset.from_trials([people[1], people[2]], stimuli)
    decoder = BrainDecoder.build(SETTINGS, known.info, embeddings.info).fit(known, embeddings, progress=False)
    met = NeuralDataset.from_trials([people[3].take(np.arange(N_FEW))], stimuli)
    copy = decoder.adapt(met, embeddings, progress=False)
    found = copy.predict(people[3].take(np.arange(N_FEW, N))).values[:, 0]
    return (
        float(np.mean([np.corrcoef(found[:, i], values[N_FEW:, i])[0, 1] for i in range(N_DIMS)])),
        decoder,
        copy,
    )


def test_a_new_person_is_decoded_and_nothing_is_trained_for_it():
    found, decoder, copy = decoded(shuffled=False)
    assert found > 0.8
    before, after = decoder.encoder.backbone.state_dict(), copy.encoder.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [list(copy.encoder.adapter(key).parameters()) for key in copy.encoder.keys] == [[], [], []]


def test_of_shuffled_pairs_nothing_is_learnt():
    assert decoded(shuffled=True)[0] == pytest.approx(0, abs=0.2)
