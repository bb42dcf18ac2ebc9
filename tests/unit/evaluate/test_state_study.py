"""The study of states: systems are judged on the same folds, person by person, and beside refits that know nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import recipe
from braindec.backbones import functional, sensor_graph
from braindec.checks import LeakageError
from braindec.data.simulated import eeg_states
from braindec.evaluate import RidgeFitter, signal_features, state_study
from braindec.evaluate.state_study_report import at_own_group, grouping

SMALL = eeg_states.Settings(n_people=3, n_runs=3, n_trials=24, noise=0.3)


@pytest.fixture(scope="module")
def chosen():
    return recipe.load("eeg_states").recipe


def test_grouping_is_how_often_a_pair_of_one_group_has_the_stronger_link(rng):
    groups = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0]], bool)
    links = rng.normal(size=(7, 7))
    links += links.T
    pairs = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    inside = {(0, 1), (0, 2), (1, 2), (3, 4)}
    wins = [links[a] > links[b] for a in inside for b in pairs if b not in inside]
    assert grouping(links, groups) == pytest.approx(np.mean(wins))
    assert grouping(groups.T.astype(float) @ groups, groups) == 1


def test_sensitivity_is_what_a_larger_signal_at_a_sensor_does_to_a_score(generator):
    """Against finite differences of a network of power."""
    network = sensor_graph.build((5, 48), {"main": (1, 3)}, sensor_graph.Config()).double().eval()
    x = torch.randn(4, 5, 48, generator=generator, dtype=torch.float64)
    found = state_study.sensitivity(network, x)
    expected = np.zeros((3, 5))
    with torch.no_grad():
        for sensor in range(5):
            ends = [x.clone(), x.clone()]
            ends[0][:, sensor] *= 1 - 1e-4
            ends[1][:, sensor] *= 1 + 1e-4
            low, high = (network(one)["main"][:, 0].mean(0).numpy() for one in ends)
            expected[:, sensor] = (high - low) / 2e-4
    np.testing.assert_allclose(found, expected - expected.mean(0), atol=1e-5)


def test_maps_at_their_own_groups_have_an_area_of_one_and_at_others_groups_less(rng):
    groups = eeg_states.members()
    assert at_own_group(groups + 0.1 * rng.random(groups.shape), groups) == 1
    assert at_own_group(np.roll(groups, 1, 0).astype(float), groups) < 0.5


@pytest.mark.parametrize(("unit", "n_folds"), [("run", 3), ("session", 3)])
def test_every_trial_is_judged_once_by_a_system_that_saw_neither_its_run_nor_person(chosen, unit, n_folds):
    exam = state_study.exam_of(chosen, eeg_states.responses(SMALL, 0.0), unit)
    assert len(exam.folds) == n_folds
    found = state_study.judged("ridge", RidgeFitter(signal_features(chosen.preprocessing)), exam, 2)
    assert found.confusion.sum() == 3 * 3 * 24
    assert found.accuracy.shape == (3,)
    assert found.accuracy.mean() == pytest.approx(found.confusion.trace() / found.confusion.sum())
    assert found.accuracy.min() > 0.9
    assert np.abs(found.null - 1 / 3).max() < 0.2  # 216 trials, 4 standard errors and the folds' dependence


def test_a_response_in_two_runs_stops_the_study(chosen):
    dataset = eeg_states.states(SMALL)
    ((key, trials),) = dataset.trials.items()
    responses = np.array(trials.responses[:])
    responses[30] = responses[2]
    leaky = replace(dataset, trials={key: replace(trials, responses=responses)})
    with pytest.raises(LeakageError, match="equal_responses"):
        state_study.decoded_by_all(chosen, {}, state_study.exam_of(chosen, leaky, "run"), {})


def test_a_study_without_one_of_its_networks_or_without_aligned_responses_is_refused(chosen):
    with pytest.raises(ValueError, match="fixed times"):
        state_study.state_study(chosen, {"functional": functional.Config()}, state_study.Settings())
    with pytest.raises(ValueError, match="begin with 0"):
        state_study.Settings(jitters_s=(0.1, 0.2))
