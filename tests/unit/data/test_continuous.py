"""Whole runs become trials that follow each other, and runs again; what would lose an event is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, continuous, meeg
from braindec.types import Recording, SensorSpace, Table

SFREQ = 50.0


def run(name: str, onsets=(1.3, 4.0), seconds: float = 7.5, session: str = "1") -> Recording:
    rng = np.random.default_rng(len(name))
    events = Table(
        {
            "onset_s": np.array(onsets, dtype=float), "duration_s": np.full(len(onsets), 2.0),
            "trial_type": np.resize(["hand", "foot"], len(onsets)),
        }
    )  # fmt: skip
    space = SensorSpace(("C3", "C4"), np.full((2, 3), np.nan), ("eeg", "eeg"))
    signal = rng.standard_normal((2, round(seconds * SFREQ))).astype(np.float32)
    return Recording(signal, SFREQ, "V", events, space, 1, session, name, "eeg")


def test_runs_come_back_as_they_were_but_for_what_was_left_at_their_end():
    recorded = [run("1"), run("22", onsets=(0.0,)), run("1", session="2")]
    trials = continuous.tiled(recorded)
    assert trials.responses.shape == (21, 2, 50)
    found = continuous.runs(trials)
    assert [(r.session, r.run) for r in found] == [("1", "1"), ("1", "22"), ("2", "1")]
    for one, back in zip(recorded, found, strict=True):
        np.testing.assert_array_equal(back.signal, one.signal[:, :350])
        for column in one.events:
            assert np.array_equal(back.events[column], one.events[column]), column
    assert continuous.runs(trials, duration_s=4.0)[0].events["duration_s"].tolist() == [4.0, 4.0]


@pytest.mark.parametrize("onsets", [(1.1, 1.9), (7.2,)])
def test_events_that_would_be_lost_are_refused(onsets):
    with pytest.raises(ValueError, match="begin closer than 1 s to each other, or outside"):
        continuous.tiled([run("1", onsets=onsets)])


def test_windows_around_events_and_runs_with_holes_are_no_whole_runs():
    with pytest.raises(checks.ConfigError, match="whole_runs=true"):
        continuous.runs(meeg.cut_epochs([run("1")], 0.0, 1.0))
    trials = continuous.tiled([run("1")])
    rows = np.array([0, 1, 3])
    holed = replace(trials, responses=trials.responses[rows], table=trials.table.take(rows))
    with pytest.raises(ValueError, match="lacks stretches"):
        continuous.runs(holed)


def test_runs_of_a_bids_folder_are_what_was_written(tmp_path):
    functions = catalogue.load("bids")
    truth = functions["synthetic"](tmp_path / "raw", imagery=True)
    functions["prepare"](
        tmp_path / "raw", tmp_path / "out", sets=["meeg.whole_runs=true", "meeg.detrend=false"]
    )
    dataset = NeuralDataset.read(tmp_path / "out")
    names = {}
    for part in ("train", "test"):
        found = continuous.runs(dataset.part(part).trials["sub-01_eeg"])
        names[part] = [r.run for r in found]
        for one in found:
            written = truth.details["signals"][one.run]
            np.testing.assert_allclose(one.signal, written[:, : one.signal.shape[1]], atol=1e-11)
            assert written.shape[1] - one.signal.shape[1] < 100
            assert sorted(set(one.events["trial_type"])) == ["feet", "left_hand", "right_hand"]
            assert set(one.events["duration_s"]) == {4.0} and len(one.events["onset_s"]) == 9
    assert names == {"train": ["1", "2"], "test": ["3"]}
