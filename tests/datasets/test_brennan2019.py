"""Alice: both releases give the planted samples at the words' own times, and what is wrong with a file is said."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

KEY = "sub-01_eeg"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("brennan2019")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("brennan2019")
    truth = functions["synthetic"](base / "raw", container="vhdr")
    counts = functions["prepare"](base / "raw", base / "out", sfreq=None)
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("brennan2019_small") / "raw"
    functions["synthetic"](raw, subjects=(1,), seconds=8.0)
    return raw


@pytest.fixture
def small(written, tmp_path):
    """The folder of one subject in MATLAB files, for a change."""
    return shutil.copytree(written, tmp_path / "raw")


def refused(functions, path, **kwargs):
    """The message of the one error, which names the file; nothing is shown."""
    raw = next(p for p in path.parents if p.name == "raw")
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def change(path, name, **fields):
    """Rewrites fields of the struct in a MATLAB file."""
    struct = loadmat(path, simplify_cells=True)[name]
    savemat(path, {name: {k: v for k, v in (struct | fields).items() if v is not None}})


def agrees(truth, trials, subject):
    for i in range(trials.n_trials):
        first = round(float(trials.table["onset_s"][i]) * 500) - 250
        planted = truth.details["eeg"][subject][:, first : first + 1500]
        assert np.allclose(trials.responses[i], planted, atol=1e-10)


def test_segments_are_the_planted_samples(made):
    _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    for subject in (1, 3):
        trials = dataset.trials[f"sub-{subject:02d}_eeg"]
        assert trials.responses.shape[1:] == (60, 1500) and trials.sfreq == 500 and trials.units == "V"
        assert trials.n_trials > 20
        agrees(truth, trials, subject)


def test_the_matlab_release_holds_the_same(functions, small):
    truth = functions["synthetic"](small.parent / "again", subjects=(1,), seconds=8.0)
    functions["prepare"](small.parent / "again", small.parent / "out", sfreq=None)
    agrees(truth, NeuralDataset.read(small.parent / "out").trials[KEY], 1)


def test_a_word_lies_where_it_was_heard_and_not_where_the_authors_epoch_begins(made):
    _, truth, out, _ = made
    for subject in (1, 3):
        table = NeuralDataset.read(out).trials[f"sub-{subject:02d}_eeg"].table
        said = {(w["word"], round(truth.details["onsets"][subject][o], 3)) for o, w in truth.details["words"].items()
                if o in truth.details["onsets"][subject]}  # fmt: skip
        found = zip(table["word"].tolist(), np.round(table["onset_s"], 3).tolist(), strict=True)
        assert set(found) <= said


def test_a_subject_with_fewer_words_keeps_the_right_ones_and_the_same_segments(made):
    dataset = NeuralDataset.read(made[2])
    first, second = (set(dataset.trials[k].table["stimulus_id"].tolist()) for k in (KEY, "sub-03_eeg"))
    assert second < first
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    for trials in dataset.trials.values():
        words = [dataset.stimuli.table["word"][row[i]] for i in trials.table["stimulus_id"].tolist()]
        assert words == trials.table["word"].tolist()
    assert any("sub-03: " in s and "words have no time" in s for s in made[3].missing)


def test_resampled_segments_are_the_planted_waves(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", subjects=[1])
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert trials.responses.shape[1:] == (60, 360)
    for i in range(0, trials.n_trials, 5):
        at = (round(float(trials.table["onset_s"][i]) * 120) - 60 + np.arange(360)) * 500 / 120
        planted = truth.details["eeg"][1]
        expected = np.stack([np.interp(at, np.arange(len(x)), x) for x in planted])
        assert np.abs(trials.responses[i] - expected).max() < 0.02 * np.abs(expected).max()


def test_parts_share_no_segment_and_counts_are_those_of_a_dry_run(functions, made, tmp_path):
    raw, _, out, counts = made
    dataset = NeuralDataset.read(out)
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert train.n_trials and test.n_trials and not set(train.stimulus_ids) & set(test.stimulus_ids)
    assert functions["prepare"](raw, tmp_path / "none", sfreq=None, dry_run=True) == counts
    assert not list(tmp_path.iterdir())
    layout.verify(out)


def test_subjects_that_the_paper_left_out_are_prepared_when_they_are_asked_for(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1, 2), seconds=8.0)
    usual = functions["prepare"](tmp_path / "raw", tmp_path / "usual", dry_run=True)
    assert set(usual.trials) == {KEY}
    asked = functions["prepare"](tmp_path / "raw", tmp_path / "asked", subjects=[2], dry_run=True)
    assert set(asked.trials) == {"sub-02_eeg"}


def test_words_that_drift_against_the_sound_are_said(functions, small):
    path = small / "proc" / "S01.mat"
    trl = loadmat(path, simplify_cells=True)["proc"]["trl"]
    trl[5, :2] += 40
    change(path, "proc", trl=trl)
    counts = functions["prepare"](small, small.parent / "out", dry_run=True)
    assert any("sound file 1 drift by" in s for s in counts.missing)


def test_a_missing_field_is_named_with_those_that_are_there(functions, small):
    change(small / "proc" / "S01.mat", "proc", trl=None)
    message = refused(functions, small / "proc" / "S01.mat")
    assert "'trl'" in message and "'varnames'" in message


def test_times_of_another_shape_or_story_are_refused(functions, small):
    path = small / "proc" / "S01.mat"
    trl = loadmat(path, simplify_cells=True)["proc"]["trl"]
    change(path, "proc", trl=trl[:, :5])
    message = refused(functions, path)
    assert "'proc.trl'" in message and "('any', 6)" in message
    trl[3, 5] = 9999
    change(path, "proc", trl=trl)
    assert "Order 9999" in refused(functions, path)


def test_another_unit_or_channel_is_refused(functions, small):
    header = loadmat(small / "S01.mat", simplify_cells=True)["raw"]["hdr"]
    change(small / "S01.mat", "raw", hdr=header | {"chanunit": ["mV"] * 62})
    assert "['mV'], expected 500 Hz in ['uV']" in refused(functions, small / "S01.mat")
    label = ["X" if n == "7" else n for n in header["label"].tolist()]
    change(small / "S01.mat", "raw", hdr=header | {"label": label})
    assert "lacks 1 of 60 channels, first '7'" in refused(functions, small / "S01.mat")


def test_cut_files_are_one_error(functions, small):
    for path in (small / "S01.mat", small / "proc" / "S01.mat"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        refused(functions, path)
        path.write_bytes(content)


def test_a_short_recording_is_refused_with_the_word_that_it_lacks(functions, small):
    x = loadmat(small / "S01.mat", simplify_cells=True)["raw"]["trial"]
    change(small / "S01.mat", "raw", trial=x[:, :8000])
    assert "has 8000 samples but S01.mat has a word at sample" in refused(functions, small / "S01.mat")


def test_a_story_without_a_column_is_refused(functions, small):
    path = small / "AliceChapterOne-EEG.csv"
    path.write_text(path.read_text().replace("Order", "Number", 1))
    assert "['Order']" in refused(functions, path)


def test_fetch_names_what_is_missing_and_where_it_is(functions, tmp_path):
    assert len(functions["fetch"](tmp_path, dry_run=True)) == 33 * 4 + 1
    with pytest.raises(checks.DownloadError, match="Globus"):
        functions["fetch"](tmp_path)
