"""Plain arrays with a table: the simplest way to bring one's own trials."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout


@pytest.fixture(scope="module")
def prepare():
    return catalogue.load("bids")["prepare"]


def write(folder, rng, *, shape=(24, 10), about=None, runs=3):
    folder.mkdir(parents=True, exist_ok=True)
    scale = 1e-5 if (about or {}).get("units") == "V" else 1.0  # what electrodes measure
    x = (scale * rng.standard_normal(shape)).astype(np.float32)
    np.save(folder / "arrays.npy", x)
    rows = [f"s{i % 8},{i // (len(x) // runs) + 1},{3.0 * (i % 8)},{'ab'[i % 2]}" for i in range(len(x))]
    (folder / "events.csv").write_text("stimulus_id,run,onset_s,trial_type\n" + "\n".join(rows) + "\n")
    if about:
        (folder / "about.json").write_text(json.dumps(about))
    return x


def test_betas_and_their_table_come_back_as_they_were(prepare, rng, tmp_path):
    x = write(tmp_path / "raw", rng)
    counts = prepare(tmp_path / "raw", tmp_path / "out")
    assert counts.trials == {"sub-01_fmri": 24} and counts.n_stimuli == 8
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials["sub-01_fmri"]
    assert np.array_equal(trials.responses[:], x)
    assert trials.table["repeat"].tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert dataset.part("test").trials["sub-01_fmri"].table["run"].tolist() == ["3"] * 8
    assert dataset.about["betas"]["hrf_chosen_on"] == "unknown"  # nobody said how these were made
    layout.verify(tmp_path / "out")


def test_epochs_of_several_subjects_have_their_clock_and_sensors(prepare, rng, tmp_path):
    about = {
        "modality": "eeg",
        "units": "V",
        "sfreq": 100,
        "tmin": -0.1,
        "channels": ["Cz", "Pz"],
        "montage": "standard_1005",
    }
    made = {s: write(tmp_path / f"raw/sub-{s}", rng, shape=(24, 2, 30), about=about) for s in ("03", "11")}
    prepare(tmp_path / "raw", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    assert set(dataset.trials) == {"sub-03_eeg", "sub-11_eeg"}
    trials = dataset.trials["sub-11_eeg"]
    assert np.array_equal(trials.responses[:], made["11"])
    assert trials.times[10] == pytest.approx(0.0) and np.isfinite(trials.space.positions).all()
    prepare(tmp_path / "raw", tmp_path / "out", subjects=[3])
    assert set(NeuralDataset.read(tmp_path / "out").trials) == {"sub-03_eeg"}
    assert not (tmp_path / "out/sub-11_eeg.h5").exists()


def test_a_trial_that_no_recording_has_is_told_and_kept(prepare, rng, tmp_path):
    x = write(tmp_path / "raw", rng)
    x[3] *= 1e6
    np.save(tmp_path / "raw/arrays.npy", x)
    with pytest.warns(UserWarning, match=r"1 of 24 trials are more than 1000 times as large"):
        prepare(tmp_path / "raw", tmp_path / "out")
    assert np.array_equal(NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].responses[:], x)


def short_table(folder):
    text = (folder / "events.csv").read_text().splitlines()
    (folder / "events.csv").write_text("\n".join(text[:-1]) + "\n")


def no_stimulus(folder):
    text = (folder / "events.csv").read_text()
    (folder / "events.csv").write_text(text.replace("stimulus_id", "picture"))


def nan(folder):
    x = np.load(folder / "arrays.npy")
    x[3, 4] = np.nan
    np.save(folder / "arrays.npy", x)


def truncated(folder):
    path = folder / "arrays.npy"
    path.write_bytes(path.read_bytes()[:-40])


def pickled(folder):
    np.save(folder / "arrays.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def epochs_without_clock(folder):
    np.save(folder / "arrays.npy", np.zeros((24, 2, 5)))


def misspelt(folder):
    (folder / "about.json").write_text('{"sampling": 100}')


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (short_table, r"events.csv: has 23 rows but arrays.npy has 24. Write a row"),
        (no_stimulus, r"has no column 'stimulus_id'; it has \['picture'"),
        (nan, r"arrays.npy: holds 1 NaN or infinite of 240 values"),
        (truncated, r"arrays.npy: cannot be read"),
        (pickled, r"arrays.npy: cannot be read"),
        (epochs_without_clock, r"epochs need sfreq and tmin"),
        (misspelt, r"about.json: holds \['sampling'\]. It may hold"),
    ],
)
def test_damage_is_one_error_and_nothing_is_written(damage, found, prepare, rng, tmp_path):
    write(tmp_path / "raw", rng)
    damage(tmp_path / "raw")
    with pytest.raises(checks.DataFileError, match=found):
        prepare(tmp_path / "raw", tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"raw"}


def test_one_run_alone_gets_no_split(prepare, rng, tmp_path):
    write(tmp_path / "raw", rng, runs=1)
    prepare(tmp_path / "raw", tmp_path / "out")
    assert dict(NeuralDataset.read(tmp_path / "out").splits) == {}


def surfaces(folder, values, suffix):
    """Maps of the left 6 vertices and the right 4, after two of the wall that are zero."""
    import nibabel

    for side, part in (("lh", values[:, :6]), ("rh", values[:, 6:])):
        maps = np.concatenate([np.zeros((len(part), 2), np.float32), part], axis=1)
        path = folder / f"{side}.arrays{suffix}"
        if suffix.endswith(".gii"):
            held = [nibabel.gifti.GiftiDataArray(m, intent="NIFTI_INTENT_ESTIMATE") for m in maps]
            nibabel.save(nibabel.GiftiImage(darrays=held), path)
        else:
            nibabel.save(nibabel.MGHImage(maps.T.reshape(-1, 1, 1, len(maps)), np.eye(4)), path)


@pytest.mark.parametrize("kind", [".npz", ".func.gii", ".mgh", ".mgz"])
def test_arrays_in_other_containers_are_the_same_trials(kind, prepare, rng, tmp_path):
    x = write(tmp_path / "raw", rng, about={"mesh": "fsaverage5"})
    if kind == ".npz":
        np.savez_compressed(tmp_path / "raw" / "arrays.npz", x)
    else:
        surfaces(tmp_path / "raw", x, kind)
    (tmp_path / "raw" / "arrays.npy").unlink()
    prepare(tmp_path / "raw", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials["sub-01_fmri"]
    assert np.array_equal(trials.responses[:], x)
    if kind != ".npz":
        assert trials.space.mesh == "fsaverage5" and trials.space.left.tolist() == [2, 3, 4, 5, 6, 7]
        assert trials.space.right.tolist() == [2, 3, 4, 5]
        (tmp_path / "raw" / f"rh.arrays{kind}").unlink()
        with pytest.raises(FileNotFoundError, match="Both hemispheres"):
            prepare(tmp_path / "raw", tmp_path / "again")


@pytest.mark.parametrize(("name", "match"), [("two", "expected one array"), ("objects", "Object arrays")])
def test_an_npz_of_several_arrays_or_of_objects_is_refused(name, match, prepare, rng, tmp_path):
    x = write(tmp_path / "raw", rng)
    (tmp_path / "raw" / "arrays.npy").unlink()
    held = {"two": {"a": x, "b": x}, "objects": {"a": np.array([{}], dtype=object)}}[name]
    np.savez(tmp_path / "raw" / "arrays.npz", **held)
    with pytest.raises(checks.DataFileError, match=match):
        prepare(tmp_path / "raw", tmp_path / "out")


def test_a_gifti_that_keeps_its_values_elsewhere_is_refused(prepare, rng, tmp_path):
    x = write(tmp_path / "raw", rng)
    surfaces(tmp_path / "raw", x, ".func.gii")
    (tmp_path / "raw" / "arrays.npy").unlink()
    path = tmp_path / "raw" / "lh.arrays.func.gii"
    path.write_text(path.read_text().replace("GZipBase64Binary", "ExternalFileBinary"))
    with pytest.raises(checks.DataFileError, match="in other files"):
        prepare(tmp_path / "raw", tmp_path / "out")


def test_a_category_in_the_table_is_known_of_the_stimuli(prepare, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    np.save(folder / "arrays.npy", np.arange(24.0).reshape(6, 4))
    rows = [
        f"{s},{kind},{1 + i // 3}" for i, (s, kind) in enumerate([("b", "x"), ("a", "y"), ("c", "x")] * 2)
    ]
    (folder / "events.csv").write_text("stimulus_id,category,run\n" + "\n".join(rows))
    assert prepare(folder, tmp_path / "out").missing == ()
    stimuli = NeuralDataset.read(tmp_path / "out").stimuli
    assert dict(zip(stimuli.ids, stimuli.table["category"].tolist(), strict=True)) == {
        "a": "y",
        "b": "x",
        "c": "x",
    }
    (folder / "events.csv").write_text("stimulus_id,category,run\n" + "\n".join([*rows[:5], "c,y,2"]))
    prepare(folder, tmp_path / "torn")
    assert NeuralDataset.read(tmp_path / "torn").stimuli.table is None


def test_one_run_alone_says_that_there_is_no_split_and_how_to_make_one(prepare, tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    np.save(folder / "arrays.npy", np.arange(24.0).reshape(6, 4))
    (folder / "events.csv").write_text("stimulus_id\n" + "\n".join("abcabc"))
    (said,) = prepare(folder, tmp_path / "out").missing
    assert said.startswith("a split, as there is one run alone") and said.endswith("within_run=true")
    asked = ["split=stimulus", "within_run=true"]  # as said, in this order
    assert prepare(folder, tmp_path / "again", sets=asked).missing == ()
    assert NeuralDataset.read(tmp_path / "again").part("test").stimulus_ids


def test_the_run_that_is_tested_is_the_last_that_every_subject_has(prepare, rng, tmp_path):
    write(tmp_path / "raw/sub-01", rng, shape=(32, 10), runs=4)
    write(tmp_path / "raw/sub-02", rng, shape=(24, 10), runs=3)
    prepare(tmp_path / "raw", tmp_path / "out")
    test = NeuralDataset.read(tmp_path / "out").part("test")
    assert {key: set(t.table["run"].tolist()) for key, t in test.trials.items()} == {
        "sub-01_fmri": {"3"},
        "sub-02_fmri": {"3"},
    }


def test_stimuli_of_every_subject_are_tested_where_they_saw_different_ones(prepare, rng, tmp_path):
    for label, letter in (("01", "a"), ("02", "b")):
        write(tmp_path / f"raw/sub-{label}", rng)
        events = tmp_path / f"raw/sub-{label}/events.csv"
        head, *rows = events.read_text().splitlines()
        events.write_text("\n".join([head, *(letter + row for row in rows)]) + "\n")
    prepare(tmp_path / "raw", tmp_path / "out", sets=["split=stimulus", "within_run=true"])
    assert NeuralDataset.read(tmp_path / "out").part("test").stimulus_ids == ("as7", "bs7")


def test_a_dry_run_says_what_would_be_read_and_written(prepare, rng, tmp_path):
    raw = tmp_path / "raw"
    x = write(raw, rng, shape=(240, 6, 250), about={"modality": "eeg", "sfreq": 100, "tmin": -0.1})
    counts = prepare(raw, tmp_path / "out", dry_run=True)
    size = sum(path.stat().st_size for path in raw.iterdir()) / 1e6
    assert counts.plan == (f"sub-01_eeg: would read {size:,.1f} MB and write about {x.nbytes / 1e6:,.1f} MB",)
    assert not (tmp_path / "out").exists()
