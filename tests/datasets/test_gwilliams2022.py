"""MEG-MASC: KIT recordings give the planted waves segment by segment, and what is wrong with a file is said."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage, speech
from braindec.data.kit import open_kit

KEY = "sub-01_meg"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("gwilliams2022")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("gwilliams2022")
    truth = functions["synthetic"](base / "raw", seconds=64.0)
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture
def small(functions, tmp_path):
    """The raw folder of one story of a few seconds, for a change, and its truth."""
    truth = functions["synthetic"](tmp_path / "raw", tasks=("0",), seconds=24.0, n_channels=3)
    return tmp_path / "raw", truth


def recording(raw):
    return raw / "sub-01" / "ses-0" / "meg" / "sub-01_ses-0_task-0_meg.con"


def events(raw):
    return raw / "sub-01" / "ses-0" / "meg" / "sub-01_ses-0_task-0_events.tsv"


def refused(functions, path, **kwargs):
    """The message of the one error, which names the file; nothing is shown."""
    raw = path.parents[3]
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def test_segments_are_the_planted_waves_at_120_hz(made):
    _, truth, out, _ = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert trials.responses.shape[1:] == (6, 360) and trials.sfreq == 120 and trials.tmin == -0.5
    errors = []
    for i in range(0, trials.n_trials, 7):
        session, task = trials.table["run"][i].split("/")
        planted = truth.details["signals"][1, session, task]
        first = round(float(trials.table["onset_s"][i]) * 120) - 60
        at = (first + np.arange(360)) * 1000 / 120
        expected = np.stack([np.interp(at, np.arange(len(row)), row) for row in planted])
        errors.append(np.abs(trials.responses[i] - expected).max() / np.abs(expected).max())
    assert max(errors) < 0.01


def test_segments_of_the_rate_of_the_file_are_the_samples_themselves(functions, small, tmp_path):
    raw, truth = small
    functions["prepare"](raw, tmp_path / "out", sfreq=None)
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    for i in range(trials.n_trials):
        planted = truth.details["signals"][1, trials.table["session"][i], "0"]
        first = round(1000 * float(trials.table["onset_s"][i])) - 500
        assert np.array_equal(trials.responses[i], planted[:, first : first + 3000].astype(np.float32))


def test_every_segment_is_anchored_at_a_word_that_was_said(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    trials, stimuli = dataset.trials[KEY], dataset.stimuli
    said = {(w["word"], w["onset"]) for words in truth.details["words"].values() for w in words}
    found = zip(trials.table["word"].tolist(), trials.table["onset_s"].tolist(), strict=True)
    assert set(found) <= said
    assert set(stimuli.table["wav"]) == {
        f"stimuli/audio/{s}_{p}.wav" for s in ("lw1", "cable_spool_fort") for p in (0, 1)
    }
    first = stimuli.ids.index("lw1_0_0000020")
    words = [w for w in truth.details["words"]["0"] if w["part"] == 0 and w["start"] < 2.52]
    assert stimuli.table["words"][first] == " ".join(w["word"] for w in words)
    assert stimuli.table["wav_start_s"][first] == pytest.approx(-0.48)
    assert counts.trials[KEY] == 2 * len(stimuli.ids)
    assert np.bincount(trials.table["repeat"]).tolist() == [len(stimuli.ids)] * 2


def test_windows_do_not_overlap_unless_they_are_asked_for_at_every_word(functions, small, tmp_path):
    raw, truth = small
    functions["prepare"](raw, tmp_path / "apart")
    table = NeuralDataset.read(tmp_path / "apart").stimuli.table
    for wav in set(table["wav"]):
        assert (np.diff(table["wav_onset_s"][table["wav"] == wav]) >= 3).all()
    functions["prepare"](raw, tmp_path / "every", every_word=True)
    assert len(NeuralDataset.read(tmp_path / "every").stimuli.ids) == len(truth.details["words"]["0"])


@pytest.mark.parametrize("every_word", [False, True])
def test_no_sound_is_both_trained_and_tested(functions, made, tmp_path, every_word):
    raw, _, out, _ = made
    if every_word:
        out = tmp_path / "out"
        functions["prepare"](raw, out, every_word=True)
    dataset = NeuralDataset.read(out)
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    table = dataset.stimuli.table
    spans = [
        [
            (table["wav"][row[i]], table["wav_start_s"][row[i]])
            for i in set(part.trials[KEY].table["stimulus_id"])
        ]
        for part in (train, test)
    ]
    assert spans[0] and spans[1]
    assert all(a != b or abs(s - t) >= 3 - 1e-6 for a, s in spans[0] for b, t in spans[1])


def test_the_parts_are_the_same_for_every_choice_of_subjects_and_a_fifth_of_the_sound(made):
    dataset = NeuralDataset.read(made[2])
    assert speech.splits(dataset)[0].hash == dataset.splits["default"].hash
    tested = np.mean([speech._draw((f"story_{i}", k)) < speech.TESTED for i in range(40) for k in range(40)])
    assert tested == pytest.approx(0.2, abs=0.03)


def test_a_dry_run_counts_and_writes_nothing_and_preparing_again_changes_nothing(functions, made, tmp_path):
    raw, _, out, counts = made
    assert functions["prepare"](raw, tmp_path / "none", dry_run=True) == counts
    assert not list(tmp_path.iterdir())
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert functions["prepare"](raw, out) == counts
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    layout.verify(out)


def test_what_is_missing_is_said(made):
    said = made[3].missing
    assert any("subjects 2, 3" in s for s in said)
    assert "sub-01: no recording of ses-0 task-2, ses-0 task-3, ses-1 task-2, ses-1 task-3" in said


def test_how_the_segments_were_made_is_declared(made):
    about = layout.read_manifest(made[2])
    assert set(about["epochs"].values()) == {"none"} and about["windows"]["sfreq_hz"] == 120.0


def test_a_cut_recording_is_refused_with_its_length(functions, small):
    path = recording(small[0])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 50_000])
    message = refused(functions, path)
    assert f"holds {len(content) - 50_000} bytes" in message and str(len(content)) in message


def test_a_recording_of_nonsense_is_one_error(functions, small):
    recording(small[0]).write_bytes(b"nonsense" * 400)
    refused(functions, recording(small[0]))


def test_a_dictionary_that_would_run_something_is_refused(functions, small):
    text = events(small[0]).read_text(encoding="utf-8-sig").splitlines()
    cells = text[3].split("\t")
    text[3] = "\t".join([*cells[:2], "__import__('os').getcwd()", *cells[3:]])
    events(small[0]).write_text("\n".join(text) + "\n")
    assert "line 4" in refused(functions, events(small[0]))


def test_a_word_without_its_time_in_the_sound_names_line_and_key(functions, small):
    path = events(small[0])
    path.write_text(path.read_text(encoding="utf-8-sig").replace("'start': ", "'begin': "))
    message = refused(functions, path)
    assert "line 3" in message and "'start'" in message and "'begin'" in message


def test_a_sound_elsewhere_than_where_sounds_are_is_refused(functions, small):
    path = events(small[0])
    path.write_text(path.read_text(encoding="utf-8-sig").replace("stimuli/audio/lw1_0", "../lw1_0", 2))
    assert "'sound'" in refused(functions, path)


def test_missing_columns_are_named(functions, small):
    path = events(small[0])
    path.write_text(path.read_text(encoding="utf-8-sig").replace("trial_type", "description", 1))
    assert "['trial_type']" in refused(functions, path)


def test_a_recording_without_events_or_in_anothers_folder_is_refused(functions, small):
    events(small[0]).unlink()
    with pytest.raises(FileNotFoundError, match="events"):
        functions["prepare"](small[0], small[0].parent / "out")
    wrong = recording(small[0]).with_name("sub-02_ses-0_task-0_meg.con")
    recording(small[0]).rename(wrong)
    assert "another subject" in refused(functions, wrong)


def test_a_channel_that_never_varies_is_refused_unless_dropped(functions, small):
    raw, _ = small
    header = open_kit(recording(raw))
    content = bytearray(recording(raw).read_bytes())
    n_all = header.space.n_features + 4
    samples = np.frombuffer(content[-4 * n_all * header.n_times :], dtype="<i4").reshape(-1, n_all).copy()
    samples[:, 1] = 7
    content[-4 * n_all * header.n_times :] = samples.tobytes()
    recording(raw).write_bytes(bytes(content))
    message = refused(functions, recording(raw))
    assert "1 that never vary, of 3" in message and "--set bad_channels=drop" in message
    functions["prepare"](raw, raw.parent / "dropped", bad_channels="drop")
    dataset = NeuralDataset.read(raw.parent / "dropped")
    assert dataset.trials[KEY].responses.shape[1] == 2
    about = layout.read_manifest(raw.parent / "dropped")
    assert about["features"]["selected_on"] == "all_unlabelled"


def test_a_subject_without_files_is_refused(functions, made, tmp_path):
    with pytest.raises(FileNotFoundError, match="Subjects with files"):
        functions["prepare"](made[0], tmp_path / "out", subjects=[2])


def test_a_real_kit_recording_is_read_channel_group_by_channel_group(real_data):
    import mne

    path = real_data / "recordings" / "test.sqd"
    found = open_kit(path)
    raw = mne.io.read_raw_kit(path, verbose="error")
    picks = mne.pick_types(raw.info, meg=True, ref_meg=False)
    assert found.space.n_features == 157 and found.sfreq == 1000
    assert np.array_equal(found.load(np.array([3, 150])), raw.get_data(picks=picks[[3, 150]]))


def test_sound_is_kept_beside_the_responses_that_follow_it(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", tasks=("0",), seconds=40.0, noise=0.0)
    functions["prepare"](tmp_path / "raw", tmp_path / "out", keep_sound=True, sfreq=100.0)
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials[KEY]
    assert dataset.stimuli.kind == "audio"
    best = []
    for response, i in zip(trials.responses[:], trials.table["stimulus_id"].tolist(), strict=True):
        ((sound, rate),) = dataset.stimuli.read([i])
        assert rate == 16_000.0 and sound.shape == (48_000,)
        loud = np.log(1e-4 + (sound.reshape(300, 160) ** 2).mean(1))
        lags = [np.corrcoef(np.abs(response - response.mean(1, keepdims=True)).sum(0)[lag:], loud[: 300 - lag])[0, 1]
                for lag in range(0, 30, 2)]  # fmt: skip
        best.append(2 * int(np.argmax(lags)))
    assert np.median(best) == pytest.approx(10, abs=4)  # hundredths of a second


def test_sound_that_is_not_there_is_asked_for(functions, small, tmp_path):
    with pytest.raises(FileNotFoundError, match="keep_sound"):
        functions["prepare"](small[0], tmp_path / "out", keep_sound=True)
