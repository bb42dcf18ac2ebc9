"""Music of ten genres: the mean of each clip's volumes, or each volume, from either orientation of the arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import welch

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage

KEY = "sub-01_fmri"


ABSENT = "Not there, so not prepared: subjects {} of 5."


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("nakai2022")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("nakai2022")
    truth = functions["synthetic"](base / "raw", subjects=(1, 3))
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", n_voxels=3)
    return tmp_path / "raw" / "ds003720"


def responses(raw, task="Training"):
    return raw / "derivative" / "preprocessed_data" / "sub-001" / f"sub-001_Resp_{task}.npy"


def events(raw, task="Training", run=2):
    return raw / "sub-001" / "func" / f"sub-001_task-{task}_run-{run:02d}_events.tsv"


def refused(functions, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent.parent / "out").exists()
    return str(error.value)


def test_prepared_trials_are_the_means_of_the_planted_volumes(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    assert counts.trials == {KEY: 720, "sub-03_fmri": 720}
    for key, values in truth.responses.items():
        trials = dataset.trials[key]
        assert np.allclose(trials.responses[:], values, atol=1e-6)
        assert np.array_equal(trials.table["stimulus_id"], truth.tables[key]["stimulus_id"])
    layout.verify(out)


def test_each_volume_is_a_trial_when_asked(functions, made, tmp_path):
    raw, truth, _, _ = made
    functions["prepare"](raw, tmp_path / "out", subjects=[3], sets=("per=volume", "lag_s=3.0"))
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-03_fmri"]
    assert trials.n_trials == 18 * 398
    rows = np.flatnonzero(trials.table["run"] == "Training-02")
    assert np.array_equal(trials.responses[rows], truth.details["volumes"][3, "Training"][402:800])
    assert trials.table["stimulus_id"][rows[13]].endswith("-3") and trials.table["onset_s"][rows[13]] == 34.5


def test_arrays_of_voxels_by_time_give_the_same(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", voxels_first=True, seed=2)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert np.allclose(trials.responses[:], truth.responses[KEY], atol=1e-6)


def test_test_clips_are_heard_four_times_and_never_trained_on(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    table = dataset.trials[KEY].table
    assert set(table["repeat"][table["task"] == "Test"].tolist()) == {0, 1, 2, 3}
    assert table["repeat"][table["task"] == "Training"].max() == 0
    assert train.trials[KEY].n_trials == 480 and test.trials[KEY].n_trials == 240


def test_clips_name_their_genre_and_where_they_lie_in_the_track(made):
    table = NeuralDataset.read(made[2]).stimuli.table
    for clip, genre, wav, onset in zip(
        *(table[n].tolist() for n in ("clip", "category", "wav", "onset_s")), strict=True
    ):
        name, start = clip.split("@")
        assert name.startswith(f"{genre}.") and wav == f"genres/{genre}/{name}.wav" and onset == float(start)


def test_a_dry_run_counts_and_writes_nothing(functions, made, tmp_path):
    assert functions["prepare"](made[0], tmp_path / "none", dry_run=True) == made[3]
    assert not list(tmp_path.iterdir()) and made[3].missing == (ABSENT.format("2, 4, 5"),)


def test_runs_without_events_and_absent_arrays_are_said(functions, raw, tmp_path):
    events(raw).unlink()
    responses(raw, "Test").unlink()
    counts = functions["prepare"](raw, tmp_path / "out")
    assert counts.trials == {KEY: 440}
    assert counts.missing == (
        ABSENT.format("2, 3, 4, 5"),
        "sub-01: sub-001_Resp_Test.npy",
        "sub-01: events of the Training runs [2]",
    )
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert "Training-02" not in set(trials.table["run"].tolist())


def test_a_first_clip_that_repeats_nothing_is_said(functions, raw, tmp_path):
    lines = events(raw).read_text().split("\n")
    lines[1] = lines[2].replace("15\t15", "0\t15", 1)
    events(raw).write_text("\n".join(lines))
    said = functions["prepare"](raw, tmp_path / "out").missing
    assert said[1:] == (
        "sub-001_task-Training_run-02_events.tsv: its first clip is not the one that the README says it repeats",
    )


def test_events_of_another_length_or_genre_are_refused(functions, raw):
    text = events(raw).read_text()
    events(raw).write_text("\n".join(text.split("\n")[:-1]))
    assert "holds 40 clips" in refused(functions, raw, events(raw))
    lines = text.split("\n")
    lines[5] = "60\t15\t'polka'\t3\t1\t16"
    events(raw).write_text("\n".join(lines))
    assert "strange line 6" in refused(functions, raw, events(raw))


def test_arrays_without_an_axis_of_all_volumes_are_refused(functions, raw):
    np.save(responses(raw), np.zeros((4920, 3), dtype=np.float32))
    assert "(4920, 3), expected 4800 volumes" in refused(functions, raw, responses(raw))
    np.save(responses(raw), np.zeros((4800, 2), dtype=np.float32))
    assert "holds 3 voxels" in refused(functions, raw, responses(raw, "Test"))


def test_a_truncated_array_is_refused(functions, raw):
    content = responses(raw).read_bytes()
    responses(raw).write_bytes(content[:-8])
    assert "its header asks for" in refused(functions, raw, responses(raw))


def test_absent_subjects_are_refused_and_fetch_says_where_they_are(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match="sub-002"):
        functions["prepare"](raw, tmp_path / "none", subjects=[2])
    with pytest.raises(checks.DownloadError, match="aws s3 sync"):
        functions["fetch"](tmp_path / "none", subjects=[1])
    assert len(functions["fetch"](tmp_path / "none", dry_run=True)) == 5 * 20


def test_the_music_of_a_miniature_explains_the_voxels_that_follow_it_and_no_others(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", n_voxels=40, music=True)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    table, row = dataset.stimuli.table, {i: k for k, i in enumerate(dataset.stimuli.ids)}
    power = {}
    for i, k in row.items():  # of the clip itself, between the planted bands
        rate, values = wavfile.read(tmp_path / "raw" / "ds003720" / table["wav"][k])
        start = round(table["onset_s"][k] * rate)
        clip = values[start : start + round(table["length_s"][k] * rate)]
        assert len(clip) == 15 * rate and np.abs(clip).max() > 3000
        hz, density = welch(clip / 32768, rate, nperseg=256)
        edges = np.searchsorted(hz, [20, 60, 105, 160, 230, 325, 450])
        power[i] = np.log([density[a:b].mean() for a, b in pairwise(edges)])
    follows, trials = truth.details["follows"], dataset.trials[KEY]
    x = np.array([power[i] for i in trials.table["stimulus_id"].tolist()])
    x = np.c_[x - x.mean(1, keepdims=True), np.ones(len(x))]
    task, y = trials.table["task"], trials.responses[:]
    weights = np.linalg.lstsq(x[task == "Training"], y[task == "Training"], rcond=None)[0]
    made, true = x[task == "Test"] @ weights, y[task == "Test"]
    r = np.array([np.corrcoef(made[:, v], true[:, v])[0, 1] for v in range(40)])
    assert r[follows == "sound"].min() > 0.3 and r[follows == "sound"].mean() > 0.45
    assert np.abs(r[follows == "nothing"]).max() < 0.25  # 240 trials of 60 clips
    assert {name: int((follows == name).sum()) for name in ("sound", "genre", "nothing")} == {
        "sound": 20, "genre": 10, "nothing": 10,
    }  # fmt: skip


def test_the_same_seed_makes_the_same_music_and_it_changes_no_response(functions, tmp_path):
    made = [
        functions["synthetic"](tmp_path / name, n_voxels=4, music=name != "silent")
        for name in ("a", "b", "silent")
    ]
    assert np.array_equal(made[0].responses[KEY], made[2].responses[KEY])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.wav"))
    assert len(files) == 540 and not list((tmp_path / "silent").rglob("*.wav"))
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files[::50])
