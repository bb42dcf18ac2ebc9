"""Natural speech: MATLAB files give the planted samples segment by segment, and what is wrong with a file is said."""

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
    return catalogue.load("broderick2019")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("broderick2019")
    truth = functions["synthetic"](base / "raw", seconds=64.0)
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("broderick2019_small") / "raw"
    functions["synthetic"](raw, subjects=(1,), n_runs=1, seconds=12.0)
    return raw


@pytest.fixture
def small(written, tmp_path):
    """The folder of one subject's run of a few seconds, for a change."""
    return shutil.copytree(written, tmp_path / "raw") / "Natural Speech"


def refused(functions, path, **kwargs):
    """The message of the one error, which names the file; nothing is shown."""
    raw = next(p for p in path.parents if p.name == "raw")
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def rewrite(path, **changes):
    held = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    savemat(path, {k: v for k, v in (held | changes).items() if v is not None})


def expected(truth, trials, subject, reference):
    out = []
    for run, onset in zip(trials.table["run"].tolist(), trials.table["onset_s"].tolist(), strict=True):
        x = truth.details["eeg"][subject, int(run)].astype(np.float64)
        if reference == "mastoids":
            x = x - truth.details["mastoids"][subject, int(run)].astype(np.float64).mean(1, keepdims=True)
        first = max(0, round(onset * 128) - 64)
        out.append(x[first : first + 384].T)
    return np.stack(out)


def test_segments_are_the_planted_samples_referenced_to_the_mastoids(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    for subject in (1, 2):
        trials = dataset.trials[f"sub-0{subject}_eeg"]
        assert trials.responses.shape[1:] == (128, 384) and trials.sfreq == 128 and trials.units == "uV"
        assert np.allclose(trials.responses[:], expected(truth, trials, subject, "mastoids"), atol=1e-4)
    assert counts.trials[KEY] == counts.trials["sub-02_eeg"] > 20


def test_without_reference_they_are_what_the_file_holds(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", subjects=[2], reference="none")
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials["sub-02_eeg"]
    assert np.array_equal(trials.responses[:], expected(truth, trials, 2, "none").astype(np.float32))
    assert dataset.about["reference"] == "none"


def test_words_and_sentences_are_the_planted_ones(made):
    _, truth, out, _ = made
    table = NeuralDataset.read(out).trials[KEY].table
    for run, word, onset, sentence, index in zip(
        *(table[n].tolist() for n in ("run", "word", "onset_s", "sequence_id", "word_index")), strict=True
    ):
        said = truth.details["words"][int(run)]
        i = int(np.argmin(np.abs(said.onset_s - onset)))
        assert (said.word[i], said.sentence[i], said.index[i]) == (word, sentence, index)


def test_electrodes_lie_on_the_head_of_a_biosemi_cap(made):
    space = NeuralDataset.read(made[2]).trials[KEY].space
    assert space.names[:2] == ("A1", "A2") and space.names[-1] == "D32"
    distance = np.linalg.norm(space.positions, axis=1)
    assert np.isfinite(distance).all() and distance.max() < 0.15


def test_subjects_share_segments_and_parts_share_none(made):
    dataset = NeuralDataset.read(made[2])
    first, second = (set(t.table["stimulus_id"].tolist()) for t in dataset.trials.values())
    assert first == second
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert not set(train.stimulus_ids) & set(test.stimulus_ids)


def test_a_dry_run_counts_and_writes_nothing(functions, made, tmp_path):
    raw, _, out, counts = made
    assert functions["prepare"](raw, tmp_path / "none", dry_run=True) == counts
    assert not list(tmp_path.iterdir())
    layout.verify(out)


def test_missing_runs_and_subjects_are_said(made):
    said = made[3].missing
    assert any(s.startswith("sub-01: no recording of run 3, 4") for s in said)
    assert any("subjects 3, 4" in s for s in said)


def test_windows_beyond_the_recording_are_left_out_and_counted(made):
    _, truth, out, counts = made
    # the first word lies at 0.02 s, so that its window begins before the recording
    assert all(w.onset_s[0] == 0.02 for w in truth.details["words"].values())
    assert any(s.startswith("sub-01:") and "reach beyond" in s for s in counts.missing)
    trials = NeuralDataset.read(out).trials[KEY]
    assert (trials.table["onset_s"] > 0.49).all() and (trials.table["onset_s"] < 64 - 2.49).all()


def test_fetch_names_what_is_missing_and_where_it_is(functions, tmp_path):
    assert len(functions["fetch"](tmp_path, subjects=[1], dry_run=True)) == 40
    with pytest.raises(checks.DownloadError, match="datadryad"):
        functions["fetch"](tmp_path, subjects=[1])


def recording(raw):
    return raw / "EEG" / "Subject1" / "Subject1_Run1.mat"


def text(raw):
    return raw / "Stimuli" / "Text" / "Run1.mat"


def test_a_missing_variable_is_named_with_those_that_are_there(functions, small):
    rewrite(recording(small), mastoids=None)
    message = refused(functions, recording(small))
    assert "['mastoids']" in message and "['eegData', 'fs']" in message


def test_swapped_axes_are_refused_with_both_shapes(functions, small):
    rewrite(recording(small), eegData=loadmat(recording(small))["eegData"].T)
    message = refused(functions, recording(small))
    assert "(128, 1536)" in message and "(128, 128)" in message


def test_another_rate_is_refused(functions, small):
    rewrite(recording(small), fs=np.array([[512]]))
    assert "fs = 512, expected 128" in refused(functions, recording(small))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_file_is_one_error(functions, small, share):
    content = recording(small).read_bytes()
    recording(small).write_bytes(content[: int(share * len(content))])
    refused(functions, recording(small))


def test_nan_and_constant_channels_are_counted_and_refused_unless_dropped(functions, small):
    x = loadmat(recording(small))["eegData"]
    x[100, 4], x[:, 9] = np.nan, 2.0
    rewrite(recording(small), eegData=x)
    message = refused(functions, recording(small), reference="none")
    assert "1 channels with NaN" in message and "1 that never vary, of 128, first 'A5'" in message
    functions["prepare"](small.parent, small.parent.parent / "dropped", reference="none", bad_channels="drop")
    trials = NeuralDataset.read(small.parent.parent / "dropped").trials[KEY]
    assert trials.responses.shape[1] == 126 and not {"A5", "A10"} & set(trials.space.names)


def test_words_of_another_run_are_refused(functions, small):
    held = loadmat(text(small))
    rewrite(text(small), onset_time=held["onset_time"] * 3, offset_time=held["offset_time"] * 3)
    assert "lasts 12.0 s but Run1.mat has a word at" in refused(functions, recording(small))


def test_times_that_do_not_ascend_or_do_not_match_are_refused(functions, small):
    held = loadmat(text(small))
    rewrite(text(small), onset_time=held["onset_time"][:-1])
    assert "'onset_time'" in refused(functions, text(small))
    rewrite(text(small), onset_time=held["onset_time"][::-1])
    assert "ascending" in refused(functions, text(small))


def test_a_missing_text_is_named(functions, small):
    text(small).unlink()
    with pytest.raises(FileNotFoundError, match=r"Run1\.mat"):
        functions["prepare"](small.parent, small.parent.parent / "out")


def test_cells_that_are_not_there_are_refused_before_they_are_read(functions, small):
    n = len(loadmat(text(small))["wordVec"])
    content = text(small).read_bytes()
    dims = np.array([n, 1], dtype="<i4").tobytes()
    assert content.count(dims) >= 1
    text(small).write_bytes(content.replace(dims, np.array([50 * n, 1], dtype="<i4").tobytes(), 1))
    assert "is damaged" in refused(functions, text(small)) and "arrays in" in refused(functions, text(small))
