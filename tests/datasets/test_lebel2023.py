"""Natural stories: every volume as its file holds it, beside the words of the stretch that it answers to."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, clips, layout, leakage, textgrid
from braindec.types import Embeddings, Table

KEY = "sub-01_fmri"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("lebel2023")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("lebel2023")
    truth = functions["synthetic"](base / "raw")
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), seconds=40.0)
    return tmp_path / "raw" / "ds003020"


def story(raw, name="avatar", subject=1):
    return raw / "derivative" / "preprocessed_data" / f"UTS{subject:02d}" / f"{name}.hf5"


def refused(functions, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_planted_volumes(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    for key, values in truth.responses.items():
        trials = dataset.trials[key]
        assert np.array_equal(trials.responses[:], values)
        for column in truth.tables[key]:
            assert np.array_equal(trials.table[column], truth.tables[key][column]), column
    assert counts.trials == {key: len(values) for key, values in truth.responses.items()}
    layout.verify(out)


def test_a_stretch_holds_the_words_that_begin_in_it(made):
    stimuli = NeuralDataset.read(made[2]).stimuli
    rows = zip(*(stimuli.table[n].tolist() for n in ("medium", "onset_s", "words")), strict=True)
    for medium, onset, words in rows:
        said = made[1].details["words"][medium]
        inside = (said.onset_s >= onset) & (said.onset_s < onset + 2)
        assert words == " ".join(np.array(said.word)[inside])
    assert "sp" not in " ".join(stimuli.table["words"].tolist()).split()


def test_another_lag_moves_the_words_and_not_the_volumes(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", sets=("lag_s=8.0",), subjects=[1])
    later = NeuralDataset.read(tmp_path / "out")
    trials = later.trials[KEY]
    assert np.array_equal(trials.responses[:], truth.responses[KEY])
    assert np.allclose(trials.table["onset_s"], truth.tables[KEY]["onset_s"] - 4.0)
    assert later.about["hrf_lag_s"] == 8.0
    with pytest.raises(checks.ConfigError, match="lag_s"):
        functions["prepare"](raw, tmp_path / "none", lag_s=3.0)


def test_the_test_story_is_held_out_and_nothing_leaks(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert {i.split("-")[0] for i in test.stimulus_ids} == {"wheretheressmoke"}
    assert train.n_trials + test.n_trials == dataset.n_trials


def test_stories_are_continuous_beside_the_features_of_their_stretches(made):
    dataset = NeuralDataset.read(made[2])
    ids = dataset.stimuli.ids
    values = np.arange(len(ids), dtype=np.float32)[:, None, None]
    found = clips.continuous(dataset.trials[KEY], Embeddings(ids, values, "mine", {}, "0"), lag_s=4.0)
    assert set(found.runs) == {"avatar", "souls", "wheretheressmoke"} and found.sfreq == 0.5
    assert (np.diff(found.features["souls"][:, 0]) == 1).all()


def test_missing_stories_and_words_are_said_and_a_dry_run_writes_nothing(functions, made, raw, tmp_path):
    assert "sub-01: 3 of 84 stories are there" in made[3].missing
    assert functions["prepare"](made[0], tmp_path / "none", dry_run=True) == made[3]
    (raw / "derivative" / "TextGrids" / "souls.TextGrid").unlink()
    story(raw, "wheretheressmoke").unlink()
    counts = functions["prepare"](raw, tmp_path / "out")
    assert any("words of 1 stories (souls)" in said for said in counts.missing)
    assert any("the test story" in said for said in counts.missing)
    assert not NeuralDataset.read(tmp_path / "out").splits and not (tmp_path / "none").exists()


def test_voxels_with_nan_are_left_out_and_counted_or_refused(functions, raw, tmp_path):
    with h5py.File(story(raw, "souls"), "r+") as file:
        file["data"][3, 5] = np.nan
    assert "1 voxels with NaN" in refused(functions, raw, story(raw, "souls"), invalid="refuse")
    functions["prepare"](raw, tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    assert dataset.trials[KEY].responses.shape[1] == 29
    assert dataset.about["voxels_left_out"] == {KEY: {"not_finite": 1, "constant": 0}}


def test_a_story_of_another_subject_or_without_its_key_is_refused(functions, raw):
    with h5py.File(story(raw, "souls"), "w") as file:
        file["data"] = np.zeros((10, 7))
    assert "holds 7 voxels, avatar.hf5 holds 30" in refused(functions, raw, story(raw, "souls"))
    with h5py.File(story(raw), "w") as file:
        file["resp"] = np.zeros((10, 30))
    assert "lacks the dataset 'data'; it has ['resp']" in refused(functions, raw, story(raw))


def test_a_truncated_story_is_refused(functions, raw):
    content = story(raw).read_bytes()
    story(raw).write_bytes(content[: len(content) // 2])
    refused(functions, raw, story(raw))


def test_a_textgrid_that_ends_early_or_lacks_its_words_is_refused(functions, raw):
    path = raw / "derivative" / "TextGrids" / "avatar.TextGrid"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    assert "cannot be read" in refused(functions, raw, path)
    path.write_text(text.replace('"word"', '"words"'))
    assert "lacks the tier 'word'; it has ['phone', 'words']" in refused(functions, raw, path)


def test_absent_subjects_are_refused_and_fetch_says_where_they_are(functions, made, tmp_path):
    with pytest.raises(FileNotFoundError, match="UTS03"):
        functions["prepare"](made[0], tmp_path / "none", subjects=[3])
    with pytest.raises(checks.DownloadError, match="aws s3 sync"):
        functions["fetch"](tmp_path, subjects=[1])
    assert len(functions["fetch"](tmp_path, dry_run=True)) == 9 * 27


@pytest.mark.parametrize("short", [False, True])
def test_both_formats_of_textgrids_give_what_was_written(tmp_path, short):
    tier = Table(
        {
            "start_s": np.array([0.0, 1.25, 2e-05 + 2]),
            "stop_s": np.array([1.25, 2.00002, 3.5]),
            "text": np.array(['say "no"', "", "1 [2]: 3.5"]),
        }
    )
    textgrid.write(tmp_path / "a.TextGrid", [("phone", tier), ("word 2", tier)], short=short)
    found = textgrid.read(tmp_path / "a.TextGrid")
    assert list(found) == ["phone", "word 2"]
    for column in tier:
        assert np.array_equal(found["word 2"][column], tier[column])


def test_a_file_that_is_no_textgrid_is_refused(tmp_path):
    (tmp_path / "a.TextGrid").write_text("1 2 3")
    with pytest.raises(checks.DataFileError, match="is no TextGrid"):
        textgrid.read(tmp_path / "a.TextGrid")
