"""Delayed covariances hear a rhythm's pace, features are what they are called, and choices know training alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.covariance import oas

from braindec import checks
from braindec.evaluate.online import compared, pseudo_online
from braindec.evaluate.online_decoders import (
    AugmentedCovariance,
    ChosenFeatures,
    always_idle,
    best_of,
    delayed,
    shrunk_covariances,
)
from braindec.types import ArraySpace, Recording, Table

SFREQ = 50.0


def rhythm(rng: np.random.Generator, n: int, hz: float) -> np.ndarray:
    """Noise around one frequency, of standard deviation 1."""
    near = np.exp(-((np.fft.rfftfreq(n, 1 / SFREQ) - hz) ** 2))
    made = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * near, n)
    return made / made.std()


def paced(number: int, rng: np.random.Generator, n_events: int = 6) -> Recording:
    """Rhythms of equal strength in two channels: while an event lasts, that of its channel is faster."""
    onsets = 4.0 + 8.0 * np.arange(n_events) + rng.uniform(0, 2, n_events)
    kinds = rng.permutation(np.resize(["foot", "hand"], n_events))
    n = int((onsets[-1] + 8) * SFREQ)
    signal = np.stack([rhythm(rng, n, 5.0) for _ in range(2)])
    for onset, kind in zip(onsets, kinds):
        rows = slice(int(onset * SFREQ), int((onset + 4) * SFREQ))
        signal[int(kind == "hand"), rows] = rhythm(rng, n, 11.0)[rows]
    signal += 0.3 * rng.standard_normal(signal.shape)
    events = Table({"onset_s": onsets, "duration_s": np.full(n_events, 4.0), "trial_type": kinds})
    return Recording(signal, SFREQ, "a.u.", events, ArraySpace(2), 1, "1", str(number), "eeg")


@pytest.fixture(scope="module")
def runs():
    rng = np.random.default_rng(0)
    return [paced(i, rng) for i in range(3)]


def test_delayed_copies_are_later_samples_of_the_same_channels():
    x = np.arange(12.0).reshape(1, 2, 6)
    found = delayed(x, order=3, lag=2)
    np.testing.assert_array_equal(found[0], [[0, 1], [6, 7], [2, 3], [8, 9], [4, 5], [10, 11]])
    with pytest.raises(ValueError, match="all copies share"):
        delayed(x, order=4, lag=2)


@pytest.mark.parametrize(("n_channels", "n_times"), [(3, 40), (12, 15), (1, 20)])
def test_covariances_are_those_of_scikit_learn(n_channels, n_times):
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((5, n_channels, n_times)) * rng.uniform(0.1, 10, (5, n_channels, 1)) + 3.0
    expected = [oas(one.T)[0] for one in windows]
    np.testing.assert_allclose(shrunk_covariances(windows), expected, rtol=1e-10)


def test_the_pace_of_a_rhythm_is_told_by_delayed_copies_that_training_chose_and_by_no_plain_covariance(
    runs,
):
    pytest.importorskip("pyriemann")
    choosing = AugmentedCovariance(orders=(1, 2), lags=(2,), n_blocks=2)
    ours = pseudo_online(choosing, runs[:2], runs[2:])
    plain = pseudo_online(AugmentedCovariance(orders=(1,)), runs[:2], runs[2:], system="contender")
    twin = pseudo_online(choosing, runs[:2], runs[2:], system="shuffled", shuffle=True)
    assert (ours.answer.order, ours.answer.lag) == (2, 2)
    assert ours.scores[0].value > 0.85
    assert plain.scores[0].value < 0.65
    assert twin.scores[0].value < ours.scores[0].value - 0.15  # a shift in time may meet some events
    better = compared(ours, plain)
    assert better["interval"][0] > 0.1 and better["p"] < 0.01 and better["n"] == 7
    same = compared(ours, ours)
    assert (same["difference"], same["p"]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="same windows"):
        compared(ours, pseudo_online(always_idle, runs[1:], runs[:1]))


def test_power_is_of_its_channel_and_band_and_connectivity_of_channels_that_lag():
    t = np.arange(200) / 100.0
    wave, late = np.sin(2 * np.pi * 10 * t), np.sin(2 * np.pi * 10 * t - np.pi / 2)
    rng = np.random.default_rng(0)
    quiet = 0.05 * rng.standard_normal((1, 4, 200))
    lagging, mixed = quiet.copy(), quiet.copy()
    lagging[0, 0] += wave
    lagging[0, 1] += late
    mixed[0, 0] += wave
    mixed[0, 1] += wave  # no lag: what one source does to two electrodes
    features = ChosenFeatures(sfreq=100.0, bands_hz=((4.0, 8.0), (8.0, 13.0)))
    names = features.names(("a", "b", "c", "d"))
    by_name = dict(zip(names, features.features(lagging)[0]))
    assert len(names) == 16
    assert by_name["power, a, 8 to 13 Hz"] > by_name["power, c, 8 to 13 Hz"] + 3
    assert by_name["connectivity, a, 8 to 13 Hz"] > 0.3 > by_name["connectivity, c, 8 to 13 Hz"] + 0.1
    unlagged = dict(zip(names, features.features(mixed)[0]))
    assert unlagged["connectivity, a, 8 to 13 Hz"] < by_name["connectivity, a, 8 to 13 Hz"] / 2


def test_chosen_features_are_those_that_differ_and_a_shuffled_choice_knows_nothing(runs):
    chosen = ChosenFeatures(
        sfreq=SFREQ, bands_hz=((3.0, 8.0), (8.0, 14.0), (14.0, 20.0)), n_kept=(1, 4), n_blocks=2
    )
    ours = pseudo_online(chosen, runs[:2], runs[2:])
    names = [chosen.names(("left", "right"))[i] for i in ours.answer.kept]
    assert {"power, left, 8 to 14 Hz", "power, right, 8 to 14 Hz"} <= set(names)
    assert ours.scores[0].value > 0.9
    assert pseudo_online(chosen, runs[:2], runs[2:], shuffle=True).scores[0].value < 0.75
    with pytest.raises(checks.ConfigError, match="holds no "):
        ChosenFeatures(sfreq=SFREQ, bands_hz=((4.1, 4.2),)).features(np.zeros((1, 2, 100)) + 1.0)


def test_the_best_on_stretches_that_were_held_out_is_taken_and_of_equals_the_first():
    labels = np.tile(np.repeat([0, 1], 10), 6)
    x = np.random.default_rng(0).standard_normal((120, 1))
    seen = []

    def knows(x, y):
        seen.append(len(x))
        return lambda new: np.eye(2)[(np.round(new[:, 0] * 0).astype(int) + truth_of(new))]

    def truth_of(new):
        return np.array([labels[np.flatnonzero(x[:, 0] == v)[0]] for v in new[:, 0]])

    def guesses(x, y):
        return lambda new: np.eye(2)[np.zeros(len(new), dtype=int)]

    assert best_of([guesses, knows, knows], x, labels, n_blocks=3, gap=5) == 1
    assert set(seen) == {70, 75}  # of 120 without a stretch of 40 and the 5 beside it
    assert best_of([guesses], x, labels, n_blocks=3, gap=5) == 0


def test_a_class_that_training_lacks_is_never_answered():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 20)  # class 1 is not there
    windows = rng.standard_normal((40, 2, 100)) * np.where(labels == 2, 3.0, 1.0)[:, None, None]
    scores = ChosenFeatures(sfreq=SFREQ, bands_hz=((4.0, 20.0),), n_kept=(2,))(windows, labels)(windows)
    assert scores.shape == (40, 3) and set(scores.argmax(1)) == {0, 2} and np.isfinite(scores).all()


def test_without_pyriemann_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyriemann.tangentspace", None)
    with pytest.raises(checks.MissingPackageError, match=r"pip install 'braindec\[riemann\]'"):
        AugmentedCovariance(orders=(1,))(np.zeros((4, 2, 50)), np.array([0, 1, 0, 1]))
