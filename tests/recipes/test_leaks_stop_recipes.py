"""A leak in the data stops every recipe before anything is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import recipe
from braindec.checks import LeakageError
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate import RidgeFitter

pytestmark = pytest.mark.slow


@pytest.fixture
def unfittable(monkeypatch):
    """Whatever is fitted is a fit too early."""

    def refuse(*args, **more):
        raise AssertionError("fitted before the audit")

    monkeypatch.setattr(BrainDecoder, "fit", refuse)
    monkeypatch.setattr(RidgeFitter, "__call__", refuse)


def plant(monkeypatch, change):
    read = recipe.NeuralData.read
    monkeypatch.setattr(recipe.NeuralData, "read", lambda self, folder: change(read(self, folder)))


def with_a_response_twice(dataset: NeuralDataset) -> NeuralDataset:
    """One response of a training trial stands for a test trial, too; of folds by run, in two runs."""
    key, trials = next(iter(dataset.trials.items()))
    responses = np.array(trials.responses[:])
    if dataset.split is None or dataset.split.unit == "run":
        runs = trials.table["run"]
        # the first run is trained on and the last one tested, in folds by run and in a split of its own
        shown, hidden = (int(np.flatnonzero(runs == r)[0]) for r in np.unique(runs)[[0, -1]])
    else:
        shown, hidden = (
            int(np.flatnonzero(dataset.split.members(trials, dataset.stimuli, part))[0])
            for part in ("train", "test")
        )
    responses[hidden] = responses[shown]
    return replace(dataset, trials={**dataset.trials, key: replace(trials, responses=responses)})


# No split of the dataset is learned from: geometries are compared as they are, brains are made from features, latents
# are read by folds of their own, networks and dictionaries learn scenes.
WITHOUT_A_SPLIT = (
    "bias_of_complexity",
    "curvature",
    "dictionary_diagnostics",
    "disentangled_eeg",
    "eeg_forecast",
    "eeg_states",
    "encoding_identification",
    "fusion",
    "guided_by_alignment",
    "ieeg_vision_language",
    "latents_in_the_brain",
    "matching_units",
    "mental_simulation",
    "predictive_learning",
    "region_pictures",
    "rsa_time_course",
    "shape_of_noise",
    "shared_response",
    "sparse_dictionaries",
    "stitching",
    "telling_apart",
    "topographic",
    "topological_rsa",
    "transcoders",
)
NAMES = [
    pytest.param(n, marks=pytest.mark.slow) if n == "demo" else n  # its world takes long
    for n in recipe.names()
    if n not in WITHOUT_A_SPLIT
]


@pytest.mark.parametrize("name", NAMES)
def test_a_response_that_is_both_trained_and_tested_stops_a_recipe_before_the_first_fit(
    name, monkeypatch, unfittable, made_in
):
    plant(monkeypatch, with_a_response_twice)
    with pytest.raises(LeakageError, match="equal_responses"):
        recipe.run(name, None, None, smoke=True, made_in=made_in(name))


def test_without_the_leak_the_fit_is_reached(monkeypatch, unfittable):
    plant(monkeypatch, lambda dataset: dataset)
    with pytest.raises(AssertionError, match="fitted before"):
        recipe.run("faces_houses_eeg", None, None, smoke=True)
