"""Other candidates for trials that are decoded already: against enumeration, and where the planted answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from braindec import evaluate
from braindec.checks import ConfigError
from braindec.evaluate.candidate_pools import means, measured_among
from braindec.evaluate.decoded import Decoded
from braindec.types import Table

CLASSES = ("a", "b", "c", "d", "e")


def decoded_of(prediction, truth, similarity, names=(), fold=None):
    n = len(prediction)
    fold = torch.zeros(n, dtype=torch.long) if fold is None else fold
    ids = tuple(f"s{i:03d}" for i in range(n))
    return Decoded(
        "sub-01_fmri", ids, prediction, truth, fold, Table({"stimulus_id": np.array(ids)}), similarity, names
    )


def among(option, metric, decoded, protocol, labels=None):
    return measured_among(
        option, metric, decoded, evaluate.protocol_named(protocol), labels, np.random.default_rng(0)
    )


def test_pools_of_classes_are_the_mean_over_every_pool_that_holds_the_truth(rng):
    labels = rng.choice(CLASSES, 60)
    similarity = torch.from_numpy(rng.standard_normal((60, 5)))
    zeros = torch.zeros(60, 1)
    found = among("pools of 3", "category_accuracy", decoded_of(zeros, zeros, similarity, CLASSES),
                  "leave_one_run_out_categories", labels)  # fmt: skip
    wins = []
    for row, label in zip(similarity.numpy(), labels, strict=True):
        own = CLASSES.index(label)
        others = [c for c in range(5) if c != own]
        wins.append(np.mean([row[own] > row[list(pool)].max() for pool in combinations(others, 2)]))
    assert found.per_sample == pytest.approx(wins)
    assert found.value == pytest.approx(np.mean(wins)) and found.chance == pytest.approx(1 / 3)
    assert found.interval[0] < 1 / 3 < found.interval[1]  # nothing was decoded


def test_whoever_knows_the_class_alone_has_nothing_among_its_class(rng):
    labels = np.repeat(["six", "nine"], 30)
    centre = {"six": rng.standard_normal(40), "nine": rng.standard_normal(40)}
    truth = torch.from_numpy(np.stack([centre[c] + rng.standard_normal(40) for c in labels]))
    guess = torch.from_numpy(np.stack([centre[c] + rng.standard_normal(40) for c in labels]))
    decoded = decoded_of(guess, truth, torch.zeros(60, 0))
    whole, within = (
        among(option, "pairwise_identification", decoded, "heldout_stimuli_folds", labels)
        for option in ("of the protocol", "of its class")
    )
    assert whole.value > 0.65 and whole.interval[0] > 0.5
    assert within.interval[0] < 0.5 < within.interval[1]


def test_trials_of_all_folds_are_ranked_together(rng):
    fold = torch.arange(80) % 2
    labels = np.where(np.arange(80) // 2 % 2 == 0, "face", "house")
    margin = (
        torch.from_numpy((labels == "house") * 1.0) + 5.0 * fold
    )  # perfect in a run, and runs have levels
    similarity = torch.stack([torch.zeros(80, dtype=torch.float64), margin], 1)
    decoded = decoded_of(torch.zeros(80, 1), torch.zeros(80, 1), similarity, ("face", "house"), fold)
    own, together = (
        among(option, "roc_auc", decoded, "leave_one_run_out_auc", labels)
        for option in ("of the protocol", "of all folds")
    )
    assert own.value == 1.0 and together.value == pytest.approx(0.75)


def test_options_that_say_nothing_of_a_metric_are_known_and_unknown_ones_refused():
    assert means("of the protocol", "roc_auc") and means("of all folds", "roc_auc")
    assert not means("of its class", "roc_auc") and not means("pools of 4", "pairwise_identification")
    with pytest.raises(ConfigError, match="Did you mean 'of its class'"):
        means("of his class", "roc_auc")
    nothing = decoded_of(torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4, 0))
    with pytest.raises(ConfigError, match="mean nothing"):
        among("of all folds", "pairwise_identification", nothing, "heldout_stimuli_folds")
