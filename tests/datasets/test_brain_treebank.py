"""Brain Treebank: planted samples lie at the words' own times, over a pause, from sound electrodes alone."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

SOUND = tuple(f"T1aIb{i}" for i in range(1, 6))


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("brain_treebank")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("brain_treebank")
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out", sfreq=None)
    return base / "raw", truth, base / "out", counts


@pytest.fixture
def small(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), n_electrodes=3, seconds=24.0)
    return tmp_path / "raw"


def test_segments_are_the_planted_samples_trial_by_trial(made):
    _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    assert set(dataset.trials) == {"sub-01_ieeg", "sub-03_ieeg"}
    for subject in (1, 3):
        trials = dataset.trials[f"sub-{subject:02d}_ieeg"]
        assert trials.responses.shape[1:] == (5, 6144) and trials.sfreq == 2048 and trials.n_trials > 10
        for i in range(trials.n_trials):
            first = round(float(trials.table["onset_s"][i]) * 2048) - 1024
            assert np.array_equal(
                trials.responses[i], truth.details["signal"][subject][:, first : first + 6144]
            )


def test_words_lie_where_they_were_heard_before_and_after_the_pause(made):
    _, truth, out, counts = made
    words = list(truth.details["words"])
    for subject in (1, 3):
        table = NeuralDataset.read(out).trials[f"sub-{subject:02d}_ieeg"].table
        heard = truth.details["onset_s"][subject]
        known = {(w, round(float(t), 2)) for w, t in zip(words, heard, strict=True)}
        found = {(w, round(float(t), 2)) for w, t in zip(table["word"], table["onset_s"], strict=True)}
        assert found <= known
        shift = heard - truth.details["film_s"]
        assert np.ptp(shift) > 7 and {round(t, 2) for t in heard[shift > 7].tolist()} & {t for _, t in found}
    assert any("words near a pause left out" in said for said in counts.missing)
    assert any("1 words without a time" in said for said in counts.missing)


def test_no_window_holds_a_pause(made):
    """In every window the next words follow as in the film."""
    _, truth, out, _ = made
    film = truth.details["film_s"]
    for subject in (1, 3):
        heard = truth.details["onset_s"][subject]
        shift = heard - film
        for onset in NeuralDataset.read(out).trials[f"sub-{subject:02d}_ieeg"].table["onset_s"].tolist():
            anchor = np.abs(heard - onset).argmin()
            near = (film > film[anchor] - 0.5) & (film < film[anchor] + 2.5)
            assert np.ptp(shift[near]) < 1e-6


def test_sound_electrodes_are_kept_with_their_places_and_regions(made):
    dataset = NeuralDataset.read(made[2])
    space = dataset.trials["sub-01_ieeg"].space
    assert space.names == SOUND and set(space.kinds) == {"seeg"} and np.isnan(space.positions).all()
    assert space.regions["ctx-lh-superiortemporal"].tolist() == [False, True, False, True, False]
    located = dataset.about["localisation"]
    assert located["unit"] == "mm" and set(located["sub-01"]) == set(SOUND[:-1])


def test_resampled_segments_are_the_planted_waves(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", subjects=[1])
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_ieeg"]
    assert trials.responses.shape[1:] == (5, 768)
    planted = truth.details["signal"][1].astype(np.float64)
    for i in range(0, trials.n_trials, 4):
        at = (round(float(trials.table["onset_s"][i]) * 256) - 128 + np.arange(768)) * 8
        assert np.abs(trials.responses[i] - planted[:, at]).max() < 0.01 * np.abs(planted).max()


def test_people_share_segments_and_no_sound_is_in_both_parts(functions, made, tmp_path):
    raw, _, out, counts = made
    dataset = NeuralDataset.read(out)
    first, second = (set(t.table["stimulus_id"].tolist()) for t in dataset.trials.values())
    assert len(first & second) > 5
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert train.n_trials and test.n_trials
    dry = functions["prepare"](raw, tmp_path / "none", sfreq=None, dry_run=True)
    assert dry == counts and not list(tmp_path.iterdir())
    assert any("2 of 26 recordings" in said for said in counts.missing)
    layout.verify(out)


def refused(functions, raw, path, match):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, raw.parent / "out")
    assert caught.value.path == path and not (raw.parent / "out").exists()


def test_contradictions_are_refused_by_file(functions, small):
    recording = small / "sub_1_trial000.h5"
    timings = small / "subject_timings" / "sub_1_trial000_timings.csv"
    labels = small / "electrode_labels" / "sub_1" / "electrode_labels.json"
    features = small / "transcripts" / "ant-man" / "features.csv"
    about = small / "subject_metadata" / "sub_1_trial000_metadata.json"
    for path, content, match in (
        (timings, "movie_time,index\n0,10\n1,5\n", "order of time"),
        (timings, "movie_time,index\n0,0\n1,99999999\n", "trigger at sample 99999999"),
        (timings, "movie_time\n0\n", "lacks the columns"),
        (labels, json.dumps(["A1", "A1"]), "one twice"),
        (labels, "{", "cannot be read"),
        (features, "text,start,end\na,,\n", "times no word"),
        (features, "text,start\na,1\n", "'end'"),
        (about, "{}", "filename"),
    ):
        good = path.read_bytes()
        path.write_text(content)
        refused(functions, small, path, match)
        path.write_bytes(good)
    with h5py.File(recording, "r+") as file:
        held = file["data/electrode_2"][()]
        del file["data/electrode_2"]
        file["data/electrode_2"] = held[:-5]
    refused(functions, small, recording, "electrodes of")
    with h5py.File(recording, "r+") as file:
        del file["data/electrode_2"]
    refused(functions, small, recording, "electrode_2")


def test_a_dead_electrode_is_refused_or_left_out_when_asked(functions, small):
    recording = small / "sub_1_trial000.h5"
    with h5py.File(recording, "r+") as file:
        file["data/electrode_2"][...] = 3.0
    refused(functions, small, recording, "never vary")
    functions["prepare"](small, small.parent / "out", bad_channels="drop")
    trials = NeuralDataset.read(small.parent / "out").trials["sub-01_ieeg"]
    assert trials.space.names == ("T1aIb1", "T1aIb3")


def test_missing_files_are_named(functions, small, tmp_path):
    with pytest.raises(checks.DownloadError, match=r"braintreebank\.dev"):
        functions["fetch"](tmp_path, subjects=[2])
    with pytest.raises(FileNotFoundError, match="sub_2"):
        functions["prepare"](small, tmp_path / "out", subjects=[2])
