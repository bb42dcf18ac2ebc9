"""THINGS-EEG2's miniature through prepare in each distributed form, trial by trial; contradictions are refused."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage
from braindec.evaluate import protocol_named
from braindec.protocols import ids_sha256

KEY = "sub-01_eeg"
SMALL = {"n_concepts": (2, 4), "n_repeats": (4, 8)}
FORMS = {
    "250hz": (63, 250, 0.0),
    "250hz_pt": (63, 250, 0.0),
    "17_channels": (17, 100, -0.2),
    "raw": (63, 300, -0.2),
}


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("things_eeg2")


@pytest.fixture(scope="module", params=FORMS)
def made(request, functions, tmp_path_factory):
    """(form, raw folder, truth, prepared folder) of one form; raw recordings without noise."""
    base = tmp_path_factory.mktemp(request.param)
    truth = functions["synthetic"](
        base / "raw", files=request.param, noise=float(request.param != "raw"), **SMALL
    )
    functions["prepare"](base / "raw", base / "out")
    return request.param, base / "raw", truth, base / "out"


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("things_eeg2") / "raw"
    functions["synthetic"](raw, **SMALL)
    return raw


@pytest.fixture
def raw(written, tmp_path):
    return shutil.copytree(written, tmp_path / "raw")


def first(raw, form="Preprocessed_data_250Hz"):
    return raw / form / "sub-01" / "preprocessed_eeg_training.npy"


def rewrite(path, **changed):
    held = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(held | changed, protocol=4))


def test_responses_are_the_planted_ones_trial_by_trial(made):
    form, _, truth, out = made
    trials = NeuralDataset.read(out).trials[KEY]
    n_channels, n_times, tmin = FORMS[form]
    assert trials.responses.shape == truth.responses[KEY].shape == (2 * 10 * 4 + 4 * 8, n_channels, n_times)
    assert trials.tmin == pytest.approx(tmin, abs=1e-9) and trials.sfreq == (
        100 if form == "17_channels" else 250
    )
    if form == "raw":  # filtered and resampled on the way: the planted waves lie far below the filter's edge
        difference = trials.responses[:] - truth.responses[KEY]
        assert np.abs(difference).max() < 0.01 * truth.responses[KEY].std()
    else:
        assert np.array_equal(trials.responses[:], truth.responses[KEY])
    for column, values in truth.tables[KEY].items():
        assert np.array_equal(trials.table[column], values), column


def test_counts_are_those_of_a_dry_run_which_writes_nothing(made, functions, tmp_path):
    _, raw, _, out = made
    dry = functions["prepare"](raw, tmp_path / "none", dry_run=True)
    assert dry.trials == catalogue.counts(out).trials
    assert dry.n_stimuli == 24 and list(tmp_path.iterdir()) == []
    assert any("GB" in line for line in dry.plan)
    assert any("16540" in line for line in dry.missing) and any("2, 3, 4, 5" in line for line in dry.missing)
    layout.verify(out)


def test_training_and_test_share_no_concept_and_leave_no_trial_out(made):
    dataset = NeuralDataset.read(made[3])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert (train.n_trials, test.n_trials) == (80, 32)
    assert not set(train.unit_values("concept")) & set(test.unit_values("concept"))


def test_concepts_are_named_as_the_protocol_s_list_is_hashed(made):
    test = NeuralDataset.read(made[3]).part("test")
    names = {i.rpartition("_")[0] for i in test.stimulus_ids}  # aircraft_carrier of aircraft_carrier_06s
    protocol = protocol_named("things_eeg2_200")
    same = replace(protocol.pool, size=len(test.stimulus_ids), sha256=ids_sha256(names))
    replace(protocol, pool=same).check_pool(test.stimulus_ids, test.unit_values("concept"))
    other = replace(same, sha256=ids_sha256(names | {"aircraft_carrier"}))
    with pytest.raises(checks.ConfigError, match="fixed list of concepts"):
        replace(protocol, pool=other).check_pool(test.stimulus_ids, test.unit_values("concept"))
    protocol.miniature().check_pool(test.stimulus_ids, test.unit_values("concept"))


def test_every_stimulus_has_its_own_picture(made):
    _, _, truth, out = made
    stimuli = NeuralDataset.read(out).stimuli
    drawn = {p.stem: p.image for part in truth.details["pictures"].values() for p in part}
    assert set(stimuli.ids) == set(drawn)
    found = stimuli.images(stimuli.ids)
    assert found.shape[1:] == (224, 224, 3)
    small = found[:, 1::4, 1::4].astype(float)  # 224 px to about 56 px
    for image, key in zip(small, stimuli.ids, strict=True):
        told = {k: np.abs(image.mean((0, 1)) - d.mean((0, 1))).sum() for k, d in drawn.items()}
        assert told[key] < 3.0  # JPEG and resizing keep the mean colour


@pytest.mark.parametrize(("form", "whitened"), [("250hz", "train"), ("17_channels", "all"), ("raw", "none")])
def test_dataset_json_says_what_the_whitening_saw(functions, tmp_path, form, whitened):
    functions["synthetic"](tmp_path / "raw", files=form, **SMALL)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    assert NeuralDataset.read(tmp_path / "out").about["epochs"]["whitened_on"] == whitened


def test_no_session_is_mixed_with_another_in_raw_recordings(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", files="raw", **SMALL)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    table = NeuralDataset.read(tmp_path / "out").trials[KEY].table
    assert np.array_equal(table["session"], truth.tables[KEY]["session"])
    assert sorted(set(table["run"].tolist())) == sorted(
        f"{s}-{p}" for s in range(1, 5) for p in ("training", "test")
    )
    seen = {}
    for key, repeat in zip(table["stimulus_id"].tolist(), table["repeat"].tolist(), strict=True):
        assert repeat == seen.get(key, 0)
        seen[key] = repeat + 1


def test_a_subject_that_is_asked_for_must_have_files(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match="sub-2"):
        functions["prepare"](raw, tmp_path / "out", subjects=[2])
    with pytest.raises(checks.ConfigError, match="subjects"):
        functions["prepare"](raw, tmp_path / "out", subjects=[11])
    with pytest.raises(FileNotFoundError, match="--raw"):
        functions["prepare"](tmp_path, tmp_path / "out")


def test_two_forms_side_by_side_have_to_be_told_apart(functions, raw, tmp_path):
    functions["synthetic"](raw, files="17_channels", **SMALL)
    with pytest.raises(checks.ConfigError, match="--set files="):
        functions["prepare"](raw, tmp_path / "out")
    functions["prepare"](raw, tmp_path / "out", files="17_channels")
    assert NeuralDataset.read(tmp_path / "out").trials[KEY].responses.shape[1] == 17


def refused(functions, raw, out, match, **settings):
    """One error that names the file; nothing where the prepared folder would be."""
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, out, **settings)
    assert not out.exists()
    return caught.value


def test_a_file_that_runs_code_is_refused_before_it_does(functions, raw, tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))

    class Canary:
        def __reduce__(self):
            return os.mkdir, (os.environ["CANARY"],)

    first(raw).write_bytes(pickle.dumps({"preprocessed_eeg_data": Canary()}, protocol=4))
    refused(functions, raw, tmp_path / "out", "asks to run")
    assert not (tmp_path / "canary").exists()


def test_contradictions_are_refused_by_file(functions, raw, tmp_path):
    path, held = first(raw), pickle.loads(first(raw).read_bytes())
    data, out = held["preprocessed_eeg_data"], tmp_path / "out"
    for changed, match in (
        ({"preprocessed_eeg_data": data[:-1]}, "19 conditions, expected 20"),
        ({"preprocessed_eeg_data": data[0]}, "condition, repeat, channel, time"),
        ({"preprocessed_eeg_data": data.astype(int)}, "expected floats"),
        ({"ch_names": held["ch_names"][:-1]}, "62 channels"),
        ({"times": held["times"][:100]}, "100 times"),
        (
            {"preprocessed_eeg_data": data[..., :200], "times": held["times"][:250]},
            "has the channels and times",
        ),
    ):
        path.write_bytes(pickle.dumps(held | changed, protocol=4))
        error = refused(functions, raw, out, match)
        assert error.path.parent == path.parent
    path.write_bytes(pickle.dumps({k: v for k, v in held.items() if k != "times"}))
    refused(functions, raw, out, "expected .*'times'")
    path.write_bytes(pickle.dumps(held, protocol=4)[:-1000])
    refused(functions, raw, out, "preprocessed_eeg_training")


def test_what_turns_out_bad_while_it_is_read_leaves_nothing_behind(functions, raw, tmp_path):
    data = pickle.loads(first(raw).read_bytes())["preprocessed_eeg_data"]
    data[3, 1, 5, 7] = np.nan
    rewrite(first(raw), preprocessed_eeg_data=data)
    error = refused(functions, raw, tmp_path / "out", "1 NaN or infinite")
    assert error.path == first(raw)


def test_missing_and_damaged_pictures_are_named(functions, raw, tmp_path):
    pictures = sorted((raw / "image_set" / "training_images").rglob("*.jpg"))
    content = pictures[3].read_bytes()
    pictures[3].write_bytes(content[:200])
    error = refused(functions, raw, tmp_path / "out", "cannot be read")
    assert error.path == pictures[3]
    pictures[3].unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 24 pictures are not there.*images=false"):
        functions["prepare"](raw, tmp_path / "out")
    functions["prepare"](raw, tmp_path / "out", sets=["images=false"])
    assert NeuralDataset.read(tmp_path / "out").stimuli.kind == "none"


def test_metadata_with_a_concept_on_both_sides_is_refused(functions, raw, tmp_path):
    path = raw / "image_set" / "image_metadata.npy"
    held = np.load(path, allow_pickle=True).item()
    held["test_img_concepts_THINGS"][0] = held["train_img_concepts_THINGS"][0]
    np.save(path, np.array(held, dtype=object))
    refused(functions, raw, tmp_path / "out", "shares 1 concepts")


def test_a_run_that_was_stopped_goes_on_and_a_finished_one_does_nothing(functions, raw, tmp_path):
    functions["synthetic"](raw, subjects=(1, 2), **SMALL)
    second = raw / "Preprocessed_data_250Hz" / "sub-02" / "preprocessed_eeg_test.npy"
    good = pickle.loads(second.read_bytes())["preprocessed_eeg_data"]
    bad = good.copy()
    bad[0, 0, 0, 0] = np.inf
    rewrite(second, preprocessed_eeg_data=bad)
    with pytest.raises(checks.DataFileError):
        functions["prepare"](raw, tmp_path / "out")
    (kept,) = tmp_path.rglob("sub-01_eeg.h5")
    written = kept.stat().st_mtime_ns
    rewrite(second, preprocessed_eeg_data=good)
    counts = functions["prepare"](raw, tmp_path / "out")
    assert set(counts.trials) == {"sub-01_eeg", "sub-02_eeg"}
    assert (tmp_path / "out" / "sub-01_eeg.h5").stat().st_mtime_ns == written
    changed = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    assert functions["prepare"](raw, tmp_path / "out").trials == counts.trials
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == changed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


def test_two_processes_write_what_one_writes_and_the_command_says_what_is_missing(functions, raw, tmp_path):
    functions["synthetic"](raw, subjects=(1, 2), **SMALL)
    functions["prepare"](raw, tmp_path / "one")
    words = ["prepare", "things_eeg2", "--raw", str(raw), "--out", str(tmp_path / "two"), "--jobs", "2"]
    ran = subprocess.run(
        [sys.executable, "-m", "braindec", *words], capture_output=True, text=True, check=True
    )
    assert "sub-02_eeg: 112 trials prepared" in ran.stdout and "missing: Not there" in ran.stdout
    contents = [
        [e["sha256"] for e in layout.read_manifest(tmp_path / n)["recordings"]] for n in ("one", "two")
    ]
    assert contents[0] == contents[1]


def test_fetching_says_where_the_files_are_to_be_had(functions, tmp_path):
    paths = functions["fetch"](tmp_path, subjects=[1], dry_run=True)
    assert tmp_path / "Preprocessed_data_250Hz" / "sub-01" / "preprocessed_eeg_test.npy" in paths
    with pytest.raises(checks.DownloadError, match=r"osf\.io/3jk45"):
        functions["fetch"](tmp_path, subjects=[1])
