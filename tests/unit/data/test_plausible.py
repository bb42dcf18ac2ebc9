"""What no recording looks like is warned of where one's own data come in; what recordings do look like is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from braindec import NeuralDataset
from braindec.data import plausible

RUN = np.repeat(np.arange(6), 10)


def said(x, modality="fmri", **told):
    """What was warned of, from the line that gave the data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        NeuralDataset.from_arrays(x, np.arange(len(x)) % 5, modality=modality, **told)
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


@pytest.fixture
def x(rng):
    """Block means: a pattern on a level of its own in every voxel, and runs of other gains."""
    gain = rng.uniform(0.5, 2.0, 6)[RUN, None]
    return gain * (500 + 100 * rng.standard_normal(40) + 20 * rng.standard_normal((60, 40)))


def test_recordings_of_all_usual_scales_are_not_remarked(x, rng):
    assert said(x, run=RUN) == [] and said(x) == []
    assert said(x - x.mean(0), run=RUN, onset_s=300.0 * np.arange(60)) == []
    assert said(x * np.where(np.arange(60) == 7, 100, 1)[:, None], run=RUN) == []  # a movement
    assert said(rng.poisson(0.5, (60, 40)), "array") == []
    epochs = 1e-5 * rng.standard_normal((60, 8, 50))
    assert said(epochs, "eeg", sfreq=50.0, tmin=-0.2, run=RUN) == []
    epochs[:, 3] = 0.0  # a channel that is flat in all trials
    assert said(epochs, "eeg", sfreq=1.0, tmin=-49.0) == []
    assert said(rng.standard_normal((60, 1)), run=np.arange(60)) == []
    assert said(rng.standard_normal((60, 2)) ** 9, run=RUN) == []  # too few values to judge a trial by
    assert said(rng.standard_normal((60, 40, 50)), "fmri", sfreq=0.5, tmin=-100.0) == []  # volumes, no epochs


def test_runs_in_other_units_are_named(x):
    half = x * np.where(RUN > 2, 1000, 1)[:, None]
    (found,) = said(half, run=RUN)
    assert "3 of 6 runs" in found and "run '3' of session '1'" in found and "e+03 times as large" in found
    (found,) = said(x / np.where(RUN == 4, 1000, 1)[:, None], run=RUN)
    assert "1 of 6 runs are smaller: run '4' of session '1'" in found and "same units" in found
    assert said(half) == []  # of one run: the median lies between, and no trial is alone


def test_a_trial_far_larger_than_the_others_is_named(x):
    x[17] *= 1e6
    (found,) = said(x, run=RUN)
    assert "1 of 60 trials" in found and "[17]" in found and "ClipMad" in found
    assert "sub-01_fmri" in found


def test_trials_without_a_signal_are_named(x, rng):
    x[::7] = 0.0
    (found,) = said(x, run=RUN)
    assert "9 of 60 trials hold one value alone" in found and "[0, 7, 14, 21, 28], ..." in found
    epochs = rng.standard_normal((60, 8, 50))
    epochs[5] = np.arange(8)[:, None]  # each channel at a level of its own
    assert "[5]" in said(epochs, "eeg", sfreq=50.0, tmin=0.0)[0]


@pytest.mark.parametrize(
    "clock, words",
    [
        ({"sfreq": 0.25, "tmin": -0.1}, ["sfreq=250"]),
        ({"sfreq": 100.0, "tmin": -100.0}, ["tmin=-0.1"]),
        ({"sfreq": 100.0, "tmin": -5.0}, ["end 4.51 s before their event"]),
        ({"sfreq": 0.25, "tmin": -100.0}, ["sfreq=250", "tmin=-0.1"]),
        ({"sfreq": 100.0, "tmin": -0.6}, []),  # what was there before the event
    ],
)
def test_clocks_of_epochs_in_other_units_are_noticed(clock, words, rng):
    found = said(rng.standard_normal((12, 8, 50)), "eeg", **clock)
    for one, word in zip(found, words, strict=True):
        assert word in one


def test_onsets_in_milliseconds_are_noticed(x):
    onsets = 2.0 * (np.arange(60) % 10)
    assert said(x, run=RUN, onset_s=onsets) == []
    (found,) = said(x, run=RUN, onset_s=1000 * onsets)
    assert "2000 s apart" in found and "divide them by 1000" in found


def test_remarks_are_those_of_large_arrays_read_in_parts(x, monkeypatch):
    x[17] *= 1e6
    x[50] = 0.0
    with pytest.warns(UserWarning):
        trials = NeuralDataset.from_arrays(x, np.arange(60), modality="fmri", run=RUN).trials["sub-01_fmri"]
    whole = plausible.remarks(trials)
    monkeypatch.setattr("braindec.data.unit_steps.BLOCK_BYTES", 8 * 40 * 7)
    assert plausible.remarks(trials) == whole and len(whole) == 2
    assert "[50]" in whole[0] and "[17]" in whole[1]
