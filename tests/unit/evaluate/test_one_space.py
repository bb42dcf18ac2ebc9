"""Predictions of one brain looked for among another's, and which stimuli of a part keep their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.data import NeuralDataset
from braindec.decoder import Prediction
from braindec.evaluate.masked_pretraining import with_labels
from braindec.evaluate.one_space import across_brains


class Knows:
    """A decoder that predicts every stimulus' embedding, or for one brain that of another stimulus."""

    def __init__(self, embeddings, wrong=""):
        self.embeddings, self.wrong = embeddings, wrong

    def predict(self, trials, *, repeats):
        assert repeats == "after"
        ids = tuple(np.random.default_rng(1).permutation(sorted(set(trials.table["stimulus_id"].tolist()))))
        shown = tuple(sorted(ids)[1:] + sorted(ids)[:1]) if trials.key == self.wrong else tuple(sorted(ids))
        told = dict(zip(sorted(ids), shown, strict=True))
        values = self.embeddings.of([told[i] for i in ids])
        return Prediction(ids, values, trials.table, np.ones(len(ids), int), trials.key)


@pytest.fixture
def two(planted):
    """The planted subjects, the second one taken for EEG."""
    trials = list(planted.dataset.trials.values())
    both = [trials[0], replace(trials[1], modality="eeg")]
    return NeuralDataset.from_trials(both, planted.dataset.stimuli, planted.dataset.split)


def test_brains_that_say_the_same_find_each_other_and_others_do_not(two, planted):
    right, wrong = Knows(planted.embeddings), Knows(planted.embeddings, wrong="sub-02_eeg")
    scores = across_brains(right, two, protocol="test", seed=0, shuffled=wrong)
    assert [(s.system, s.subject, s.modality, s.value) for s in scores] == [
        ("braindec", 1, "fmri", 1.0), ("braindec", 2, "eeg", 1.0), ("shuffled", 1, "fmri", 0.0),
        ("shuffled", 2, "eeg", 0.0),
    ]  # fmt: skip
    assert scores[0].chance == pytest.approx(1 / 40)
    assert scores[0].null == pytest.approx(1 / 40, abs=0.01)
    assert scores[0].p == pytest.approx(0.001)
    assert scores[2].p == 1.0


def test_all_repeats_of_as_many_stimuli_keep_their_labels(two):
    part = two.part("train")
    few = with_labels(part, 30)
    for key, trials in few.trials.items():
        told = set(trials.table["stimulus_id"].tolist())
        whole = part.trials[key].table["stimulus_id"]
        assert len(told) == 30
        assert trials.n_trials == int(np.isin(whole, list(told)).sum()) == 90
    again = with_labels(part, 30).trials["sub-01_fmri"].table["stimulus_id"]
    np.testing.assert_array_equal(few.trials["sub-01_fmri"].table["stimulus_id"], again)
