"""MOUS: recordings in CTF's channels give the planted waves by sound, and what is wrong with a file is said."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage
from braindec.data.ctf import open_ctf

KEY = "sub-2002_meg"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("schoffelen2019")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("schoffelen2019")
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out", sfreq=None)
    return base / "raw", truth, base / "out", counts


@pytest.fixture
def small(functions, tmp_path):
    """The folder of a subject with three sounds, for a change."""
    functions["synthetic"](tmp_path / "raw", n_sounds=3, n_channels=3)
    return tmp_path / "raw"


def events(raw):
    return raw / "sub-A2002" / "meg" / "sub-A2002_task-auditory_events.tsv"


def refused(functions, path, **kwargs):
    """The message of the one error, which names the file; nothing is shown."""
    raw = next(p for p in path.parents if p.name == "raw")
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def test_fixed_segments_are_the_planted_samples_from_the_sounds_own_onset(made):
    _, truth, out, counts = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert trials.responses.shape[1:] == (5, 3600) and trials.tmin == 0 and trials.units == "T"
    assert counts.trials[KEY] == trials.n_trials >= 12
    for i, (key, onset) in enumerate(
        zip(trials.table["stimulus_id"].tolist(), trials.table["onset_s"].tolist(), strict=True)
    ):
        number, in_sound = key.removeprefix("EQ_Ramp_Int2_Int1LPF").split("_")
        assert onset == pytest.approx(truth.details["onsets"][2002][int(number)] + int(in_sound) / 1000)
        first = round(onset * 1200)
        planted = truth.details["signals"][2002][:, first : first + 3600]
        assert np.array_equal(trials.responses[i], planted.astype(np.float32))


def test_conditions_and_sentences_are_those_of_the_events(made):
    _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    table = dataset.trials[KEY].table
    order = list(truth.details["onsets"][2002])
    for key, condition, sentence in zip(
        *(table[n].tolist() for n in ("stimulus_id", "condition", "sentence")), strict=True
    ):
        number = int(key.removeprefix("EQ_Ramp_Int2_Int1LPF").split("_")[0])
        assert condition == ("word_list" if (order.index(number) // 4) % 2 else "sentence")
        assert sentence == " ".join(truth.details["words"][number].word)
    assert all(wav.startswith("stimuli/audio_files/EQ_Ramp") for wav in dataset.stimuli.table["wav"].tolist())


def test_segments_at_words_take_their_times_from_the_alignment(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", anchors="words", every_word=True)
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert trials.responses.shape[1:] == (5, 360) and trials.tmin == -0.5
    said = {
        (w, round(truth.details["onsets"][2002][n] + on, 3))
        for n, s in truth.details["words"].items()
        for w, on in zip(s.word, s.onset_s.tolist(), strict=True)
    }
    assert {
        (w, round(t, 3))
        for w, t in zip(trials.table["word"].tolist(), trials.table["onset_s"].tolist(), strict=True)
    } == said


def test_parts_share_no_sound(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    sounds = [{i.rsplit("_", 1)[0] for i in part.stimulus_ids} for part in (train, test)]
    assert sounds[0] and sounds[1] and not sounds[0] & sounds[1]


def test_a_dry_run_counts_and_says_what_is_missing(functions, made, tmp_path):
    raw, _, out, counts = made
    assert functions["prepare"](raw, tmp_path / "none", sfreq=None, dry_run=True) == counts
    assert not list(tmp_path.iterdir()) and "sub-2002: 228 of 240 sounds" in counts.missing
    layout.verify(out)


def test_alignments_that_are_not_there_are_asked_for_or_done_without(functions, small):
    for path in (small / "derivatives" / "phonemes").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="anchors='fixed'"):
        functions["prepare"](small, small.parent / "out", anchors="words")
    functions["prepare"](small, small.parent / "out", dry_run=True)
    with pytest.raises(checks.ConfigError, match="anchors='words'"):
        functions["prepare"](small, small.parent / "out", every_word=True)


def test_an_alignment_without_its_tier_names_those_there_are(functions, small):
    path = sorted((small / "derivatives" / "phonemes").iterdir())[0]
    path.write_text(path.read_text().replace("ORT-MAU", "words"))
    message = refused(functions, path, anchors="words")
    assert "'ORT-MAU'" in message and "['words', 'MAU']" in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type\t", "kind\t", "['type']"),
        ("End of file", "End", "has no end of the sound"),
        ("Start File ", "Start File 9", "which stimuli.txt lacks"),
        ("Start File", "Play", "plays no sound"),
        (
            "3.0000\tn/a\tPicture\tZINNEN",
            "3.0000\tn/a\tPicture\tZINNEN\n\tn/a\tSound\tStart File 001.wav",
            "line 3",
        ),
    ],
)
def test_events_that_lack_something_say_what(functions, small, old, new, said):
    path = events(small)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert said in refused(functions, path)


def test_events_beyond_the_recording_and_cut_recordings_are_refused(functions, small):
    path = events(small)
    whole = path.read_text()
    lines = whole.splitlines()
    shifted = [lines[0]] + [
        "\t".join([f"{float(x.split()[0]) + 900}", *x.split("\t")[1:]]) for x in lines[1:]
    ]
    path.write_text("\n".join(shifted) + "\n")
    recording = path.with_name("sub-A2002_task-auditory_meg.fif")
    assert "3 sounds begin later" in refused(functions, recording)
    path.write_text(whole)
    recording.write_bytes(b"nonsense" * 1000)
    refused(functions, recording)


def test_fetch_names_what_is_missing_and_the_agreement(functions, tmp_path):
    assert len(functions["fetch"](tmp_path, dry_run=True)) == 2 * 102 + 1
    with pytest.raises(checks.DownloadError, match="agreement"):
        functions["fetch"](tmp_path)


def test_a_real_ctf_recording_gives_its_sensors_without_references(real_data):
    import mne

    path = real_data / "recordings" / "test_ctf_comp_raw.fif"
    found = open_ctf(path)
    raw = mne.io.read_raw_fif(path, verbose="error")
    assert found.space.n_features == 274 and found.compensation == 3 and found.space.names[0] == "MLC11"
    assert np.isfinite(found.space.positions).all()
    assert np.array_equal(found.load(np.array([0, 270])), raw.get_data(picks=found.picks[[0, 270]]))
