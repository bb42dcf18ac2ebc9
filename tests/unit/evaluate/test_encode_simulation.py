"""Films held out whole: brains that simulate and that hold are told apart, and noise is at the null."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data.simulated import pong
from braindec.evaluate import encode_simulation as simulation
from braindec.evaluate import simulation_study

TOLD = {"n_folds": 4, "n_null": 3}


@pytest.fixture(scope="module")
def films():
    return pong.draw_films(48, np.random.default_rng(0), n_times=16)


@pytest.fixture(scope="module")
def states(films):
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 2), -1).reshape(-1, 2)
    held = pong.last_seen(films)
    return {
        name: torch.from_numpy(pong.tuned(place[:, :, None], grid, 0.18)).float()
        for name, place in (("true", films.place), ("held", held))
    }


def responses(films, agent):
    rng = np.random.default_rng(1)
    belief = pong.beliefs(films, agent, rng)
    return torch.from_numpy(pong.population(belief, rng, n_units=12, noise=0.5))


def test_frames_are_counted_from_the_last_that_was_seen():
    hidden = np.array([[0, 0, 1, 1, 1], [1, 0, 0, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(simulation.frames_hidden(hidden), [[-1, 0, 1, 2, 3], [1, -1, 0, 1, -5]])


def test_no_prediction_knows_responses_to_its_own_film(generator):
    x, y = torch.randn(12, 5, 3, generator=generator), torch.randn(12, 5, 2, generator=generator)
    folds = simulation.film_folds(12, 3)
    other = y.clone()
    other[folds[0]] += 10 * torch.randn(len(folds[0]), 5, 2, generator=generator)
    before, after = (simulation.film_predictions(x, values, folds)[0] for values in (y, other))
    torch.testing.assert_close(before[folds[0]], after[folds[0]])
    assert not torch.allclose(before[folds[1]], after[folds[1]])


def test_a_time_course_that_all_films_share_counts_for_nothing(rng):
    course = np.linspace(0, 20, 10)[None, :, None]
    moments = np.repeat(np.arange(10)[None], 60, 0)
    made, truth = (torch.from_numpy(course + rng.standard_normal((60, 10, 4))) for _ in range(2))
    found = simulation.moment_correlations(made, truth, moments, np.arange(10))
    assert abs(float(found.mean())) < 0.06
    own = simulation.moment_correlations(made, made, moments, np.arange(10))
    torch.testing.assert_close(own, torch.ones_like(own))


@pytest.mark.parametrize(
    ("agent", "own", "other"), [("simulates", "true", "held"), ("holds", "held", "true")]
)
def test_each_brain_is_predicted_by_its_own_state_while_the_ball_is_hidden(films, states, agent, own, other):
    brain = responses(films, agent)
    found = {k: simulation.predictivity(states[k], brain, films.hidden, **TOLD) for k in states}
    gap = simulation.difference(found[own], found[other], brain, films.hidden)
    assert gap.value == pytest.approx(found[own].hidden - found[other].hidden, abs=1e-5)
    assert 0 < gap.interval[0] < gap.value < gap.interval[1]
    assert gap.p < 0.01
    assert found[own].hidden == pytest.approx(1, abs=0.2)
    assert found[own].hidden > found[own].null.max()
    assert found[own].seen == pytest.approx(found[other].seen, abs=0.1)  # nothing tells them apart before


def worlds(noises, n_worlds, n_films=20):
    """Differences of two models that say the truth and noise of their own, of these SDs, in films of one design."""
    hidden = np.arange(4) >= np.repeat([[1], [2]], n_films // 2, 0)
    draw, found = torch.Generator().manual_seed(1), []
    moments = simulation.common_moments(simulation.frames_hidden(hidden))

    def random(n):
        """Of frames that are alike within a film."""
        return torch.randn(n, n_films, 1, 3, generator=draw) + 0.5 * torch.randn(
            n, n_films, 4, 3, generator=draw
        )

    for _ in range(n_worlds):
        truth, *errors = random(1 + len(noises))
        made = [
            simulation.Predicted(0, 0, (0, 0), np.zeros(1), moments, moments, 1.0, truth + sd * e, random(4))
            for sd, e in zip(noises, errors, strict=True)
        ]
        found.append(simulation.difference(*made, truth[None], hidden))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_models_that_predict_equally_well_are_told_apart_as_often_as_the_level_says(noise):
    p = np.array([found.p for found in worlds((noise, noise), 60)])
    assert 1 <= (p <= 0.05).sum() <= 9  # 3 expected, SD 1.7
    assert 0.3 < (p <= 0.5).mean() < 0.7


def test_of_two_models_the_better_one_is_told_whichever_comes_first():
    for noises, sign in (((0.5, 2.0), 1), ((2.0, 0.5), -1)):
        found = worlds(noises, 5)
        assert np.mean([one.p <= 0.05 for one in found]) > 0.8
        assert all(sign * one.value > 0 for one in found)


def test_noise_is_at_the_null(films, states, generator):
    noise = torch.randn(4, *films.hidden.shape, 12, generator=generator)
    found = simulation.predictivity(states["true"], noise, films.hidden, **TOLD)
    assert abs(found.ceiling * found.hidden) < 0.1  # the ceiling itself is nearly zero


def test_errors_of_who_holds_are_those_of_the_state_last_seen_and_of_no_other(films, states, rng):
    answers = pong.interceptions(pong.beliefs(films, "holds", rng, n_particles=1), rng)
    nothing = torch.randn(*films.hidden.shape, 2, generator=torch.Generator().manual_seed(0))
    models = states["held"], states["true"], nothing
    held, true, none = (simulation.error_likeness(x, films.place[..., 1], answers, **TOLD) for x in models)
    assert held.value == pytest.approx(1, abs=0.1) and held.value > held.null.max()
    assert abs(true.value) < 0.5 and abs(none.value) < 0.5
    assert np.abs(true.errors).mean() < 0.06 < np.abs(held.errors).mean()


def test_answering_the_mean_is_likened_to_nobody(films, rng):
    shy = 0.5 + 0.3 * (films.place[:, -1, 1] - 0.5)  # shies away from extremes
    answers = shy + 0.05 * rng.standard_normal((8, len(films)))
    same = torch.ones(*films.hidden.shape, 1)
    found = simulation.error_likeness(same, films.place[..., 1], answers, **TOLD)
    raw = np.corrcoef(found.errors, answers.mean(0) - films.place[:, -1, 1])[0, 1]
    assert raw > 0.95 and abs(found.value) < 0.5


def test_too_few_films_are_refused(films, states):
    few = films.hidden[:6]
    with pytest.raises(ValueError, match="give more films"):
        simulation.predictivity(states["true"][:6], responses(films, "holds")[:, :6], few)
    with pytest.raises(ValueError, match="film"):
        simulation.predictivity(states["true"][:20], responses(films, "holds"), films.hidden)


def test_sizes_of_errors_are_means_of_films_in_order_of_what_they_hide():
    hidden = np.arange(10) < np.array([[2], [8], [3], [9]])
    frames, found = simulation.mean_error_by_duration({"a": np.array([1.0, -5, 3, 7])}, hidden, 2)
    np.testing.assert_array_equal(frames, [2.5, 8.5])
    np.testing.assert_array_equal(found["a"], [2, 6])


def test_a_score_names_its_model_in_name_and_details_and_neither_as_modality_nor_as_subject():
    told = (0.5, (0.4, 0.6), np.zeros(2), 20, "heldout_stimuli", "holds", "oracle", "true place")
    (found,) = simulation_study._scored(simulation_study.NEURAL, *told, seen=0.9)
    assert (found.subject, found.modality, found.system) == ("holds", "model", "oracle")
    assert found.name == "hidden_predictivity: true place"
    assert found.details == {"model": "true place", "seen": 0.9}
