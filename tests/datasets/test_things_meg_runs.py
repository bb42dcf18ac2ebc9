"""THINGS-MEG's continuous runs: cut at the trigger channel to what mne's own epochs hold; what is wrong is said."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, ctf, layout, things_meg

KEY = "sub-01_meg"
RUNS = ("recordings=runs", "images=false")
N_CHANNELS = 6


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("things_meg")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    """(raw folder, truth, prepared folder)."""
    base = tmp_path_factory.mktemp("things_meg")
    truth = functions["synthetic"](base / "raw", n_channels=N_CHANNELS, runs=True)
    functions["prepare"](base / "raw", base / "out", sets=RUNS)
    return base / "raw", truth, base / "out"


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", n_channels=2, n_concepts=(6, 2), runs=True)
    return tmp_path / "raw"


def run_of(raw, session, run):
    return (
        raw
        / f"sub-BIGMEG1/ses-{session:02d}/meg/sub-BIGMEG1_ses-{session:02d}_task-main_run-{run:02d}_meg.fif"
    )


def mne_epochs(path):
    """(epochs in units of their baseline, 200 Hz; samples of the triggers), by mne's own functions."""
    recording = mne.io.read_raw_fif(path, preload=True, verbose="error")
    events = mne.find_events(recording, "UPPT001", initial_event=True, verbose="error")
    events = events[events[:, 2] == 64]
    recording.drop_channels(["MRO11-1609"]).filter(0.1, 40.0, verbose="error")
    epochs = mne.Epochs(
        recording, events, None, -0.1, 1.3, picks="mag", baseline=None, preload=True, verbose="error"
    )
    values = epochs.get_data(copy=True)
    mne.baseline.rescale(values, epochs.times, (None, 0), mode="zscore", copy=False, verbose="error")
    return values[..., ::6], events[:, 0]


def test_trials_are_the_epochs_that_mne_cuts_at_the_triggers(made):
    trials = NeuralDataset.read(made[2]).trials[KEY]
    table = things_meg.read_attributes(made[0] / "sourcedata/sample_attributes_P1.csv")
    assert trials.sfreq == 200.0 and trials.tmin == -0.1 and trials.responses.shape[1:] == (N_CHANNELS, 281)
    for session, run in ((1, 1), (2, 3)):
        own = (table["session_nr"] == session) & (table["run_nr"] == run)
        shown = table["trial_type"][own] != "catch"
        values, samples = mne_epochs(run_of(made[0], session, run))
        mine = trials.table["run"] == f"{session}-{run}"
        np.testing.assert_allclose(trials.responses[mine], values[shown], atol=2e-4)
        np.testing.assert_allclose(trials.table["onset_s"][mine], samples[shown] / 1200.0)


def test_planted_responses_are_found_in_the_order_of_the_table_without_catch_trials(made):
    _, truth, out = made
    dataset = NeuralDataset.read(out)
    trials = dataset.trials[KEY]
    for column in ("stimulus_id", "trial_type", "acquisition_order"):
        assert np.array_equal(trials.table[column], truth.tables[KEY][column]), column
    assert dataset.about["catch_trials_left_out"] == {KEY: 10}
    found = trials.responses[:]
    ids = truth.tables[KEY]["stimulus_id"]
    same = np.stack([truth.responses[KEY][ids == i].mean(0) for i in ids])  # other noise, the same responses
    r = np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(found, same, strict=True)])
    rolled = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(np.roll(found, 1, 0), same, strict=True)
    ]
    assert np.median(r) > 0.7 > 0.4 > abs(np.median(rolled))  # all responses are waves of some latencies
    layout.verify(out)


def test_a_delay_of_the_screen_moves_every_onset(functions, raw, tmp_path):
    functions["prepare"](raw, tmp_path / "a", sets=RUNS)
    functions["prepare"](raw, tmp_path / "b", sets=(*RUNS, "runs.delay_s=0.025"))
    one, two = (NeuralDataset.read(tmp_path / n).trials[KEY] for n in "ab")
    assert two.table["onset_s"] == pytest.approx(one.table["onset_s"] + 0.025)
    a, b = one.responses[:], two.responses[:]
    r = np.corrcoef(a[:, :, 25:].ravel(), b[:, :, 20:-5].ravel())[0, 1]  # 25 ms are five samples
    assert r > 0.9 > np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_runs_that_contradict_the_table_are_refused(functions, raw, tmp_path):
    (tmp_path / "other").mkdir()
    path = run_of(raw, 1, 2)
    whole = path.read_bytes()
    run_of(raw, 1, 1).replace(tmp_path / "other" / "first.fif")

    def refused(match, *sets):
        with pytest.raises(checks.DataFileError, match=match) as caught:
            functions["prepare"](raw, tmp_path / "out", sets=(*RUNS, *sets))
        assert not (tmp_path / "out").exists()
        assert caught.value.path == path

    recording = mne.io.read_raw_fif(path, preload=True, verbose="error")
    recording.crop(0, 30).save(path, fmt="double", overwrite=True, verbose="error")
    refused("triggers 64 on UPPT001")
    recording.drop_channels(["UPPT001"]).save(path, fmt="double", overwrite=True, verbose="error")
    refused("no channel UPPT001")
    path.write_bytes(whole[: len(whole) // 2])
    refused("meg.fif")
    path.write_bytes(whole)
    counts = functions["prepare"](raw, tmp_path / "out", sets=RUNS, dry_run=True)
    assert any("of 22248 epochs" in line for line in counts.missing)
    path.rename(path.with_name("sub-BIGMEG1_ses-01_task-main_meg.fif"))
    with pytest.raises(checks.DataFileError, match="names no session and run"):
        functions["prepare"](raw, tmp_path / "out", sets=RUNS)


def test_a_high_pass_that_moves_responses_before_their_cause_is_refused(functions, raw, tmp_path):
    with pytest.raises(ValueError, match="high_pass_hz"):
        functions["prepare"](raw, tmp_path / "out", sets=(*RUNS, "runs.high_pass_hz=1.0"))


def test_the_trigger_channel_of_a_real_ctf_recording_is_read(real_data):
    path = real_data / "recordings" / "test_ctf_comp_raw.fif"
    values = ctf.channel(path, things_meg.STIM)
    recording = mne.io.read_raw_fif(path, verbose="error")
    assert np.array_equal(values, recording.get_data(picks=["UPPT001"])[0]) and len(values) == 241
    assert np.array_equal(values, np.round(values))
    for code in np.unique(values[values != 0]):
        expected = 1 + np.flatnonzero((values[1:] == code) & (values[:-1] != code))
        found = things_meg.stim_onsets(values, int(code))
        assert np.array_equal(found[found > 0], expected)
