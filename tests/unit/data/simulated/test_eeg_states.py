"""Simulated EEG of states and of responses that jitter: what was planted is there, and nothing else tells classes."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import splits
from braindec.data.simulated import eeg_states
from braindec.data.simulated.sensors import eeg_cap

SMALL = eeg_states.Settings(n_people=3, n_runs=3, n_trials=36)


def epochs(dataset):
    """Microvolts, the trial table, and each trial's class."""
    (trials,) = dataset.trials.values()
    shown = splits.stimulus_column(trials, dataset.stimuli, "category")
    return np.asarray(trials.responses[:], dtype=float), trials.table, shown


def power(x, low, high):
    """Mean over the band's frequencies, (trial, sensor); epochs last a second, so that bins are Hz."""
    return (np.abs(np.fft.rfft(x, axis=2)) ** 2)[..., low : high + 1].mean(2)


def test_people_have_runs_in_which_classes_are_balanced_and_the_seed_says_all():
    x, table, shown = epochs(eeg_states.states(SMALL, seed=3))
    assert x.shape == (3 * 3 * 36, 32, 64)
    for person in ("01", "02", "03"):
        for run in ("1", "2", "3"):
            here = shown[(table["session"] == person) & (table["run"] == run)]
            assert np.unique(here, return_counts=True)[1].tolist() == [9, 9, 9, 9]
    assert np.array_equal(x, epochs(eeg_states.states(SMALL, seed=3))[0])
    assert not np.array_equal(x, epochs(eeg_states.states(SMALL, seed=4))[0])


def test_a_state_drives_the_waves_of_its_own_group_and_means_tell_nothing():
    settings = eeg_states.Settings(n_people=3, n_runs=3, n_trials=120, noise=0.1)
    x, _, shown = epochs(eeg_states.states(settings))
    log_power = np.log(power(x, 18, 22))
    for name, group in zip(eeg_states.GROUPS, eeg_states.members(), strict=True):
        own = shown == name
        gain = log_power[own].mean(0) - log_power[~own].mean(0)
        assert gain[group].min() > gain[~group].max()
        assert gain[group].mean() == pytest.approx(
            2 * np.log(2), abs=0.35
        )  # twice the amplitude, noise beside it
        mean = x[own].mean(0) - x[~own].mean(0)
        error = np.sqrt(x[own].var(0) / own.sum() + x[~own].var(0) / (~own).sum())
        assert (np.abs(mean / error) > 3).mean() < 0.02


def test_groups_share_no_sensor_and_lie_on_both_hemispheres():
    members, right = eeg_states.members(), eeg_cap().space.positions[:, 0]
    assert members.sum(0).max() == 1
    for group in members:
        assert (right[group] < 0).sum() == (right[group] > 0).sum() == 2


def test_jitter_moves_responses_and_leaves_noise_and_size_alone():
    quiet = eeg_states.Settings(n_people=3, n_runs=3, n_trials=36, noise=1e-6)
    (aligned, _, shown), (moved, *_) = (epochs(eeg_states.responses(quiet, j)) for j in (0.0, 0.3))
    up = shown == "up"
    sensor = np.abs(aligned[up].mean(0)).max(1).argmax()
    peaks = {name: np.abs(x[up][:, sensor]) for name, x in (("aligned", aligned), ("moved", moved))}
    assert set(peaks["aligned"].argmax(1)) == {32}  # the middle of the epoch
    late = peaks["moved"].argmax(1) / 64
    assert 0.19 <= late.min() < 0.3 < 0.7 < late.max() <= 0.81
    np.testing.assert_allclose(
        peaks["moved"].max(1), peaks["aligned"].max(1), rtol=0.06
    )  # between two samples
    assert np.abs(moved[up].mean(0)).max() < 0.6 * np.abs(aligned[up].mean(0)).max()
    noisy = eeg_states.Settings(n_people=3, n_runs=3, n_trials=36)
    noise = [epochs(eeg_states.responses(noisy, j))[0] - x for j, x in ((0.0, aligned), (0.3, moved))]
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-3)


def test_a_response_that_would_leave_the_epoch_and_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="jitter_s"):
        eeg_states.responses(SMALL, 0.4)
    with pytest.raises(ValueError, match="n_runs"):
        eeg_states.Settings(n_runs=2)
