"""THINGS-MEG's miniature through prepare, trial by trial; catch trials, split files, triggers, contradictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, Split, catalogue, layout, leakage, things, things_meg
from braindec.evaluate import protocol_named
from braindec.protocols import ids_sha256

KEY = "sub-01_meg"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("things_meg")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    """(raw folder, truth, prepared folder)."""
    base = tmp_path_factory.mktemp("things_meg")
    truth = functions["synthetic"](base / "raw")
    functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out"


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", n_channels=6)
    return tmp_path / "raw"


def refused(functions, raw, out, match):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, out)
    assert not out.exists()
    return caught.value


def test_responses_are_the_planted_ones_trial_by_trial_over_split_files(made):
    raw, truth, out = made
    assert len(list((raw / "derivatives/preprocessed").glob("*.fif"))) > 1
    trials = NeuralDataset.read(out).trials[KEY]
    assert np.array_equal(trials.responses[:], truth.responses[KEY])
    assert trials.tmin == pytest.approx(-0.1) and trials.sfreq == 200.0 and trials.responses.shape[2] == 281
    for column, values in truth.tables[KEY].items():
        assert np.array_equal(trials.table[column], values), column


def test_catch_trials_are_left_out_and_counted(made):
    dataset = NeuralDataset.read(made[2])
    table = dataset.trials[KEY].table
    assert dataset.about["catch_trials_left_out"] == {KEY: 10}
    assert things_meg.CATCH not in table["event"].tolist() and set(table["trial_type"].tolist()) == {
        "exp",
        "test",
    }
    assert table.n_rows == 12 * 3 + 4 * 12 and table["acquisition_order"].max() >= table.n_rows
    ids, counts = np.unique(table["stimulus_id"][table["trial_type"] == "test"], return_counts=True)
    assert len(ids) == 4 and set(counts.tolist()) == {12}


def test_no_image_of_a_tested_concept_trains_and_only_test_images_are_tested(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert set(test.trials[KEY].table["trial_type"].tolist()) == {"test"} and test.n_trials == 48
    assert not set(train.unit_values("concept")) & set(test.unit_values("concept"))
    assert train.n_trials == (12 - 4) * 3
    within = dataset.with_split("stimuli")
    assert within.part("train").n_trials == 36 and within.part("test").n_trials == 48
    leakage.check(within.part("train"), within.part("test"))


def test_concepts_are_named_as_the_protocol_s_list_is_hashed(made):
    test = NeuralDataset.read(made[2]).part("test")
    names = {i.rpartition("_")[0] for i in test.stimulus_ids}  # aircraft_carrier of aircraft_carrier_06s
    protocol = protocol_named("things_meg_200")
    same = replace(protocol.pool, size=len(test.stimulus_ids), sha256=ids_sha256(names))
    replace(protocol, pool=same).check_pool(test.stimulus_ids, test.unit_values("concept"))
    other = replace(same, sha256=ids_sha256(names | {"aircraft_carrier"}))
    with pytest.raises(checks.ConfigError, match="fixed list of concepts"):
        replace(protocol, pool=other).check_pool(test.stimulus_ids, test.unit_values("concept"))
    protocol.miniature().check_pool(test.stimulus_ids, test.unit_values("concept"))


def test_a_split_without_the_exclusion_would_be_refused_as_a_leak_of_concepts(made):
    """The null of the test above: the same test images with every other image in training share concepts."""
    dataset = NeuralDataset.read(made[2]).with_split("stimuli")
    shared = set(dataset.part("train").unit_values("concept")) & set(
        dataset.part("test").unit_values("concept")
    )
    assert len(shared) == 4
    with pytest.raises(checks.LeakageError):
        Split("bad", "concept", {"train": tuple(shared), "test": tuple(shared)})


def test_a_dry_run_counts_the_same_and_says_what_the_whole_dataset_has(made, functions, tmp_path):
    dry = functions["prepare"](made[0], tmp_path / "none", dry_run=True)
    assert dry.trials == catalogue.counts(made[2]).trials and list(tmp_path.iterdir()) == []
    assert any("36 of 22248" in line for line in dry.missing) and any(
        "2, 3, 4" in line for line in dry.missing
    )
    layout.verify(made[2])


def test_a_missing_part_is_noticed(functions, raw, tmp_path):
    functions["synthetic"](raw, n_channels=40)
    parts = sorted((raw / "derivatives/preprocessed").glob("*-epo-*.fif"))
    parts[-1].unlink()
    error = refused(
        functions, raw, tmp_path / "out", r"goes on in preprocessed_P1-epo-4\.fif, which is not there"
    )
    assert error.path.name == "preprocessed_P1-epo.fif"


def test_epochs_and_table_that_contradict_each_other_are_refused(functions, raw, tmp_path):
    import pandas as pd

    path = raw / "sourcedata" / "sample_attributes_P1.csv"
    whole, out = pd.read_csv(path), tmp_path / "out"
    whole.iloc[:-1].to_csv(path, index=False)
    refused(functions, raw, out, "94 epochs, sample_attributes_P1.csv has 93 rows")
    whole.iloc[::-1].to_csv(path, index=False)
    refused(functions, raw, out, "other epochs as catch trials")
    whole.drop(columns="image_path").to_csv(path, index=False)
    refused(functions, raw, out, "no column .*image_path")
    whole.assign(trial_type=whole["trial_type"].replace("exp", "exq")).to_csv(path, index=False)
    refused(functions, raw, out, "exq")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="sample_attributes_P1"):
        functions["prepare"](raw, out)


def test_a_damaged_or_cut_fif_is_refused(functions, raw, tmp_path):
    path = raw / "derivatives/preprocessed/preprocessed_P1-epo.fif"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(functions, raw, tmp_path / "out", "preprocessed_P1").path == path


def test_missing_pictures_are_named_with_their_address(functions, raw, tmp_path):
    next((raw / "images").rglob("*_01b.jpg")).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 40 pictures.*osf\.io/jum2f.*images=false"):
        functions["prepare"](raw, tmp_path / "out")
    functions["prepare"](raw, tmp_path / "out", sets=["images=false"])
    assert NeuralDataset.read(tmp_path / "out").stimuli.kind == "none"


def test_names_of_images_and_concepts():
    assert things.stem_of("images_test_meg/candelabra_14s.jpg") == "candelabra_14s"
    assert things.concept_of("aircraft_carrier_06s") == "aircraft_carrier"
    assert things.concept_of("bat1_01b") == "bat1"


def test_onsets_are_the_changes_to_the_code():
    values = np.zeros(40)
    values[0:3], values[10:14], values[20], values[21], values[30:35] = 64, 64, 64, 32, 64.2
    assert things_meg.stim_onsets(values).tolist() == [0, 10, 20, 30]
    assert things_meg.stim_onsets(values, 32).tolist() == [21]
    assert things_meg.stim_onsets(np.zeros(5)).tolist() == []


def write_run(path, onsets, sfreq=1200.0):
    import mne

    data = np.zeros((3, int(onsets[-1]) + 1200))
    data[:2] = 1e-13 * np.random.default_rng(0).standard_normal((2, data.shape[1]))
    for onset in onsets:
        data[2, onset : onset + 60] = 64
    data[2, -100:-40] = 32  # the end of the run
    info = mne.create_info(["MLC11-1609", "MLC12-1609", "UPPT001"], sfreq, ["mag", "mag", "stim"])
    mne.io.RawArray(data, info, verbose="error").save(path, fmt="double", verbose="error")


def test_a_run_takes_its_onsets_from_the_trigger_channel_not_from_the_table(raw, tmp_path):
    table = things_meg.read_attributes(raw / "sourcedata" / "sample_attributes_P1.csv")
    own = (table["session_nr"] == 1) & (table["run_nr"] == 2)
    onsets = 1200 + 1800 * np.arange(int(own.sum()))
    write_run(tmp_path / "run_meg.fif", onsets)
    attributes = raw / "sourcedata" / "sample_attributes_P1.csv"
    read = {"subject": 1, "session": 1}
    found = things_meg.read_things_meg_run(tmp_path / "run_meg.fif", attributes, run=2, **read)
    kept = table["trial_type"][own] != "catch"
    assert found.events["onset_s"] == pytest.approx(onsets[kept] / 1200)
    assert np.array_equal(found.events["said_onset_s"], table["image_on"][own][kept])
    assert found.signal.shape[0] == 2 and found.run == "1-2" and found.units == "T"
    write_run(tmp_path / "short_meg.fif", onsets[:-1])
    with pytest.raises(checks.DataFileError, match=f"{len(onsets) - 1} triggers 64"):
        things_meg.read_things_meg_run(tmp_path / "short_meg.fif", attributes, run=2, **read)


def test_fetching_names_the_command(functions, tmp_path):
    assert len(functions["fetch"](tmp_path, subjects=[1, 2], dry_run=True)) == 5
    with pytest.raises(checks.DownloadError, match="aws s3 sync"):
        functions["fetch"](tmp_path)
