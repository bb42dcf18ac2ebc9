"""What is silenced costs what it carried; a window of time knows what happened in it; imagery has its permutation."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.data.epoch_steps import Vectorise
from braindec.decoder import Prediction
from braindec.evaluate import imagery, network_ablation, windows
from braindec.evaluate.systems import RidgeFitter, signal_features
from braindec.types import ArraySpace, SensorSpace

METRIC = "image_retrieval_top1"
RECIPE = SimpleNamespace(protocol="heldout_stimuli", preprocessing=(), seed=0)


@pytest.fixture(scope="module")
def half_silent(planted):
    """The first subject, whose voxels from the 20th on are noise, in regions that say so."""
    trials = planted.dataset.trials["sub-01_fmri"]
    n = trials.space.n_features
    told = np.arange(n) < 20
    noise = np.random.default_rng(0).standard_normal(trials.responses.shape)
    changed = replace(
        trials,
        responses=np.where(told, trials.responses, noise).astype(np.float32),
        space=ArraySpace(n, {"told": told, "noise": ~told}),
    )
    return NeuralDataset.from_trials([changed], planted.dataset.stimuli, planted.dataset.split)


def test_silencing_costs_what_a_region_carried_and_nothing_else(half_silent, planted):
    system = RidgeFitter(signal_features(()))(half_silent.part("train"), planted.embeddings, 0)
    networks = network_ablation.regions(half_silent, ("told", "noise"))
    told, noise = network_ablation.network_ablation(
        system, RECIPE, half_silent, planted.embeddings, networks, METRIC, n_draws=2
    )
    assert (told["n_voxels"], told["network"], noise["network"]) == (20, "told", "noise")
    assert told["intact"] > 0.3
    assert told["cost"] > told["intact"] - 0.1
    assert told["interval"][0] > 0
    assert told["without"] > told["intact"] - 0.1
    assert abs(noise["cost"]) < 0.15
    assert noise["interval"][0] <= 0
    assert told["cost"] > told["random"]


def test_silenced_values_are_the_mean_of_their_session_and_the_others_stay(half_silent):
    trials = half_silent.trials["sub-01_fmri"]
    seen = {}

    class Looks:
        def predict(self, trials, *, repeats):
            seen["responses"] = trials.responses

    means = network_ablation.session_means(trials)
    silent = trials.space.regions["noise"]
    network_ablation.Silenced(Looks(), {trials.key: means}, {trials.key: silent}).predict(
        trials, repeats="none"
    )
    np.testing.assert_array_equal(seen["responses"][:, ~silent], trials.responses[:, ~silent])
    expected = np.broadcast_to(trials.responses.mean(0)[silent], (trials.n_trials, silent.sum()))
    np.testing.assert_allclose(seen["responses"][:, silent], expected, rtol=1e-5)


@pytest.fixture(scope="module")
def epochs(planted):
    """The first subject's responses in the samples 5 to 9 of 20 (0 to 0.04 s), noise in all others."""
    trials = planted.dataset.trials["sub-01_fmri"]
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((*trials.responses.shape, 20))
    signal[:, :, 5:10] += 2 * trials.responses[:, :, None]
    n = trials.space.n_features
    positions = rng.standard_normal((n, 3))
    changed = replace(
        trials, responses=signal.astype(np.float32), modality="eeg", sfreq=100.0, tmin=-0.05, units="V",
        space=SensorSpace(tuple(f"E{i}" for i in range(n)), positions, ("eeg",) * n),
    )  # fmt: skip
    return NeuralDataset.from_trials([changed], planted.dataset.stimuli, planted.dataset.split)


def test_a_window_knows_what_happened_in_it(epochs, planted):
    system = RidgeFitter(signal_features((Vectorise(),)))(epochs.part("train"), planted.embeddings, 0)
    bounds = np.array([[-0.05, -0.01], [0.0, 0.04], [0.05, 0.14]])
    found = windows.by_window(
        system, RECIPE, epochs, planted.embeddings, bounds, METRIC, steps=(Vectorise(),), n_null=2
    )
    before, during, after = found.ridge["sub-01_eeg"]
    assert during.value > 0.4 > 0.2 > max(before.value, after.value)
    told = [m.value for m in found.told["sub-01_eeg"]]
    assert told[1] > 0.4 > 0.2 > max(told[0], told[2])
    assert found.null["sub-01_eeg"].shape == (3, 2)
    assert found.null["sub-01_eeg"].max() < 0.2


def test_windows_slide_and_grow():
    np.testing.assert_allclose(windows.sliding(0, 0.3, 0.1, 0.1), [[0, 0.1], [0.1, 0.2], [0.2, 0.3]])
    np.testing.assert_allclose(windows.growing(0, 0.3, 0.1), [[0, 0.1], [0, 0.2], [0, 0.3]])


def test_every_sensor_lies_in_one_group_and_left_is_left(epochs):
    groups = network_ablation.sensor_groups(epochs)
    members = np.stack([found["sub-01_eeg"] for found in groups.values()])
    positions = epochs.trials["sub-01_eeg"].space.positions
    assert (members.sum(0) == 1).all()
    assert (positions[groups["left"]["sub-01_eeg"], 0] < 0).all()
    assert (positions[groups["posterior"]["sub-01_eeg"], 1] < 0).all()


class Knows:
    """A system that predicts every stimulus' own embedding, or noise."""

    def __init__(self, embeddings, wrong=False):
        self.embeddings, self.wrong = embeddings, wrong

    def predict(self, trials, *, repeats):
        ids = tuple(sorted(set(trials.table["stimulus_id"].tolist())))
        values = self.embeddings.of(ids)
        if self.wrong:
            values = np.random.default_rng(2).standard_normal(values.shape).astype(np.float32)
        return Prediction(ids, values, trials.table, np.ones(len(ids), int), trials.key)

    def similarity(self, prediction, candidates, direction="image"):
        return torch.from_numpy(prediction.values[:, 0] @ candidates[:, 0].T)


def test_imagery_that_is_known_passes_its_permutation_test_and_noise_does_not(planted):
    trials = planted.dataset.part("test").trials
    known, noise = (
        imagery.imagery(Knows(planted.embeddings, wrong), trials, planted.embeddings, protocol="test", seed=0,
                        n_permutations=199)[0]
        for wrong in (False, True)
    )  # fmt: skip
    assert known.value > 0.9
    assert known.p == pytest.approx(1 / 200)
    assert known.null == pytest.approx(0.5, abs=0.03)
    assert 0.35 < noise.value < 0.65
    assert noise.p > 0.01


def test_two_way_counts_ties_as_half_and_never_the_own_picture():
    wins = imagery.two_way(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    assert wins.isnan().tolist() == [[True, False], [False, True]]
    assert (wins[0, 1], wins[1, 0]) == (0.5, 1.0)


def test_a_session_without_training_trials_is_named(half_silent):
    trials = half_silent.trials["sub-01_fmri"]
    means = {trials.key: network_ablation.session_means(trials)}
    other = replace(trials, table=trials.table.replace(session=np.full(trials.n_trials, "9")))
    blind = network_ablation.Silenced(None, means, {trials.key: trials.space.regions["noise"]})
    with pytest.raises(ValueError, match=r"session of training trials must be one of .*got '9'"):
        blind.predict(other, repeats="none")
