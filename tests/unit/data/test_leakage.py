"""Training and test data that share too much are refused, whatever path they came by."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, leakage


def test_parts_of_one_split_pass_with_a_verdict_in_json(prepared):
    dataset = NeuralDataset.read(prepared)
    verdict = leakage.check(dataset.part("train"), dataset.part("test"), images=True)
    assert json.loads(json.dumps(verdict)) == verdict
    shared = {
        key: verdict[key] for key in ("shared_trials", "shared_units", "shared_stimuli", "equal_images")
    }
    assert shared == dict.fromkeys(shared, 0)
    assert (
        verdict["shared_runs"] == 4
    )  # of each subject the two runs that show the held-out stimuli: reported, allowed


def test_a_split_by_run_may_share_stimuli_but_says_how_many(prepared):
    dataset = NeuralDataset.read(prepared, split="runs")
    verdict = leakage.check(dataset.part("train"), dataset.part("test"))
    assert verdict["shared_stimuli"] == 10 and verdict["shared_runs"] == 0


def test_equal_trials_and_equal_stimuli_are_refused(prepared):
    dataset = NeuralDataset.read(prepared)
    train = dataset.part("train")
    with pytest.raises(checks.LeakageError, match="trials"):
        leakage.check(train, train)
    first, second = (train.select(rows=lambda t, r=r: t.table["repeat"] == r) for r in (0, 1))
    with pytest.raises(checks.LeakageError, match="stimulus"):
        leakage.check(first, second)


def test_equal_pictures_under_other_names_are_refused(prepared):
    dataset = NeuralDataset.read(prepared)
    original = dataset.stimuli

    def read(ids):
        return original.images(["s000" if i == "s019" else i for i in ids])

    twin = replace(dataset, stimuli=replace(original, read=read))
    assert leakage.check(twin.part("train"), twin.part("test"))["shared_stimuli"] == 0
    with pytest.raises(checks.LeakageError, match="s000 = s019"):
        leakage.check(twin.part("train"), twin.part("test"), images=True)


def test_near_duplicates_are_found_by_their_embeddings(rng):
    train = rng.standard_normal((50, 30))
    test = rng.standard_normal((20, 30))
    test[7] = 3.0 * train[31] + 0.01 * rng.standard_normal(30)
    assert np.flatnonzero(leakage.near_duplicates(train, test)).tolist() == [7]
