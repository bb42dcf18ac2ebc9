"""A new subject is calibrated with the trunk frozen: in seconds, far above chance, at chance with shuffled labels."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.adapters import adaptive_pooling, low_rank, spatial_merger, voxel_clusters
from braindec.backbones import dilated_conv, mlp
from braindec.data import NeuralDataset
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import clip
from braindec.train import Config
from braindec.types import SensorSpace, Trials

TRAIN = Config(n_steps=40, batch_size=64, validate_every=20, lr=2e-3, device="cpu")
FMRI = Settings(low_rank.Config(shared_dim=24, rank=16), mlp.Config(width=32, n_blocks=1), clip.Config(),
                preprocessing=(Standardise(),), train=TRAIN, n_folds=2)  # fmt: skip
ADAPTERS = {
    "low_rank": low_rank.Config(shared_dim=24, rank=16),
    "adaptive_pooling": adaptive_pooling.Config(length=64, shared_dim=24, pool="mean", bottleneck=8),
    "voxel_clusters": voxel_clusters.Config(n_clusters=8, width=8, dim=8, assignment="hard"),
}
SPEECH = replace(
    FMRI,
    adapter=spatial_merger.Config(n_virtual=12, n_frequencies=4),
    backbone=dilated_conv.Config(width=16, n_layers=4),
    train=replace(TRAIN, n_steps=60, lr=3e-3),
)
N_TIMES = 24


def eeg_of(part: NeuralDataset, embeddings, subject: int, n_channels: int) -> NeuralDataset:
    """The same trials measured by sensors of this subject's own montage: embedding dims drive sources in the head."""
    rng = np.random.default_rng(subject)
    common = np.random.default_rng(99)
    trials = next(iter(part.trials.values()))
    values = embeddings.of(trials.table["stimulus_id"].tolist())[:, 0]  # (trial, dim)
    sources = common.normal(size=(8, 3)) * 0.03 + [0, 0, 0.05]
    courses = common.standard_normal((8, values.shape[1], N_TIMES)) / np.sqrt(values.shape[1])
    positions = rng.normal(size=(n_channels, 3))
    positions[:, 2] = np.abs(positions[:, 2])
    positions *= 0.1 / np.linalg.norm(positions, axis=1, keepdims=True)
    distance = np.linalg.norm(positions[:, None] - sources, axis=2)
    field = np.exp(-((distance / 0.06) ** 2)) * (1 + 0.3 * rng.standard_normal(8))  # (channel, source)
    signal = np.einsum("cs,sdt,nd->nct", field, courses, values)
    signal += 0.3 * signal.std() * rng.standard_normal(signal.shape)
    space = SensorSpace(tuple(f"E{i}" for i in range(n_channels)), positions, ("eeg",) * n_channels)
    made = Trials(signal.astype(np.float32), trials.table, space, "V", subject, "eeg", sfreq=100.0, tmin=0.0)
    return NeuralDataset.from_trials([made], part.stimuli, part.split, name=f"eeg-{subject}")


def shuffled(part: NeuralDataset) -> NeuralDataset:
    rng = np.random.default_rng(3)
    trials = {
        key: replace(t, table=t.table.replace(stimulus_id=rng.permutation(t.table["stimulus_id"])))
        for key, t in part.trials.items()
    }
    return replace(part, trials=trials)


def top1(decoder, planted, newcomer) -> float:
    """Share of 40 held-out stimuli that are retrieved first; chance is 1/40."""
    test = newcomer.part("test")
    gallery = replace(
        planted.embeddings, ids=test.stimulus_ids, values=planted.embeddings.of(test.stimulus_ids)
    )
    trials = next(iter(test.trials.values()))
    found, _ = decoder.retrieve(trials, gallery, 1, repeats="before")
    ids = decoder.predict(trials, repeats="before").ids
    return float(np.mean([row[0] == i for row, i in zip(found, ids, strict=True)]))


def fit(settings, dataset, planted):
    decoder = BrainDecoder.build(settings, dataset.info, planted.embeddings.info)
    return decoder.fit(dataset.part("train"), planted.embeddings, prior=False, progress=False)


def check_calibration(decoder, newcomer, planted, least):
    """Everything that was there stays; the newcomer is decoded, within a minute, and not with shuffled labels."""
    before = {k: v.clone() for k, v in decoder.encoder.state_dict().items()}
    settings = replace(TRAIN, n_steps=20, validate_every=10)
    start = time.process_time()
    adapted = decoder.adapt(newcomer.part("train"), planted.embeddings, settings=settings, progress=False)
    assert time.process_time() - start < 60  # of a processor: other load does not count
    after = adapted.encoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    key = next(iter(newcomer.trials))
    assert all(name.startswith(f"adapters.{key}.") for name in set(after) - set(before))
    assert top1(adapted, planted, newcomer) > least
    null = decoder.adapt(
        shuffled(newcomer.part("train")), planted.embeddings, settings=settings, progress=False
    )
    assert top1(null, planted, newcomer) < 0.2


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_new_fmri_subject_is_calibrated_with_the_trunk_frozen(planted, name):
    decoder = fit(replace(FMRI, adapter=ADAPTERS[name]), planted.dataset, planted)
    check_calibration(decoder, planted.newcomer, planted, least=0.4)


def test_a_new_montage_is_calibrated_with_the_trunk_frozen(planted):
    parts = [eeg_of(planted.dataset, planted.embeddings, subject, 20 + subject) for subject in (1, 2)]
    both = NeuralDataset.from_trials(
        [t for p in parts for t in p.trials.values()],
        planted.dataset.stimuli,
        planted.dataset.split,
        name="eeg",
    )
    decoder = fit(SPEECH, both, planted)
    newcomer = eeg_of(planted.newcomer, planted.embeddings, 3, 25)
    check_calibration(decoder, newcomer, planted, least=0.3)
