"""A decoder whose subjects are aligned is fitted, cross-fitted, saved and taught a new subject like any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset
from braindec.data.preprocessing import AlignShared, SelectReliable, Standardise
from braindec.decoder import BrainDecoder, Settings, learning
from braindec.losses import clip
from braindec.train import Config

SETTINGS = Settings(
    adapter=linear_adapter.Config(shared_dim=12),
    backbone=linear.Config(),
    loss=clip.Config(),
    preprocessing=(Standardise(), SelectReliable(threshold=0.5), AlignShared(12)),
    train=Config(n_steps=20, batch_size=64, validate_every=10, device="cpu"),
)


@pytest.fixture(scope="module")
def decoder(planted):
    made = BrainDecoder.build(SETTINGS, planted.dataset.info, planted.embeddings.info)
    return made.fit(planted.dataset.part("train"), planted.embeddings, progress=False)


def top1(decoder, planted, trials):
    test = planted.dataset.part("test").stimulus_ids
    gallery = replace(planted.embeddings, ids=test, values=planted.embeddings.of(test))
    found, _ = decoder.retrieve(trials, gallery, 1, repeats="before")
    ids = decoder.predict(trials, repeats="before").ids
    return np.mean([row[0] == i for row, i in zip(found, ids, strict=True)])


def test_held_out_stimuli_are_retrieved_from_the_shared_response(decoder, planted):
    for key, trials in planted.dataset.part("test").trials.items():
        assert decoder.preprocessing[key].signal.shape == (12,)
        assert top1(decoder, planted, trials) > 0.4  # chance 1/40


def test_it_is_saved_with_what_it_was_aligned_on(decoder, planted, tmp_path):
    decoder.save_pretrained(tmp_path)
    again = BrainDecoder.from_pretrained(tmp_path)
    for key, trials in planted.dataset.part("test").trials.items():
        np.testing.assert_array_equal(again.predict(trials).values, decoder.predict(trials).values)
        assert np.array_equal(again.preprocessing[key].aligned_rows, decoder.preprocessing[key].aligned_rows)
        assert (
            len(again.preprocessing[key].aligned_rows) == 720
        )  # both subjects' 120 stimuli, three times each


def test_a_new_subject_joins_the_shared_response(decoder, planted):
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    before = decoder.predict(trials).values
    adapted = decoder.adapt(planted.newcomer.part("train"), planted.embeddings, progress=False)
    np.testing.assert_array_equal(adapted.predict(trials).values, before)
    assert top1(adapted, planted, planted.newcomer.part("test").trials["sub-03_fmri"]) > 0.4
    shared = [adapted.preprocessing[k].states[2]["shared"] for k in ("sub-01_fmri", "sub-03_fmri")]
    np.testing.assert_array_equal(*shared)


def test_folds_are_aligned_without_what_they_hold_out_and_keep_one_shape(decoder, planted):
    """Held-out rows of every subject are spoiled: what the fold makes of the kept rows does not change."""
    part = planted.dataset.part("train")
    held = {key: np.isin(t.table["stimulus_id"], part.stimulus_ids[:40]) for key, t in part.trials.items()}
    spoiled = [
        replace(t, responses=np.where(held[k][:, None], 1e3, np.asarray(t.responses)).astype(np.float32))
        for k, t in part.trials.items()
    ]
    made = []
    for trials in (part.trials.values(), spoiled):
        data = NeuralDataset.from_trials(trials, part.stimuli)
        sets = dict.fromkeys(data.keys)
        refit = learning.refit_of(decoder, data, sets | {k: _Signals() for k in sets}, None)
        found = refit({key: np.flatnonzero(~rows) for key, rows in held.items()})
        made.append({key: np.asarray(x)[~held[key]] for key, x in found.items()})
    for key in part.trials:
        assert made[0][key].shape[1] == 12
        np.testing.assert_array_equal(made[0][key], made[1][key])


class _Signals:
    """Signals that are not looked at, for all steps here have statistics."""

    signals = None
