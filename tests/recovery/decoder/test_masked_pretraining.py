"""A trunk that learnt from trials without labels fills in what is masked, and decodes better from few labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.adapters import gain_bias
from braindec.backbones import masked_transformer
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.decoder.masked import Config as Masked
from braindec.losses import clip
from braindec.train import Config
from braindec.types import ArraySpace, Embeddings, EmbeddingsInfo, SensorSpace, StimulusSet, Table, Trials

pytestmark = pytest.mark.slow

N_VOXELS, N_DIMS, N_LABELLED, N_TEST, N_UNLABELLED = 48, 8, 120, 120, 1200
N_FEW = 40  # labelled trials of a fit
SETTINGS = Settings(
    gain_bias.Config(),
    masked_transformer.Config(patch=6, width=24, n_layers=2, n_heads=2, pool="all"),
    clip.Config(),
    preprocessing=(Standardise(),),
    train=Config(n_steps=60, batch_size=60, validate_every=20, lr=3e-3, device="cpu"),
    n_folds=2,
    calibrate=False,
)
MASKED = Masked(
    ratio=0.5,
    width=24,
    n_heads=2,
    train=Config(n_steps=700, batch_size=96, lr=4e-3, validate_every=350, device="cpu"),
)


def recorded(stimuli: np.ndarray, responses: np.ndarray, first: int) -> Trials:
    n = len(stimuli)
    at = first + np.arange(n)
    table = Table({
        "stimulus_id": stimuli, "session": np.ones(n, int), "run": at // 40, "repeat": np.zeros(n, int),
        "onset_s": 3.0 * (at % 40), "acquisition_order": at, "exchangeability_block": np.ones(n, int),
    })  # fmt: skip
    return Trials(responses.astype(np.float32), table, ArraySpace(N_VOXELS), "a.u.", 1, "fmri")


class World:
    """One brain whose voxels are a linear map of few dims: labelled trials, and many of unknown stimuli."""

    def __init__(self):
        rng = np.random.default_rng(5)
        weights = rng.standard_normal((N_DIMS, N_VOXELS)) / np.sqrt(N_DIMS)

        def seen(values):
            return values @ weights + 0.7 * rng.standard_normal((len(values), N_VOXELS))

        ids = tuple(f"stimulus-{i:03d}" for i in range(N_LABELLED + N_TEST))
        values = rng.standard_normal((len(ids), N_DIMS)).astype(np.float32)
        self.embeddings = Embeddings(ids, values[:, None], "planted", {"model": "planted"}, "0" * 64)
        split = Split("default", "stimulus", {"train": ids[:N_LABELLED], "test": ids[N_LABELLED:]})
        stimuli = StimulusSet(ids, "none")
        self.dataset = NeuralDataset.from_trials([recorded(np.array(ids), seen(values), 0)], stimuli, split)
        others = seen(rng.standard_normal((N_UNLABELLED, N_DIMS)))
        unknown = recorded(np.full(N_UNLABELLED, "unknown"), others, 1000)
        self.unlabelled = NeuralDataset.from_trials([unknown], StimulusSet((), "none"))

    def build(self, settings=SETTINGS) -> BrainDecoder:
        return BrainDecoder.build(settings, self.dataset.info, self.embeddings.info)

    def top1(self, decoder: BrainDecoder) -> float:
        """Share of 120 held-out stimuli that are retrieved first from one look; chance is 1/120."""
        part = self.dataset.part("test")
        gallery = replace(
            self.embeddings, ids=part.stimulus_ids, values=self.embeddings.of(part.stimulus_ids)
        )
        return decoder.score(part.trials["sub-01_fmri"], gallery)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def pretrained(world):
    return world.build().pretrain(world.unlabelled, MASKED, progress=False)


def few(world, draw: int, shuffled: bool = False) -> NeuralDataset:
    """Forty of the labelled trials."""
    rng = np.random.default_rng(draw)
    part = world.dataset.part("train")
    trials = part.trials["sub-01_fmri"].take(np.sort(rng.permutation(N_LABELLED)[:N_FEW]))
    if shuffled:
        ids = rng.permutation(trials.table["stimulus_id"])
        trials = replace(trials, table=trials.table.replace(stimulus_id=ids))
    return replace(part, trials={trials.key: trials})


def top1(world, start: BrainDecoder | None, shuffled: bool = False) -> float:
    """Mean over four draws of the labelled trials, from a pretrained trunk or from random weights."""
    found = []
    for draw in range(4):
        decoder = world.build()
        if start is not None:
            decoder.pretrained = start.pretrained
        decoder.fit(few(world, draw, shuffled), world.embeddings, progress=False)
        found.append(world.top1(decoder))
    return float(np.mean(found))


def test_masked_patches_are_filled_in_better_than_by_the_mean(pretrained):
    assert pretrained.pretrained.error < 0.75


def test_noise_without_structure_cannot_be_filled_in(world):
    rng = np.random.default_rng(1)
    trials = world.unlabelled.trials["sub-01_fmri"]
    noise = rng.standard_normal(trials.responses.shape).astype(np.float32)
    part = replace(world.unlabelled, trials={trials.key: replace(trials, responses=noise)})
    short = replace(MASKED, train=replace(MASKED.train, n_steps=100, validate_every=50))
    error = world.build().pretrain(part, short, progress=False).pretrained.error
    assert 0.97 < error < 1.1


def test_few_labels_are_worth_more_to_a_pretrained_trunk(world, pretrained):
    alone, helped = top1(world, None), top1(world, pretrained)
    assert alone > 0.4  # chance 1/120
    assert helped > alone + 0.02


def test_with_shuffled_labels_a_pretrained_trunk_decodes_nothing(world, pretrained):
    assert top1(world, pretrained, shuffled=True) < 0.03  # chance 1/120, 480 queries of four fits


def eeg_like(shuffled: bool, n: int = 400) -> NeuralDataset:
    """Epochs of 6 channels and 32 samples made of four waves that all channels see, in noise of half their power."""
    rng = np.random.default_rng(2)
    times = np.arange(32)
    waves = np.cos(times / 3 + np.arange(4)[:, None]) * np.exp(
        -(((times - 8 * np.arange(4)[:, None]) / 10) ** 2)
    )
    sizes, heads = rng.standard_normal((n, 4)), rng.standard_normal((4, 6))
    signal = np.einsum("nk,kc,kt->nct", sizes, heads, waves)
    signal = signal / signal.std() + 0.7 * rng.standard_normal(signal.shape)
    if shuffled:  # every value keeps its distribution and loses what it has to do with the others
        signal = rng.permuted(signal, axis=0)
    table = recorded(np.full(n, "unknown"), np.zeros((n, N_VOXELS)), 0).table
    space = SensorSpace(tuple("abcdef"), np.full((6, 3), np.nan), ("eeg",) * 6)
    trials = Trials(signal.astype(np.float32), table, space, "V", 1, "eeg", sfreq=100.0, tmin=0.0)
    return NeuralDataset.from_trials([trials], StimulusSet((), "none"))


@pytest.mark.parametrize(("shuffled", "low", "high"), [(False, 0.3, 0.92), (True, 0.97, 1.1)])
def test_patches_of_channels_and_times_are_filled_in_where_channels_have_waves_in_common(shuffled, low, high):
    part = eeg_like(shuffled)
    settings = replace(
        SETTINGS,
        backbone=masked_transformer.Config(patch=8, width=24, n_layers=1, n_heads=2),
        preprocessing=(),
    )
    info = EmbeddingsInfo("planted", (1, N_DIMS), {"model": "planted"})
    decoder = BrainDecoder.build(settings, part.info, info)
    short = replace(MASKED.train, n_steps=200, batch_size=64, validate_every=100)
    assert low < decoder.pretrain(part, replace(MASKED, train=short), progress=False).pretrained.error < high
