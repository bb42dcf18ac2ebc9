"""Subjects at hand tell how many subjects a decoder should know before it meets a new one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.evaluate.twin_pretraining import Pretraining, panels, pretraining, sentences
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

N, TESTED, DIMS, TOLD = 160, 40, 24, 3


@dataclass(frozen=True)
class MiniRecipe:
    protocol: str = "heldout_stimuli"
    label_column: str | None = None
    preprocessing: Any = (Standardise(),)
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Weighted:
    """A ridge whose predicted dimensions count as far as they could be told from other subjects."""

    ridge: Any
    weights: np.ndarray

    def predict(self, trials, *, repeats):
        made = self.ridge.predict(trials, repeats=repeats)
        return replace(made, values=(made.values * self.weights).astype(np.float32))

    def similarity(self, prediction, candidates, direction="image"):
        return self.ridge.similarity(prediction, candidates, direction)


RIDGE = RidgeFitter(signal_features((Standardise(),)))


def learn_weights(part, embeddings, seed):
    """How well each dimension of stimuli that were left out is told, mean over subjects."""
    half = part.stimulus_ids[::2]
    told = []
    for key, trials in part.trials.items():
        left_out = np.isin(trials.table["stimulus_id"], half)
        one = part.select([key])
        ridge = RIDGE(one.select(rows={key: ~left_out}), embeddings, seed)
        test = one.select(rows={key: left_out}).trials[key]
        made = ridge.predict(test, repeats="none").values[:, 0]
        true = embeddings.of(test.table["stimulus_id"].tolist())[:, 0]
        told.append([np.corrcoef(made[:, d], true[:, d])[0, 1] for d in range(DIMS)])
    weights = np.clip(np.mean(told, 0), 0, None) ** 2
    return Weighted(RIDGE(part, embeddings, seed), weights + 1e-3)


def from_scratch_or_others(part, embeddings, seed):
    if len(part.trials) == 1 and next(iter(part.trials.values())).n_trials < 60:  # the newcomer's few
        return RIDGE(part, embeddings, seed)
    return learn_weights(part, embeddings, seed)


def adapt(system, part, embeddings):
    return Weighted(RIDGE(part, embeddings, 0), system.weights)


def world(rng, strength, n_subjects=4, p=40):
    """Brains that follow three of 24 dimensions of what is shown."""
    values = rng.standard_normal((N, DIMS))
    names = np.array([f"picture-{i:03d}" for i in range(N)])
    made = []
    for subject in range(n_subjects):
        responses = strength * values[:, :TOLD] @ rng.standard_normal((TOLD, p)) + rng.standard_normal((N, p))
        n = np.arange(N)
        run = (n % 4).astype(str)
        table = Table({"stimulus_id": names, "session": np.full(N, "1"), "run": run, "repeat": 0 * n,
                       "onset_s": 2.0 * n, "acquisition_order": n, "exchangeability_block": run})  # fmt: skip
        made.append(Trials(responses.astype(np.float32), table, ArraySpace(p), "a.u.", subject + 1, "fmri"))
    split = Split("default", "stimulus", {"train": tuple(names[TESTED:]), "test": tuple(names[:TESTED])})
    embeddings = Embeddings(tuple(names), values.astype(np.float32)[:, None], "features", {}, "0" * 64)
    return NeuralDataset.from_trials(made, StimulusSet(tuple(names), "none"), split), embeddings


def run(rng, strength):
    dataset, embeddings = world(rng, strength)
    return pretraining(MiniRecipe(), dataset, embeddings, share=0.3, n_orders=2, fit=from_scratch_or_others,
                       adapt=adapt, progress=False)  # fmt: skip


def test_what_others_teach_is_found(rng):
    found = run(rng, 0.6)
    means = found.means()
    assert found.numbers == (0, 1, 2, 3)
    assert found.values.shape == (4, 4, 2)
    assert means[3] > means[0] + 0.02
    assert found.gain(3).high > 0
    assert found.needed(float(means[0])) == 0
    assert found.needed(float(means[1:].max())) >= 1
    assert found.needed(0.999) is None
    assert found.chance == pytest.approx(1 / TESTED)
    said = sentences(found, 0.999)
    assert "not reached after 3 subjects" in said[-1] and "over scratch" in said[1]
    assert panels(found)[0][2]["step"].tolist() == [0, 1, 2, 3]


def test_brains_without_signal_gain_nothing_from_others(rng):
    found = run(rng, 0.0)
    assert found.means() == pytest.approx(found.chance, abs=0.035)
    interval = found.gain(3)
    assert interval.low < 0.02 and found.needed(0.5) is None


def test_more_subjects_than_there_are_others_are_refused(rng):
    dataset, embeddings = world(rng, 0.5, n_subjects=2)
    with pytest.raises(ValueError, match="largest of numbers"):
        pretraining(MiniRecipe(), dataset, embeddings, numbers=(0, 2), progress=False)


def test_one_newcomer_has_no_interval():
    found = Pretraining("image_retrieval_top1", 0.1, (0, 1), np.array([[[0.1, 0.2]], [[0.3, 0.4]]]), 0.01)
    assert found.gain(1) is None
    assert len(sentences(found)) == 1
    assert "1 subjects known before are enough" in sentences(found, 0.3)[-1]
