"""What judging refuses, and that its nulls, units and classes are those of the score beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import splits
from braindec.decoder import BrainDecoder, Prediction, Settings
from braindec.evaluate.decoded import Decoded, candidates_of
from braindec.evaluate.measures import auc_over_folds, measure
from braindec.evaluate.measures import values as bare_values
from braindec.evaluate.pictures import first
from braindec.losses import mse
from braindec.train import Config
from braindec.types import Table

FOLDS = evaluate.protocol_named("heldout_stimuli_folds")


def decoded(rng, ids, fold, noise=1.0, candidates=()) -> Decoded:
    number = np.unique(ids, return_inverse=True)[1]
    truth = torch.from_numpy(rng.standard_normal((number.max() + 1, 20)))[number]
    made = truth + noise * torch.from_numpy(rng.standard_normal(truth.shape))
    n = len(ids)
    table = Table({"stimulus_id": np.array(ids), "session": np.ones(n, int), "run": np.ones(n, int),
                   "repeat": np.zeros(n, int), "onset_s": np.arange(n) * 1.0, "acquisition_order": np.arange(n),
                   "exchangeability_block": np.ones(n, int)})  # fmt: skip
    similarity = torch.zeros(n, len(candidates))
    return Decoded("sub-01_fmri", tuple(ids), made, truth, torch.tensor(fold), table, similarity, candidates)


def test_the_null_is_of_the_same_number_as_the_score(rng):
    """Folds of two and twelve items: the share of all pairs is not the mean of the items' shares."""
    found = decoded(rng, [f"s{i:02d}" for i in range(14)], [0] * 2 + [1] * 12, noise=4.0)
    labels = np.array(["x"] * 14)
    measured = evaluate.measure(found, FOLDS, labels, rng)
    null = bare_values(found, FOLDS, labels)
    for name in FOLDS.metrics:
        assert null[name] == pytest.approx(measured[name].value)
    assert measured[name].value != pytest.approx(measured[name].per_sample.mean())


def test_trials_of_one_stimulus_are_neither_distractors_nor_independent(rng):
    """Six copies of every row tell no more than one of them."""
    ids = [f"s{i:02d}" for i in range(15)]
    one = decoded(rng, ids, [0] * 15, noise=2.0)
    rows = np.repeat(np.arange(15), 6)
    many = replace(
        one, ids=tuple(ids[i] for i in rows), prediction=one.prediction[rows], truth=one.truth[rows],
        fold=one.fold[rows], table=one.table.take(rows), similarity=one.similarity[rows],
    )  # fmt: skip
    labels = np.array(["x"] * 90)
    single = evaluate.measure(one, FOLDS, labels[:15], rng)["pairwise_identification"]
    repeated = evaluate.measure(many, FOLDS, labels, rng)["pairwise_identification"]
    assert repeated.value == pytest.approx(single.value)
    assert repeated.interval == pytest.approx(single.interval, abs=1e-6)


def test_a_split_of_less_than_the_protocol_holds_out_is_refused(planted):
    """By run, the same stimuli are trained on and retrieved."""
    runs = splits.leave_one_out(planted.dataset, "run")[:1]
    protocol = evaluate.protocol_named("heldout_stimuli")
    with pytest.raises(ValueError, match=r"holds out by stimulus or concept.*by run"):
        evaluate.cross_decode(evaluate.fit_mean, planted.dataset, planted.embeddings, runs, protocol, 0)


def test_folds_with_galleries_of_their_own_are_refused(planted):
    folds = splits.k_fold(planted.dataset, "stimulus", 4, np.random.default_rng(0))
    protocol = evaluate.protocol_named("heldout_stimuli")
    with pytest.raises(ValueError, match="different candidates"):
        evaluate.cross_decode(evaluate.fit_mean, planted.dataset, planted.embeddings, folds, protocol, 0)


def test_a_class_is_the_mean_of_its_training_stimuli(planted):
    protocol = evaluate.protocol_named("leave_one_run_out_categories")
    training, test = planted.dataset.part("train"), planted.dataset.part("test")
    names, values = candidates_of(protocol, planted.dataset, training, test, planted.embeddings, "category")
    category = dict(zip(planted.dataset.stimuli.ids, planted.dataset.stimuli.table["category"], strict=True))
    for name, value in zip(names, values, strict=True):
        ids = [i for i in training.stimulus_ids if category[i] == name]
        np.testing.assert_allclose(value, planted.embeddings.of(ids).mean(0), rtol=1e-5)


def test_chance_is_that_of_the_classes_there_are_to_choose_from(rng):
    found = decoded(rng, [f"s{i}" for i in range(8)], [0] * 8, candidates=("a", "b", "c", "d"))
    protocol = evaluate.protocol_named("leave_one_run_out_categories")
    labels = np.array(["a", "b"] * 4)  # two of four classes occur
    assert evaluate.measure(found, protocol, labels, rng)["category_accuracy"].chance == 0.25


def test_an_area_under_the_roc_of_three_classes_is_refused(rng):
    found = decoded(rng, [f"s{i}" for i in range(6)], [0] * 6, candidates=("a", "b", "c"))
    protocol = evaluate.protocol_named("leave_one_run_out_auc")
    with pytest.raises(ValueError, match="two classes"):
        evaluate.measure(found, protocol, np.array(["a", "b", "c"] * 2), rng)


def test_where_lower_is_better_p_counts_nulls_that_are_lower():
    low = evaluate.Measured("mse", 0.1, (0.0, 0.2), 1.0, 9, "lower", np.full(9, 0.1))
    judged = evaluate.Judged(
        "braindec", {}, {"sub-01_fmri": {"mse": low}}, {"sub-01_fmri": {"mse": np.full(19, 1.0)}}
    )
    (row,) = evaluate.scores_of(judged, FOLDS)
    assert row.p == pytest.approx(1 / 20)


def test_a_decoder_that_saw_the_test_part_is_not_judged_on_it(planted):
    settings = Settings(
        linear_adapter.Config(shared_dim=16), linear.Config(), mse.Config(), calibrate=False, n_folds=0,
        train=Config(n_steps=0, device="cpu"),
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset, planted.embeddings, progress=False)
    with pytest.raises(ValueError, match="fitted on other trials of sub-01_fmri"):
        evaluate.held_out(decoder, settings, planted.dataset, planted.embeddings)


def test_the_first_predictions_still_say_whose_they_are(rng):
    found = decoded(rng, ["b", "a", "c"], [0] * 3)
    prediction = Prediction(
        found.ids, found.prediction.numpy()[:, None], found.table, np.ones(3, int), "sub-01_fmri"
    )
    taken = first(prediction, 2)
    assert taken.ids == ("a", "b")
    assert taken.key == "sub-01_fmri"


@pytest.mark.parametrize("n_folds", [6, 7])
def test_a_perfect_area_over_folds_is_not_certain(n_folds):
    """Six folds' shares do not sum to exactly one, and the interval must not close on that."""
    fold = np.repeat(np.arange(n_folds), 7)
    positive = np.tile(np.arange(7) % 2 == 0, n_folds)
    value, (low, high) = auc_over_folds(positive * 1.0, positive, fold)
    assert value == pytest.approx(1.0)
    assert 0.8 < low < 0.98 and high == 1.0


def test_n_counts_stimuli_and_not_the_rows_that_repeat_them_over_folds(rng):
    ids = np.tile([f"s{i:02d}" for i in range(12)], 3)  # twelve stimuli, each seen in each of three folds
    rows = decoded(rng, ids, np.repeat([0, 1, 2], 12))
    found = measure(rows, FOLDS, np.where(ids < "s06", "six", "nine"), rng)
    assert {name: m.n for name, m in found.items()} == dict.fromkeys(FOLDS.metrics, 12)
    assert all(len(m.per_sample) == 36 for m in found.values())
