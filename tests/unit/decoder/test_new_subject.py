"""A new subject in closed form as a user meets it: decoded, saved, refused; nothing of the others changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings, new_subject
from braindec.losses import clip
from braindec.train import Config

SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=16),
    backbone=linear.Config(),
    loss=clip.Config(),
    preprocessing=(Standardise(),),
    train=Config(n_steps=0, device="cpu"),
    n_folds=0,
    calibrate=False,
)
NEW = "sub-03_fmri"


@pytest.fixture(scope="module")
def decoder(planted):
    made = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    return made.fit(planted.dataset.part("train"), planted.embeddings, progress=False)


@pytest.fixture(scope="module")
def few(planted):
    return planted.newcomer.part("train").limit(0.3, np.random.default_rng(0))


@pytest.fixture(scope="module")
def adapted(decoder, planted, few):
    return decoder.adapt(few, planted.embeddings, method="empirical_bayes", progress=False)


@pytest.fixture
def trials(planted):
    return planted.newcomer.part("test").trials[NEW]


def test_it_is_decoded_far_above_chance_and_the_others_stay_bit_equal(adapted, decoder, planted, trials):
    assert adapted.score(trials, planted.embeddings) > 0.3  # chance 1/40
    others = planted.dataset.part("test").trials["sub-01_fmri"]
    np.testing.assert_array_equal(adapted.predict(others).values, decoder.predict(others).values)
    assert NEW not in decoder.readouts
    assert not adapted.encoder.adapters.keys() - decoder.encoder.adapters.keys()


def test_shuffled_stimuli_of_the_new_subject_are_decoded_at_chance(decoder, planted, few, trials):
    hits = []
    for seed in range(5):
        table = few.trials[NEW].table
        order = np.random.default_rng(seed).permutation(len(table["stimulus_id"]))
        wrong = replace(few.trials[NEW], table=table.replace(stimulus_id=table["stimulus_id"][order]))
        null = decoder.adapt(replace(few, trials={NEW: wrong}), planted.embeddings, method="empirical_bayes")
        hits.append(null.score(trials, planted.embeddings))
    assert np.mean(hits) < 1 / 40 + 3 * (1 / 40 / 200) ** 0.5


def test_its_covariance_is_the_error_of_its_calibration(adapted, planted, trials):
    calibration, readout = adapted.calibration(NEW), adapted.readouts[NEW]
    torch.testing.assert_close(calibration.error, readout.error)
    prediction = adapted.predict(trials, repeats="before")
    left = adapted.centred(prediction.values) - adapted.centred(planted.embeddings.of(list(prediction.ids)))
    within = (left.abs() < 1.645 * readout.error.diagonal().sqrt()).double().mean()
    assert 0.8 < within <= 0.97


def test_it_is_saved_and_loaded_to_the_same_bits(adapted, trials, tmp_path):
    adapted.save_pretrained(tmp_path)
    loaded = BrainDecoder.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.predict(trials).values, adapted.predict(trials).values)
    again = loaded.save_pretrained(tmp_path / "again")
    assert (again / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_targets_too_long_for_covariances_are_read_through_the_shared_values(
    decoder, planted, few, trials, monkeypatch
):
    monkeypatch.setattr(new_subject, "MAX_COORDINATES", 15)
    narrow = replace(SETTINGS, adapter=linear_adapter.Config(shared_dim=12))
    made = BrainDecoder.build(narrow, planted.dataset.info, planted.embeddings.info)
    made.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    found = made.adapt(few, planted.embeddings, method="empirical_bayes")
    assert found.readouts[NEW].weight.shape[0] == 12
    assert found.score(trials, planted.embeddings) > 0.2


def test_what_cannot_be_is_refused(decoder, planted, few, adapted, trials):
    with pytest.raises(ValueError, match="settings and mode"):
        decoder.adapt(few, planted.embeddings, method="empirical_bayes", mode="all")
    with pytest.raises(ValueError, match="fine_tune"):
        decoder.adapt(few, planted.embeddings, method="finetune")
    with pytest.raises(ValueError, match="closed form"):
        adapted.activations("backbone", trials)
    tiny = few.limit(0.1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="stimuli of sub-03_fmri"):
        decoder.adapt(tiny, planted.embeddings, method="empirical_bayes")


def test_a_decoder_of_another_modality_says_what_it_knows(decoder, planted, few):
    eeg = replace(few.trials[NEW], modality="eeg")
    part = replace(few, trials={eeg.key: eeg})
    with pytest.raises(ValueError, match=r"no other subject's eeg weights"):
        decoder.adapt(part, planted.embeddings, method="empirical_bayes")
