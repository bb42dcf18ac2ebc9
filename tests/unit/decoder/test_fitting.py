"""Between trials and trained modules: what folds leave behind, what is held out, what stays frozen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from braindec import train
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, cross_fit, fitting, learning
from braindec.decoder.calibration import MAX_DIMS
from braindec.losses import mse
from braindec.types import EmbeddingsInfo

TRAIN = train.Config(n_steps=0, device="cpu")
SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=16), backbone=linear.Config(), loss=mse.Config(),
    preprocessing=(Standardise(),), train=TRAIN,
)  # fmt: skip


def test_every_stimulus_is_calibrated_with_where_repeats_are_unequal(planted, monkeypatch):
    """One trial too few in one fold must not leave the other folds' stimuli out."""
    seen: dict[int, int] = {}
    calibrate = cross_fit.CrossFit

    def spy(log, held_out, told):
        seen.update({i: int(rows.sum()) for i, (_, _, rows) in enumerate(held_out.values())})
        return calibrate(log, held_out, told)

    monkeypatch.setattr(cross_fit, "CrossFit", spy)
    part = planted.dataset.part("train")
    fewer = {k: t.take(np.arange(1, t.n_trials)) for k, t in part.trials.items()}
    decoder = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    decoder.fit(replace(part, trials=fewer), planted.embeddings, prior=False, progress=False)
    assert list(seen.values()) == [120, 120]


class Memory(nn.Module):
    """A prior that records what it is trained and validated on."""

    closed_form = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.trained: set[float] = set()
        self.validated: set[float] = set()

    def start_(self, conditions, targets, told):
        """Nothing to take."""

    def objective(self, brain, image, generator, told):
        (self.trained if self.training else self.validated).update(image.flatten().tolist())
        return (self.weight - image.mean()) ** 2

    def calibrate_(self, brain, image, generator, told):
        self.validated.update(image.flatten().tolist())


def test_a_prior_is_validated_on_stimuli_it_never_trains_on():
    """Every stimulus comes five times: from other subjects, and as single trials."""
    targets = torch.arange(40.0).repeat(5)[:, None, None]
    prior = Memory()
    settings = train.Config(n_steps=40, batch_size=50, validate_every=10, device="cpu")
    learning.fit_prior(prior, torch.randn(200, 1, 1), targets, settings, 0, None, False)
    assert prior.validated and not prior.trained & prior.validated
    assert len(prior.trained | prior.validated) == 40


def test_a_frozen_trunk_keeps_its_running_statistics():
    class Signals(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adapter, self.norm = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(self.adapter(x))

    encoder = Signals()
    trainee = cross_fit._trainee(encoder, {}, {}, ("adapter.",), None, 0)
    trainee.train()
    trainee(torch.randn(50, 3) + 4)
    assert torch.equal(encoder.norm.running_mean, torch.zeros(3))
    assert not torch.equal(encoder.adapter.running_mean, torch.zeros(3))


def test_an_embedding_too_long_to_calibrate_is_refused_before_training(planted):
    info = EmbeddingsInfo("long", (3, MAX_DIMS), {})
    with pytest.raises(ValueError, match="calibrate=false"):
        BrainDecoder.build(SETTINGS, planted.dataset.info, info)


def test_folds_within_training_follow_the_units_of_the_split(planted):
    part = planted.dataset.part("train")
    trials = part.trials["sub-01_fmri"]
    assert fitting.inner_units(part, trials).tolist() == trials.table["stimulus_id"].tolist()
    whole_subjects = replace(part, split=replace(part.split, unit="subject"))
    assert fitting.inner_units(whole_subjects, trials).tolist() == trials.table["stimulus_id"].tolist()
    runs = replace(part, split=replace(part.split, unit="run"))
    assert fitting.inner_units(runs, trials).tolist() == trials.table["run"].astype(str).tolist()


def test_similarity_refuses_predictions_of_nobody(planted):
    """A prediction without its subject would silently be compared without that subject's calibration."""
    decoder = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, prior=False, progress=False)
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    prediction = decoder.predict(trials, repeats="before")
    gallery = planted.embeddings.of(prediction.ids)
    assert decoder.similarity(prediction, gallery).shape == (40, 40)
    with pytest.raises(ValueError, match="subject must be one of"):
        decoder.similarity(replace(prediction, key=""), gallery)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_decoder_on_a_gpu_decodes_as_on_the_cpu(planted):
    decoder = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, prior=False, progress=False)
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    here = decoder.predict(trials)
    there = decoder.cuda().predict(trials)
    np.testing.assert_allclose(here.values, there.values, rtol=1e-3, atol=1e-3)
    assert decoder.similarity(there, there.values).device.type == "cpu"
